"""The JKO step by log-determinant: one map a step, trained against the exact change of density."""

import copy
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from wgf import checks, keys
from wgf.errors import Incompatible, InputError
from wgf.functionals.base import Functional, HasVariation, Kind, OnAbsoluteDensity, OnDensity, OnSamples, Term, route
from wgf.law import Cloud, Law
from wgf.maps.base import Flow, Map, Transport
from wgf.maps.compose import Inverse
from wgf.steppers.base import Certificate, Info, Live, State, Variational, carried, draw, pushed
from wgf.training import Adam, Curve, Recipe, Rows, Watch
from wgf.tree import Tree

Route = list[tuple[float, Term, type[Kind]]]


class WarmStart(ABC):
    """Where a step's map starts its training."""

    @abstractmethod
    def __call__(self, template: Map, state: State) -> Map:
        """A map with the template's form, ready to train."""


@dataclass(frozen=True)
class Fresh(WarmStart):
    """The identity, with weights drawn from the run's key and the step."""

    def __call__(self, template: Map, state: State) -> Map:
        map = copy.deepcopy(template).to(state.x)
        map.reset(keys.generator(state.key, state.step, 1, device=state.x.device))
        return map


@dataclass(frozen=True)
class Weights(WarmStart):
    """The previous step's map; `Fresh` at the first step, and after a stepper whose maps had another form."""

    def __call__(self, template: Map, state: State) -> Map:
        map = Fresh()(template, state)
        remember(map, state.memory, "map")
        return map


class Chain(Protocol):
    """What has a map for each step, as a path has."""

    @property
    def maps(self) -> list[Map]:
        """The maps in the order in which they act."""


@dataclass(frozen=True)
class FromPath(WarmStart):
    """The map of the same step of an earlier path, or, where that is cut in `parts`, of the same part of a step.

    After the path's last step, the weights of the step before.
    Args: path, whose maps have the template's form; parts ≥ 1, more than one for motions alone, in each of which the
    template's steps are taken.
    """

    path: Chain
    parts: int = 1

    def __post_init__(self) -> None:
        checks.at_least("parts", self.parts, 1)

    def __call__(self, template: Map, state: State) -> Map:
        step, part = divmod(state.step, self.parts)
        if step >= len(self.path.maps):
            return Weights()(template, state)
        earlier = self.path.maps[step]
        if self.parts > 1:
            if not isinstance(earlier, Flow):
                raise Incompatible(f"a {type(earlier).__name__} cannot be cut in parts, for it is not a motion")
            earlier = earlier.split(self.parts)[part]
        map = copy.deepcopy(template).to(state.x)
        if not remember(map, {"map": dict(earlier.state_dict())}, "map"):
            raise Incompatible(f"the maps of the earlier path are not of the form of this {type(template).__name__}")
        return map


def remember(module: nn.Module, memory: Tree, name: str) -> bool:
    """Load the weights that `memory` has under `name`, if they are of the module's form; whether they were."""
    weights = (memory or {}).get(name, {})
    known = {key: value.shape for key, value in weights.items()} == {k: v.shape for k, v in module.state_dict().items()}
    if known:
        module.load_state_dict(weights)
    return known


def recalled(template: Map, memory: Tree, like: Tensor) -> Map:
    """The trained map of the template's form that `memory` holds."""
    map = copy.deepcopy(template).to(like)
    try:
        map.load_state_dict(memory["map"])
    except RuntimeError as error:
        raise InputError(f"the weights of this step are not those of a {type(map).__name__} of this form") from error
    return map.eval().requires_grad_(False)


