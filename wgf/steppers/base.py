"""What a stepper is, and the small records it hands on: the state that is saved, the info that is observed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys, shards
from wgf.errors import Incompatible
from wgf.functionals.base import Functional, OnAbsoluteDensity, OnDensity, OnSamples, OnShards, Term, Variation
from wgf.law import Cloud, Law, OfRows, Pushforward, advance
from wgf.maps.base import Map
from wgf.training import Curve, Watch
from wgf.tree import Tree


@dataclass(frozen=True)
class State:
    """All that a flow needs to go on.

    x (N, d), the pool of particles; key, the run's seed, and step, how many were taken; base (N, d), where the rows
    came from, if an anchor needs it; logdet and log_base (k,), densities of the first k rows, those that are scored;
    memory, the stepper's own tree of tensors and JSON scalars; folded, the share of the scored rows on which the last
    map had det ∇T ≤ 0, where any are scored.
    """

    x: Float[Tensor, "N d"]
    key: int
    step: int = 0
    base: Float[Tensor, "N d"] | None = None
    logdet: Float[Tensor, " k"] | None = None
    log_base: Float[Tensor, " k"] | None = None
    memory: Tree = None
    folded: float | None = None

    def scored(self, rows: int) -> Cloud:
        """The first `rows` particles with their densities, where those are carried."""
        x = self.x[:rows]
        if self.logdet is None or len(self.logdet) < len(x):
            return Cloud(x)
        return Cloud(x, self.logdet[:rows], None if self.log_base is None else self.log_base[:rows])

    def tree(self) -> Tree:
        """This state as a tree that `save_tree` writes."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_tree(cls, tree: Tree) -> "State":
        """The state that `tree()` described."""
        return cls(**tree)


@dataclass(frozen=True)
class Certificate:
    """F(ρ⁺) + E[cost]/τ − F(ρ) ≤ 0, the inequality of a JKO step, paired over rows the map was not trained on.

    An upper bound of F(ρ⁺) + W₂²/2τ − F(ρ), since E[cost] ≥ ½W₂².
    """

    value: float
    standard_error: float

    @property
    def holds(self) -> bool:
        """Whether the inequality holds within two standard errors, or rounding."""
        return self.value <= 2 * self.standard_error + 1e-6


@dataclass(frozen=True)
class Info:
    """What a step reports.

    energy, by term, weights included, on the scored rows; moved, the root mean square displacement √E|x⁺ − x|²;
    dual, the
    critic's values of the terms taken through one; measures, what else the stepper counts (acceptance, folded, …);
    map and variation are live objects, for laws and figures, and are not saved.
    """

    energy: Mapping[str, float] = field(default_factory=dict)
    moved: float = math.nan
    certificate: Certificate | None = None
    dual: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=list)
    seconds: float = math.nan
    map: Map | None = None
    variation: Variation | None = None

    @property
    def total(self) -> float:
        """F(ρ⁺), NaN where a term is not known."""
        return math.fsum(self.energy.values()) if self.energy else math.nan


@dataclass(frozen=True)
class Live:
    """A step while it is trained, and just after: objects that change as it goes, never saved.

    map, from where the particles stand; source (k, d), rows that it moves and is not trained on; τ; variation, δF/δρ by
    the critics, up to a constant, at the law of given rows, where there are critics.
    """

    map: Map
    source: Float[Tensor, "k d"]
    tau: float
    variation: Callable[[Tensor], Variation | None] | None = None

    def told(self, watch: Watch) -> Watch:
        """`watch`, which is shown these objects with every report."""
        return lambda progress: watch(replace(progress, live=self))


