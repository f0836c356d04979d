"""What the study of JKO-iFlow runs and weighs: a flow, its blocks evened out and cut, their scores, their memory."""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from wgf import Path, evolve, keys
from wgf.data import Dataset
from wgf.errors import NotInvertible
from wgf.maps import Compose, Map, NeuralODE
from wgf.maps.base import half_square
from wgf.methods import jko_iflow
from wgf.problem import Problem
from wgf.refinement import even, refine
from wgf.schedule import Geometric
from wgf.scoring import log_density
from wgf.steppers import JKO
from wgf.stopping import Settled
from wgf.targets.density import density
from wgf.training import Adam

GEOMETRIC, EVEN, REFINED = "geometric", "reparametrised", "refined"
DRAWS = 20_000
"""Samples of a model that say how much of its mass lies at the edges."""


@dataclass(frozen=True)
class Trained:
    """How blocks are trained: of the first flow, of its reparametrisation, of its refinement.

    A refined block starts as half of a motion, which a high rate undoes before it improves on it.
    """

    first: Adam
    even: Adam
    refined: Adam


@dataclass(frozen=True)
class Setting:
    """A data set under its `title`, and how its flow is taken.

    sizes τ_0, τ_0 ρ, … up to the cap; tolerance of `Settled`, a coordinate: √d of it is the length; particles, the
    pool, of which `kept` rows are for the certificate and half as many choose the best weights; rounds of `even`;
    frequency, of the features a block starts from; steps of RK4 in training, twice as many to score and sample.
    """

    title: str
    data: Dataset
    sizes: Geometric
    tolerance: float
    training: Trained
    width: int
    particles: int
    kept: int
    rounds: int
    frequency: float = 1.0
    steps: int = 2

    def stepper(self, dim: int) -> JKO:
        """JKO-iFlow's blocks, in float32 as the particles are; their divergence is taken at random times."""
        block = NeuralODE(
            dim,
            self.width,
            steps=self.steps,
            evaluation_steps=2 * self.steps,
            frequency=self.frequency,
            random_times=True,
        )
        return replace(jko_iflow(dim, block, self.training.first, self.particles), held=self.kept)


@dataclass(frozen=True)
class Run:
    """A flow with its reparametrisation and refinement, by name, and log-densities of the held rows under each.

    exact: those of the law itself, where it is known; at_edges: 1 for each of `DRAWS` samples of the two models
    compared, from the same noise, that lies at the edges; NaN where a model could not be sampled.
    """

    setting: Setting
    problem: Problem
    paths: Mapping[str, Path]
    densities: Mapping[str, Float[Tensor, " n"]]
    exact: Float[Tensor, " n"] | None
    at_edges: Mapping[str, Float[Tensor, " k"]]
    seconds: float

    @property
    def edges(self) -> Float[Tensor, " m"]:
        """Indices of the edge rows: the tenth of the held rows that are least likely."""
        return _least(_reference(self.densities, self.exact))

    def nll(self, name: str, rows: Tensor | slice = slice(None)) -> float:
        """−mean log p of held rows, in nats a row and in the data's own units."""
        return -float(self.densities[name][rows].mean())

    def gain(self, rows: Tensor | slice = slice(None)) -> tuple[float, float]:
        """The NLL of the refined path less that of the reparametrised one, and its standard error, row by row."""
        difference = (self.densities[EVEN] - self.densities[REFINED])[rows]
        return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))

    def mass(self, name: str) -> float:
        """How much of its mass a model has at the edges, all counted as all but half a sample."""
        drawn = self.at_edges[name]
        return min(float(drawn.mean()), 1 - 0.5 / len(drawn))

    def edge_gain(self) -> tuple[float, float]:
        """The censored NLL of the refined path at the edges A less that of the reparametrised, and its standard error.

        E[−1_A log p − 1_{not A} log(1 − p(A))]/P(A), in nats for each row of A. Without the second part a model that
        spreads too much mass over A is the better for it (Diks, Panchenko, van Dijk 2011, J. Econometrics 163).
        """
        n, edges, masses = len(self.densities[EVEN]), self.edges, [self.mass(name) for name in (EVEN, REFINED)]
        change = torch.full((n,), math.log1p(-masses[0]) - math.log1p(-masses[1]), dtype=torch.float64)
        change[edges] = (self.densities[EVEN] - self.densities[REFINED])[edges].double()
        share = len(edges) / n
        before, after = (self.at_edges[name] / (1 - self.mass(name)) for name in (EVEN, REFINED))
        of_rows = float(change.std()) / math.sqrt(n)
        of_draws = (1 - share) * float((before - after).std()) / math.sqrt(len(before))
        return float(change.mean()) / share, math.hypot(of_rows, of_draws) / share