@dataclass(frozen=True)
class JKO(Variational):
    """ρ⁺ = T_#ρ with T = argmin E[cost(T)]/τ + F(T_#ρ), cost ≥ ½|T(x) − x|², F through log det ∇T.

    The Jordan–Kinderlehrer–Otto scheme: order 1 in τ, F decreases (within the certificate's standard error). A map
    whose training ends worse than standing still, as from a warm start it may, is trained once more from the identity.

    Args: map, a template whose form and width every step's map has; training, Adam() or LBFGS(); particles, the pool;
    held, rows of the pool that no map is trained on (certificate and energies; half as many more choose the best
    weights; by default 4096, or a quarter of a smaller pool); 0 trains on the whole pool and reports no certificate;
    density_batch, on how many rows of each batch the log-determinants are taken (all by default): their sampling noise
    is far below that of cost and potential, and they cost d times more; warm, where each map starts.
    """

    map: Map
    training: Recipe = Adam()
    particles: int = 100_000
    held: int | None = None
    density_batch: int | None = None
    warm: WarmStart = Weights()

    accepts: ClassVar[tuple[type, ...]] = (OnSamples, OnDensity)
    instead: ClassVar[str] = "SaddleJKO"
    keeps_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.at_least("particles", self.particles, 2)
        check_parts("JKO", (self.map, Map), (self.training, Recipe), (self.warm, WarmStart))
        if self.density_batch is not None:
            checks.at_least("density_batch", self.density_batch, 1)
        checks.at_least("held", self.kept, 0)
        if 2 * self.kept > self.particles:
            raise InputError(f"held must be at most half of the particles, got {self.held} of {self.particles}")

    @property
    def kept(self) -> int:
        """How many rows are held: 4096, or a quarter of a smaller pool, where it is not said."""
        return min(4096, self.particles // 4) if self.held is None else self.held

    @property
    def rows(self) -> int:
        return self.kept or self.particles

    def init(self, F: Functional, law: Law, seed: int) -> State:
        routed = route(F, self.accepts, "JKO", self.instead)
        whole = any(isinstance(term, OnAbsoluteDensity) for _, term, _ in routed)
        return draw(law, self.particles, seed, self.particles if whole else self.rows)

    def check(self, F: Functional, state: State) -> None:
        for _, term, _ in route(F, self.accepts, "JKO", self.instead):
            scored = 0 if state.logdet is None or state.log_base is None else len(state.logdet)
            if isinstance(term, OnAbsoluteDensity) and scored < len(state.x):
                raise Incompatible(
                    f"JKO cannot run {term.name} on particles of which {len(state.x) - scored} carry no density;"
                    " start a flow of this functional from a law with log_prob"
                )
        check_map(self.map, state)
        check_pool(self.kept, state)

    def solve(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[Map, Tree, Info]:
        began = time.perf_counter()
        map, routed = self.warm(self.map, state), route(F, self.accepts, "JKO", self.instead)
        objective = _Objective(self, map, routed, state, tau)
        curve = self._train(objective, map, keys.fold(state.key, state.step, 2), watch)
        measures: dict[str, float] = {}
        if not objective.score() <= objective.standing():  # few rows and a warm start: worse than no step at all
            map.load_state_dict(Fresh()(self.map, state).state_dict())
            again = self._train(objective, map, keys.fold(state.key, state.step, 5), watch)
            curve = [*curve, *((curve[-1][0] + k, score) for k, score in again)]
            if not objective.score() <= objective.standing():
                map.load_state_dict(Fresh()(self.map, state).state_dict())
                measures["stood still"] = 1.0
        map.eval().requires_grad_(False)
        certificate = self._certify(map, routed, state, tau) if self.kept else None
        info = Info(certificate=certificate, measures=measures, curve=curve, seconds=time.perf_counter() - began)
        return map, {"map": dict(map.state_dict())}, info

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        return carried(state, map, memory)

    def remembered(self, memory: Tree, like: Tensor) -> Map:
        return recalled(self.map, memory, like)

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return pushed(previous, info)

    def _train(self, objective: "_Objective", map: Map, key: int, watch: Watch) -> Curve:
        map.recentre(objective.state.x[objective.first :])
        map.train()
        watch = Live(map, objective.state.x[: self.rows], objective.tau).told(watch)
        return self.training.minimise(objective, map, key, watch)

    @torch.no_grad()
    def _certify(self, map: Map, routed: Route, state: State, tau: float) -> Certificate:
        before = _measured(state.scored(self.rows))
        moved = map.transport(before.x, logdet=True)
        after = _follow(before, moved)
        change, spread = moved.cost / tau, moved.cost / tau
        for weight, term, kind in routed:
            difference = weight * (energy(term, kind, after) - energy(term, kind, before))
            change = change + difference
            if kind is OnSamples and isinstance(term, HasVariation):
                difference = weight * _influence(term, before, after)
            spread = spread + difference
        return Certificate(float(change.mean()), float(spread.std()) / len(spread) ** 0.5)


def _influence(term: HasVariation, before: Cloud, after: Cloud) -> Tensor:
    """What each row adds to a change of energy, to first order: δF/δρ, for pairwise terms tie rows to one another."""
    return term.first_variation(after)(after.x) - term.first_variation(before)(before.x)


class _Objective:
    """E[cost]/τ + F(T_#ρ) on rows of the training part of the pool."""

    def __init__(self, stepper: JKO, map: Map, routed: Route, state: State, tau: float) -> None:
        self.map, self.routed, self.state, self.tau = map, routed, state, tau
        self.density_batch = stepper.density_batch
        self.chosen = slice(stepper.kept, stepper.kept + stepper.kept // 2)
        self.first = self.chosen.stop
        if self.chosen.start == self.chosen.stop:  # too few are held: the first training rows choose the best weights
            self.chosen = slice(self.first, min(self.first + 4096, len(state.x)))
        self.rows = len(state.x) - self.first

    def loss(self, rows: Rows, key: int) -> Tensor:
        self.map.redraw(key)
        return self.value(self._cloud(rows, self.first))

    @torch.no_grad()
    def score(self) -> float:
        self.map.eval()
        value = self.value(self._cloud(self.chosen), whole=True)
        self.map.train()
        return float(value)

    @torch.no_grad()
    def standing(self) -> float:
        """The score of the identity: F where the particles are."""
        cloud = self._cloud(self.chosen)
        return float(sum(weight * energy(term, kind, cloud).mean() for weight, term, kind in self.routed))

    def value(self, cloud: Cloud, whole: bool = False) -> Tensor:
        few = len(cloud.x) if whole or self.density_batch is None else min(self.density_batch, len(cloud.x))
        shared = few == len(cloud.x)
        moved = self.map.transport(cloud.x, logdet=shared)
        dense = (
            _follow(cloud, moved) if shared else _follow(cloud[:few], self.map.transport(cloud.x[:few], logdet=True))
        )
        total = moved.cost.mean() / self.tau
        for weight, term, kind in self.routed:
            seen = Cloud(moved.y) if kind is OnSamples else dense
            total = total + weight * energy(term, kind, seen).mean()
        return total

    def _cloud(self, rows: Rows, first: int = 0) -> Cloud:
        """Those of the particles from row `first` on."""
        state = self.state
        if state.logdet is None or len(state.logdet) < len(state.x):
            return _measured(Cloud(state.x[first:][rows]))
        return Cloud(state.x, state.logdet, state.log_base)[first:][rows]


def energy(term: Term, kind: type[Kind], cloud: Cloud) -> Tensor:
    """Per-particle energies of a term that was routed by `kind`."""
    if kind is OnSamples:
        assert isinstance(term, OnSamples)
        return term.energy(cloud)
    assert isinstance(term, OnDensity)
    return term.density_energy(cloud)


def check_parts(stepper: str, *parts: tuple[object, type]) -> None:
    """Raise InputError where a part of a stepper is not an object of the kind it must be."""
    for part, kind in parts:
        if not isinstance(part, kind):
            got = f"the class {part.__name__}, not yet an object" if isinstance(part, type) else repr(part)
            raise InputError(f"{stepper} needs a {kind.__name__}, got {got}")


def check_map(map: Map, state: State) -> None:
    """Raise Incompatible where a map's dimension is not that of the particles, or it cannot be trained."""
    if any(isinstance(part, Inverse) for part in map.modules()):
        raise Incompatible("an Inverse cannot be trained, for every loss would invert it; train the map itself")
    if map.dim != state.x.shape[1]:
        raise Incompatible(f"the map acts on {map.dim} dimensions, but the initial law has {state.x.shape[1]}")


def check_pool(held: int, state: State) -> None:
    """Raise Incompatible where a state that another stepper left has too few particles."""
    if 2 * held > len(state.x):
        raise Incompatible(f"held must be at most half of the particles, got {held} of {len(state.x)} in this flow")


def _measured(cloud: Cloud) -> Cloud:
    """`cloud` with log-determinants from here on, where none were carried: an entropy's increment needs no more."""
    return cloud if cloud.logdet is not None else Cloud(cloud.x, cloud.x.new_zeros(len(cloud.x)))


def _follow(cloud: Cloud, moved: Transport) -> Cloud:
    assert cloud.logdet is not None
    assert moved.logdet is not None
    return replace(cloud, x=moved.y, logdet=cloud.logdet + moved.logdet)