class Stepper(ABC):
    """A scheme that moves a state down a functional by a step of size τ.

    `accepts` lists the kinds of term it can use, in order of preference; `instead` names one to try where it cannot.
    """

    accepts: ClassVar[tuple[type, ...]]
    instead: ClassVar[str] = ""
    keeps_density: ClassVar[bool]
    unbounded: ClassVar[bool] = False
    """Whether it can take a step of τ = ∞, which has no cost."""
    sharded: ClassVar[bool] = False
    """Whether it moves the rows that `shards.group` gave this process, and gathers the others' where they interact."""

    @abstractmethod
    def init(self, F: Functional, law: Law, seed: int) -> State:
        """The first state: particles drawn from `law` with `seed`."""

    @abstractmethod
    def check(self, F: Functional, state: State) -> None:
        """Raise Incompatible, in one sentence, if this stepper cannot run `F` from `state`."""

    @abstractmethod
    def step(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[State, Info]:
        """The state after a step of size τ, and what was seen."""

    @abstractmethod
    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        """The law after a step: a push-forward where the step is a map, else the empirical law of the particles."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many particles, the first ones, are scored after each step."""


class Variational(Stepper):
    """A stepper whose step is a map, found by `solve` and carried out by `advance`."""

    @abstractmethod
    def solve(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[Map, Tree, Info]:
        """The map of a step of size τ, what to remember, and what was seen."""

    @abstractmethod
    def advance(self, state: State, map: Map, memory: Tree) -> State:
        """The state moved by `map`."""

    @abstractmethod
    def remembered(self, memory: Tree, like: Tensor) -> Map:
        """The map of the step that left this `memory`, in the dtype and on the device of `like`."""

    def step(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[State, Info]:
        map, memory, info = self.solve(F, state, tau, watch)
        after = self.advance(state, map, memory)
        seen = observe(F, after, self.rows)
        folded = {} if after.folded is None else {"folded": after.folded}
        measures = {**folded, **info.measures, **_gaps(seen, info.dual, after)}
        energy = known(seen, info.dual)
        return after, replace(info, energy=energy, moved=displacement(state.x, after.x), measures=measures, map=map)


def draw(law: Law, n: int, seed: int, scored: int) -> State:
    """n particles of `law`, the first `scored` of them with densities, as the state of step 0."""
    checks.at_least("particles", n, 1)
    generator = keys.generator(seed, 0, device=law.like.device)
    if isinstance(law, OfRows) and 0 < scored < n:  # held, selecting and training rows share no row of the data
        choosing = min(scored // 2, n - scored - 1)
        x = law.disjoint([scored, choosing, n - scored - choosing], generator)
    else:
        x = law.sample(n, generator)
    if not scored:
        return State(x, seed)
    log_base = law.log_prob(x[:scored]) if law.has_density else None
    return State(x, seed, logdet=x.new_zeros(min(scored, n)), log_base=log_base)


def share(state: State) -> State:
    """The rows of this process, where `shards.group` shares among several the particles that all have drawn."""
    ranks = shards.current()
    if ranks.size == 1:
        return state
    shards.same(len(state.x), *(f"{coordinate:.5g}" for coordinate in state.x[-1].tolist()))
    return replace(state, x=state.x[ranks.share(len(state.x))].clone(), memory=ranks.mark())


def carried(state: State, map: Map, memory: Tree) -> State:
    """The pool moved by `map`: log-determinants on the scored rows, none on the others."""
    k = 0 if state.logdet is None else len(state.logdet)
    rest = [advance(Cloud(state.x[k:]), map).x] if k < len(state.x) else []
    after = replace(state, step=state.step + 1, memory=memory)
    if state.logdet is None or not k:
        return replace(after, x=torch.cat(rest), logdet=None, folded=None)
    x, change, folded = _measured(map, state.x[:k])
    return replace(after, x=torch.cat([x, *rest]), logdet=state.logdet + change, folded=folded)


@torch.no_grad()
def _measured(map: Map, x: Float[Tensor, "k d"], block: int = 8192) -> tuple[Tensor, Tensor, float]:
    """T(x_i), log|det ∇T(x_i)|, and the share of rows with det ∇T ≤ 0, 0 for maps that cannot fold."""
    moved = [map.transport(part, logdet=True) for part in x.split(block)]
    y = torch.cat([part.y for part in moved])
    change = torch.cat([part.logdet for part in moved if part.logdet is not None])
    folds = [part.folded for part in moved if part.folded is not None]
    return y, change, float(torch.cat(folds).double().mean()) if folds else 0.0


def pushed(previous: Law, info: Info) -> Law:
    """The law of a step that is a map."""
    if info.map is None:
        raise Incompatible("this step reported no map, so its law is only known by its particles")
    return Pushforward(previous, info.map, info.measures.get("folded", 0.0))


@torch.no_grad()
def observe(F: Functional, state: State, rows: int) -> dict[str, float]:
    """The energy of each term on the scored rows, weights included; NaN where particles and densities do not tell."""
    cloud = state.scored(rows) if shards.current().size == 1 else shards.cloud(state.x)
    seen: dict[str, float] = {}
    for weight, term in F.terms:
        seen[unique(term.name, seen)] = weight * _energy(term, cloud)
    return seen


def _energy(term: Term, cloud: Cloud) -> float:
    if isinstance(term, OnSamples):
        return shards.mean(term.energy(cloud if isinstance(term, OnShards) else replace(cloud, x=cloud.whole)))
    absolute = isinstance(term, OnAbsoluteDensity)
    if isinstance(term, OnDensity) and cloud.logdet is not None and not (absolute and cloud.log_base is None):
        return float(term.density_energy(cloud).mean())
    return math.nan


def unique(name: str, taken: Collection[str]) -> str:
    """`name`, numbered from the second term of that name on."""
    count = 1 + sum(other == name or other.rpartition(" ")[0] == name for other in taken)
    return name if count == 1 else f"{name} {count}"


def known(energies: Mapping[str, float], otherwise: Mapping[str, float]) -> dict[str, float]:
    """`energies`, with those of `otherwise` for what is NaN in it."""
    return {name: otherwise.get(name, value) if math.isnan(value) else value for name, value in energies.items()}


def _gaps(energies: Mapping[str, float], duals: Mapping[str, float], state: State) -> dict[str, float]:
    """How far the critic's value of a term lies below that of its density, where that is known: 0 at the optimum."""
    if state.log_base is None:
        return {}
    both = {name: energies[name] - value for name, value in duals.items() if name in energies}
    return {f"duality gap, {name}": gap for name, gap in both.items() if math.isfinite(gap)}


def displacement(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> float:
    """√E|y − x|²."""
    return math.sqrt(shards.mean((y - x).square().sum(-1)))
