"""The JKO step by a critic: min over a map, max over the functions of each term's dual."""

import copy
import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from wgf import checks, keys
from wgf.autodiff import gradient
from wgf.critics import ScalarField
from wgf.errors import Incompatible, InputError
from wgf.fitting import DRAWS, settle, suits, worth
from wgf.functionals.base import Dual, Functional, HasDual, HasVariation, OnSamples, Variation, route, weighted
from wgf.law import Cloud, Law
from wgf.maps.base import Map, Static, half_square
from wgf.optimisers import gradients
from wgf.steppers.base import Info, Live, State, Variational, carried, draw, pushed, unique
from wgf.steppers.jko import WarmStart, Weights, check_map, check_parts, check_pool, recalled, remember
from wgf.training import Alternate, Watch, saddle
from wgf.tree import Tree

AHEAD = 2**20
"""Numbers of images that critics are shown which are computed at once, but for one batch of more."""


class Anchor(ABC):
    """Where a step's map starts, and so what the next one costs."""

    @abstractmethod
    def first(self, state: State) -> State:
        """The first state, with the base rows where they are needed."""

    @abstractmethod
    def source(self, state: State) -> Tensor:
        """The rows (N, d) that the map acts on."""

    @abstractmethod
    def cost(self, map: Map, x: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        """T(x) and its cost per row, from the rows `old` where the particles stood."""

    @abstractmethod
    def gradients(
        self,
        map: Map,
        x: Tensor,
        old: Tensor,
        weights: list[nn.Parameter],
        pull: Callable[[Tensor], Tensor],
        rate: float,
    ) -> list[Tensor]:
        """Of rate·Σ cost plus what has the slope pull(y) at the images y, in these weights of the map."""

    def image(self, map: Map, x: Tensor) -> Tensor:
        """T(x) alone, which is all that critics see."""
        return map(x)

    @abstractmethod
    def advance(self, state: State, map: Map, memory: Tree) -> State:
        """The state after the step."""

    @abstractmethod
    def law(self, previous: Law, base: Law, info: Info) -> Law:
        """The law after the step."""


@dataclass(frozen=True)
class Previous(Anchor):
    """T acts on the stored pool: maps compose, and a step costs the same however many came before (Fan et al. 2022)."""

    def first(self, state: State) -> State:
        return state

    def source(self, state: State) -> Tensor:
        return state.x

    def cost(self, map: Map, x: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        moved = map.transport(x)
        return moved.y, moved.cost

    def gradients(
        self,
        map: Map,
        x: Tensor,
        old: Tensor,
        weights: list[nn.Parameter],
        pull: Callable[[Tensor], Tensor],
        rate: float,
    ) -> list[Tensor]:
        if isinstance(map, Static):  # whose cost is ½|y − x|²
            return _anchored(map, x, x, weights, pull, rate)
        with torch.enable_grad():
            y, cost = self.cost(map, x, old)
        slopes = [pull(y.detach()), torch.full_like(cost, rate)]
        return list(torch.autograd.grad([y, cost], weights, slopes, materialize_grads=True))

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        return carried(state, map, memory)

    def law(self, previous: Law, base: Law, info: Info) -> Law:
        return pushed(previous, info)


@dataclass(frozen=True)
class Base(Anchor):
    """T acts on draws of ρ₀: one map for the whole flow, anchored to the stored images T_old(x₀) of the same rows.

    Cost ½|T(x₀) − T_old(x₀)|², the noise of both paired (Choi et al. 2024, arXiv 2402.05443, draw it independently).
    """

    def first(self, state: State) -> State:
        return replace(state, base=state.x)

    def source(self, state: State) -> Tensor:
        if state.base is None:
            raise Incompatible("the anchor Base() needs a state with base rows; start the flow with it")
        return state.base

    def cost(self, map: Map, x: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        y = map.transport(x).y
        return y, half_square(y - old)

    def gradients(
        self,
        map: Map,
        x: Tensor,
        old: Tensor,
        weights: list[nn.Parameter],
        pull: Callable[[Tensor], Tensor],
        rate: float,
    ) -> list[Tensor]:
        return _anchored(map, x, old, weights, pull, rate)

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        fresh = None if state.logdet is None else torch.zeros_like(state.logdet)
        return carried(replace(state, x=self.source(state), logdet=fresh), map, memory)

    def law(self, previous: Law, base: Law, info: Info) -> Law:
        return pushed(base, info)


def _anchored(
    map: Map, x: Tensor, old: Tensor, weights: list[nn.Parameter], pull: Callable[[Tensor], Tensor], rate: float
) -> list[Tensor]:
    """With the cost ½|y − old|²."""

    def whole(y: Tensor) -> Tensor:
        slope = pull(y)
        return slope.add(y - old, alpha=rate) if rate else slope

    return map.gradients(x, weights, whole)


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
        game = _Game(self, F, state, tau)
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

    def _critics(self, state: State, game: "_Game") -> nn.ModuleList:
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


class _Part(NamedTuple):
    """A term taken through its dual: its weight, the dual, the critic, and the weights of that which are trained."""

    weight: float
    dual: Dual
    critic: ScalarField
    trained: list[nn.Parameter]


class _Seen(NamedTuple):
    """Images of rows, n of them, and then draws of Γ."""

    rows: Tensor
    n: int

    def split(self) -> tuple[Tensor, Tensor]:
        """Images, draws."""
        return self.rows[: self.n], self.rows[self.n :]

    def rates(self, dual: Dual, factor: float, u: Tensor) -> Tensor:
        """`factor` times the gradient of the dual's value in the outputs u of its critic at these rows."""
        return dual.rates(u, *self.split(), factor)


class _Game:
    """One step's value: E[cost]/τ + samples' energies + weighted duals."""

    def __init__(self, stepper: SaddleJKO, F: Functional, state: State, tau: float) -> None:
        self.anchor, self.held, self.tau, self.r1 = stepper.anchor, stepper.kept, tau, stepper.r1
        self.state, self.source = state, stepper.anchor.source(state)
        self.rows = len(state.x) - self.held
        routed = route(F, stepper.accepts, "SaddleJKO", stepper.instead)
        self.plain = [
            (weight, term) for weight, term, kind in routed if kind is OnSamples and isinstance(term, OnSamples)
        ]
        terms = [(weight, term) for weight, term, kind in routed if kind is HasDual and isinstance(term, HasDual)]
        self.references = [term.reference(Cloud(state.x)) for _, term in terms]
        self.duals: list[tuple[float, str, Dual]] = [
            (weight, term.name, term.dual(reference))
            for (weight, term), reference in zip(terms, self.references, strict=True)
        ]

    def join(self, map: Map, critics: nn.ModuleList) -> None:
        """The players, once they exist."""
        self.map, self.critics = map, critics
        self.weights = [p for p in map.parameters() if p.requires_grad]
        self.parts = [
            _Part(weight, dual, critic, [p for p in critic.parameters() if p.requires_grad])
            for (weight, _, dual), critic in zip(self.duals, critics, strict=True)
            if isinstance(critic, ScalarField)
        ]

    @torch.no_grad()
    def value(self, rows: Tensor, key: int) -> float:
        self.map.redraw(key)
        y, cost = self._moved(rows + self.held)
        value = cost.mean() / self.tau
        for weight, term in self.plain:
            value = value + weight * term.energy(Cloud(y)).mean()
        for part in self.parts:
            value = value + part.weight * part.dual.descended(part.critic, y).mean()
        return float(value)

    def descent(self, rows: Tensor, key: int) -> list[Tensor]:
        self.map.redraw(key)
        at = rows + self.held
        share = 1 / len(rows)

        def pull(y: Tensor) -> Tensor:
            slopes = [part.dual.slopes(part.critic, y, part.weight * share) for part in self.parts]
            slopes += [term.slopes(Cloud(y), weight * share) for weight, term in self.plain]
            return functools.reduce(torch.add, slopes)

        map, x, old = self.map.on(rows), self.source[at], self.state.x[at]
        return self.anchor.gradients(map, x, old, self.weights, pull, share / self.tau)

    def seen(self, rows: Tensor, key: int) -> Iterator[tuple["_Seen", ...]]:
        """The images of the rows and as many draws of each Γ: of many batches at once, for the map does not move."""
        size = rows.shape[1]
        for turn, part in enumerate(rows.split(max(1, AHEAD // (size * self.source.shape[1])))):
            taken = part.flatten()
            with torch.no_grad():
                y = self.anchor.image(self.map.on(taken), self.source[taken + self.held]).unflatten(0, part.shape)
            drawn = [self.draw(each.dual, len(taken), keys.fold(key, turn, k)) for k, each in enumerate(self.parts)]
            both = [torch.cat([y, z.unflatten(0, part.shape)], 1).unbind() for z in drawn]
            yield from (tuple(_Seen(at, size) for at in each) for each in zip(*both, strict=True))

    def ascent(self, seen: tuple["_Seen", ...], key: int) -> list[Tensor]:
        found: list[Tensor] = []
        for k, (part, at) in enumerate(zip(self.parts, seen, strict=True)):
            weight, dual, critic, trained = part
            slopes = critic.gradients(at.rows, trained, functools.partial(at.rates, dual, -weight))
            penalties, (y, z) = [], at.split()
            if dual.penalty is not None:
                penalties.append(weight * dual.penalty(critic, y, z, keys.fold(key, k)))
            if self.r1:
                steepness = gradient(critic, z, create_graph=True).square().sum(1).mean()
                penalties.append(0.5 * self.r1 * steepness)
            if penalties:
                more = gradients(functools.reduce(torch.add, penalties), trained)
                slopes = [slope + other for slope, other in zip(slopes, more, strict=True)]
            found += slopes
        return found

    def variation(self, y: Tensor) -> Variation | None:
        """δF/δρ at the law of the rows y by the critics as they stand: what the map descends, up to a constant."""
        parts = [
            (weight, Variation(functools.partial(dual.descended, critic), functools.partial(dual.slopes, critic)))
            for weight, dual, critic, _ in self.parts
        ]
        for weight, term in self.plain:
            if not isinstance(term, HasVariation):
                return None
            parts.append((weight, term.first_variation(Cloud(y))))
        return weighted(parts)

    @torch.no_grad()
    def values(self) -> tuple[dict[str, float], dict[str, float]]:
        """Each dual's value, weight included, at the final map and critic, and the mass E_Γ[dρ/dΓ] of its critic.

        On held rows and 16 times as many draws of Γ, 65,536 at least. The mass is 1 where Γ covers the particles and
        the critic has converged. Where Γ is a box, the share of the rows that left it is reported too.
        """
        y, _ = self._moved(torch.arange(self.held, device=self.state.x.device))
        seen: dict[str, float] = {}
        measures: dict[str, float] = {}
        for k, ((weight, name, dual), critic) in enumerate(zip(self.duals, self.critics, strict=True)):
            assert isinstance(critic, ScalarField)
            draws = max(DRAWS, 16 * self.held)
            found = worth(dual, critic, y, draws, seed=keys.fold(self.state.key, self.state.step, 5, k))
            name = unique(name, seen)
            seen[name] = weight * found.value
            measures |= found.measures(name)
        return seen, measures

    def _moved(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.anchor.cost(self.map.on(rows - self.held), self.source[rows], self.state.x[rows])

    def draw(self, dual: Dual, n: int, key: int) -> Tensor:
        """n rows of Γ, in the dtype and on the device of the particles."""
        return dual.gamma.sample(n, keys.generator(key, device=dual.gamma.like.device)).to(self.state.x)