def run(setting: Setting, seed: int = 0) -> Run:
    """The flow, its blocks evened out, each then cut in two, all scored on the held rows in float64."""
    began, problem = time.perf_counter(), density(setting.data)
    learning, stepper = problem.learning, setting.stepper(problem.dim)
    assert learning is not None
    start, stop = problem.initial.to(torch.float32), Settled(setting.tolerance * math.sqrt(problem.dim))
    first = evolve(problem.F, stepper, start, setting.sizes, seed=seed, stop=stop)
    evened = even(problem.F, replace(stepper, training=setting.training.even), first, setting.rounds, seed=seed)
    refined = refine(problem.F, replace(stepper, training=setting.training.refined), evened, parts=2, seed=seed)
    paths = {GEOMETRIC: first, EVEN: evened, REFINED: refined}
    with torch.no_grad():
        models = {name: learning.model(path).to(torch.float64) for name, path in paths.items()}
        densities = {name: log_density(model, learning.held) for name, model in models.items()}
    known = getattr(setting.data, "law", None)
    exact = None if known is None else known().log_prob(learning.held)
    at = _reference(densities, exact)
    level, at_edges = float(at[_least(at)].max()), {}
    for name in (EVEN, REFINED):
        try:
            with torch.no_grad():
                x = models[name].sample(DRAWS, keys.generator(seed, 6))
        except NotInvertible:
            at_edges[name] = torch.full((DRAWS,), math.nan, dtype=torch.float64)
            continue
        own = {each: log_density(models[each], x) for each in (EVEN, REFINED)} if known is None else {}
        there = _reference(own, None if known is None else known().log_prob(x)) <= level
        at_edges[name] = there.double()
    return Run(setting, problem, paths, densities, exact, at_edges, time.perf_counter() - began)


def _reference(densities: Mapping[str, Tensor], exact: Tensor | None) -> Tensor:
    """What edges are told by: log-densities of the law itself or, where it is unknown, the mean of the two models'.

    The mean favours neither: rows chosen by one model alone look better under the other.
    """
    return (densities[EVEN] + densities[REFINED]) / 2 if exact is None else exact


def _least(values: Tensor) -> Tensor:
    return values.argsort()[: max(1, len(values) // 10)]


def moved(path: Path) -> list[float]:
    """How far each block moves the law: its W₂ increment."""
    return [info.moved for info in path.infos]


def variation(lengths: Sequence[float]) -> float:
    """The coefficient of variation, standard deviation (1/K) over mean."""
    values = torch.tensor(lengths, dtype=torch.float64)
    return float(values.std(correction=0) / values.mean())


@dataclass(frozen=True)
class Kept:
    """Bytes that autograd keeps for one gradient: of the motion alone, and with the loss on top of it."""

    motion: int
    loss: int


def kept(map: Map, x: Float[Tensor, "n d"], tau: float) -> Kept:
    """What autograd keeps of E[cost]/τ + E[½|y|² − log det] beside weights and batch, storages counted once.

    The loss keeps the batch's end y, n d numbers, which the motion does as well where it ends with a velocity.
    """
    given = {tensor.untyped_storage().data_ptr() for tensor in (x, *map.parameters())}
    seen: dict[int, Tensor] = {}  # held on to, lest an address be used twice

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in given:
            seen[place] = tensor
        return tensor

    def total() -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        moved = map.transport(x, logdet=True)
        motion = total()
        assert moved.logdet is not None
        (moved.cost / tau + half_square(moved.y) - moved.logdet).mean()
    return Kept(motion, total())


def memory(path: Path, x: Float[Tensor, "n d"]) -> tuple[Kept, Kept]:
    """What the largest of the K blocks keeps of a batch by itself, and what their composition does."""
    blocks = [copy.deepcopy(map).train().requires_grad_(True) for map in path.maps]
    alone = [kept(block, x, 1.0) for block in blocks]
    return max(alone, key=lambda one: one.loss), kept(Compose(blocks), x, 1.0)
