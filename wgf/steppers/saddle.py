"""The JKO step by a critic: min over a map, max over the functions of each term's dual."""

import copy
import time
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from wgf import checks, keys
from wgf.critics import ScalarField
from wgf.errors import Incompatible, InputError
from wgf.fitting import settle, suits
from wgf.functionals.base import Functional, HasDual, OnSamples, route
from wgf.law import Cloud, Law
from wgf.maps.base import Map
from wgf.steppers.anchors import Anchor, Previous
from wgf.steppers.base import Info, Live, State, Variational, draw
from wgf.steppers.game import Game
from wgf.steppers.jko import WarmStart, Weights, check_map, check_parts, check_pool, recalled, remember
from wgf.training import Alternate, Watch, saddle
from wgf.tree import Tree


@dataclass(frozen=True)
class SaddleJKO(Variational):
    """ρ⁺ = T_#ρ, min over T of E[cost]/τ + Σ w sup_u {E_ρ⁺ a(u) − E_Γ b(u) + const}: a JKO step that needs no
    determinant.

    Terms with energies on samples enter as they are; the others through their duals, one critic each. Particles and
    critics are warm-started. Sources: Fan et al. 2022, Algorithm 1 (`Previous()`); Choi et al. 2024 (`Base()`).
    Args: map and critic, templates; anchor; training, the schedule of the game; particles; held, rows of the pool kept
    for the critic's value and the energies; warm, where each map starts; r1 ≥ 0, the weight γ of the critic's penalty
    γ/2·E_Γ|∇u|² (Mescheder et al. 2018, arXiv 1801.04406, eq. 9); densities, whether held rows carry log-determinants,
    d tangents a row: for images too many, and energies are then those of the critics.

    τ = ∞ leaves the cost out: with one step, the adversarial game of a generator.
    """

    map: Map
    critic: ScalarField
    anchor: Anchor = Previous()
    training: Alternate = Alternate()
    particles: int = 100_000
    held: int | None = None
    warm: WarmStart = Weights()
    r1: float = 0.0
    densities: bool = True

    accepts: ClassVar[tuple[type, ...]] = (OnSamples, HasDual)
    instead: ClassVar[str] = "JKO"
    keeps_density: ClassVar[bool] = True
    unbounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.at_least("particles", self.particles, 2)
        checks.at_least("held", self.kept, 1)
        checks.not_negative("r1", self.r1)
        if 2 * self.kept > self.particles:
            raise InputError(f"held must be at most half of the particles, got {self.held} of {self.particles}")
        parts = ((self.map, Map), (self.critic, ScalarField), (self.training, Alternate), (self.anchor, Anchor))
        check_parts("SaddleJKO", *parts, (self.warm, WarmStart))

    @property
    def kept(self) -> int:
        """How many rows are held: 4096, or a quarter of a smaller pool, where it is not said."""
        return max(1, min(4096, self.particles // 4)) if self.held is None else self.held

    @property
    def rows(self) -> int:
        return self.kept

    def init(self, F: Functional, law: Law, seed: int) -> State:
        route(F, self.accepts, "SaddleJKO", self.instead)
        state = draw(law, self.particles, seed, self.kept)
        return self.anchor.first(state if self.densities else replace(state, logdet=None, log_base=None))

    def check(self, F: Functional, state: State) -> None:
        routed = route(F, self.accepts, "SaddleJKO", self.instead)
        if all(kind is OnSamples for _, _, kind in routed):
            raise Incompatible(
                f"SaddleJKO needs a term with a dual, but {F} has none: no critic would have a part; use JKO"
            )
        check_map(self.map, state)
        check_pool(self.kept, state)
        self.anchor.source(state)
        if self.critic.dim != state.x.shape[1]:
            raise Incompatible(
                f"the critic reads {self.critic.dim} dimensions, but the particles have {state.x.shape[1]}"
            )
        for _, term, kind in routed:
            if kind is HasDual and isinstance(term, HasDual):
                dual = term.dual(term.reference(Cloud(state.x)))
                suits(dual, self.critic)
                width = dual.gamma.dim
                if width != state.x.shape[1]:
                    raise Incompatible(
                        f"{term.name} compares with samples of width {width}, but the particles have {state.x.shape[1]}"
                    )

    def solve(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[Map, Tree, Info]:
        began = time.perf_counter()
        routed = route(F, self.accepts, "SaddleJKO", self.instead)
        game = Game(routed, self.anchor, state, tau, self.kept, self.r1)
        map, critics = self.warm(self.map, state), self._critics(state, game)
        map.recentre(game.source[self.kept :])
        game.join(map.train(), critics.train())
        if isinstance(self.anchor, Previous):  # from the base, the map is no motion from where the particles stand
            watch = Live(map, game.source[: self.kept], tau, game.variation).told(watch)
        curve = saddle(game, map, critics, self.training, keys.fold(state.key, state.step, 2), watch)
        map.eval().requires_grad_(False)
        critics.eval().requires_grad_(False)
        memory = {"map": dict(map.state_dict()), "critics": dict(critics.state_dict()), "references": game.references}
        values, measures = game.values()
        seconds = time.perf_counter() - began
        return map, memory, Info(dual=values, curve=curve, measures=measures, seconds=seconds)

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        return self.anchor.advance(state, map, memory)

    def remembered(self, memory: Tree, like: Tensor) -> Map:
        return recalled(self.map, memory, like)

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return self.anchor.law(previous, base, info)

    def _critics(self, state: State, game: Game) -> nn.ModuleList:
        """Those of the step before where there are any, in the frame of a Γ that was refitted since."""
        made = [copy.deepcopy(self.critic).to(state.x) for _ in game.duals]
        for k, critic in enumerate(made):
            critic.reset(keys.generator(state.key, state.step, 4, k, device=state.x.device))
        critics = nn.ModuleList(made)
        known = remember(critics, state.memory, "critics")
        for k, (critic, reference, (_, _, dual)) in enumerate(zip(made, game.references, game.duals, strict=True)):
            if reference or not known:
                settle(critic, dual, state.x, keys.fold(state.key, state.step, 4, k, 1))
        return critics
