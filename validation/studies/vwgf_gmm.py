"""Primal–dual JKO on mixtures of ten Gaussians, stopped before modes have equalised, beside Langevin, SVGD and MALA."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from validation.report import Check, Context, Report, at_most
from validation.sliced import sliced_wasserstein2
from validation.stein import ksd2_u
from validation.studies._plots import axes, finish
from wgf import KL, Alternate, Critic, Entropy, Gaussian, Guided, Potential, ProgressBar, Residual, evolve, keys
from wgf.kernels import InverseMultiquadric
from wgf.methods import variational_wgf
from wgf.steppers import SVGD, AdaGrad, AdjustedLangevin, Langevin, SaddleJKO, Stepper
from wgf.targets import UnitGaussians, gaussian_mixture

NAME = "vwgf-gmm"
DIMS, QUICK = (2, 4, 8, 15, 24, 32, 64, 128), (2, 15)
TAU, STEPS, SUBSTEPS = 0.1, 40, 20
COMPONENTS, WIDTH, DEPTH = 10, 128, 2
SVGD_PARTICLES, SVGD_RATE = 2000, 0.1
ROWS, PROJECTIONS = 5000, 500
"""Particles of each method that KSD² is taken on, and directions of the sliced distance."""

FLAT = 3.0
"""How much longer a step may take in d = 128 than in d = 2, networks of one size: products with d columns grow."""


class Counted(UnitGaussians):
    """log π that counts the points at which its gradient was asked for, in closed form or by autograd."""

    scores = 0

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        self.scores += len(x) if x.requires_grad else 0
        return super().__call__(x)

    def gradient(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        self.scores += len(x)
        return super().gradient(x)


@dataclass(frozen=True)
class Sample:
    """What a method left at t = 4, the scores it asked for, and the seconds of a processor it took."""

    x: Tensor
    scores: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """One dimension: the methods by name, the Langevin run of the same flow among them, and what is made of them."""

    dim: int
    means: Tensor
    samples: dict[str, Sample]
    rows: dict[str, dict[str, float]] = field(default_factory=dict)

    def weights(self, name: str) -> Tensor:
        """The share of the particles that are nearest to each mean."""
        return self._nearest(self.samples[name].x)

    def _nearest(self, x: Tensor) -> Tensor:
        nearest = torch.cat([torch.cdist(part, self.means.to(x)).argmin(1) for part in x.split(10_000)])
        return torch.bincount(nearest, minlength=COMPONENTS).double() / len(x)

    def off(self, name: str) -> float:
        """The largest distance of a mode's weight from the Langevin run's."""
        return float((self.weights(name) - self.weights(LONG)).abs().max())

    @property
    def null(self) -> float:
        """That of the particles at t = 0: what no motion at all would show."""
        x = Gaussian.standard(self.dim, 4.0, dtype=torch.float32).sample(50_000, keys.generator(3))
        return float((self._nearest(x) - self.weights(LONG)).abs().max())


OURS, LONG, AGAIN, STEIN, ADJUSTED = "primal–dual JKO", "Langevin", "Langevin, another seed", "SVGD", "MALA"


def study(quick: bool = False) -> Iterator[Report]:
    """Ten unit Gaussians in d = 2, 4, 8, 15, 24, 32, 64, 128 (quick: 2 and 15), one after the other, from N(0, 16 I),
    40 steps of 0.1, one size of networks; 5·10⁴ particles (quick: 2·10⁴). The truth is Langevin with steps of 0.005 and
    as many particles; SVGD and MALA get as many scores as ours asked for. KSD² (U) with the inverse multiquadric of
    width √d, 5,000 rows.
    """
    particles = 20_000 if quick else 50_000
    outcomes = []
    for dim in QUICK if quick else DIMS:
        outcomes.append(_run(dim, particles))
        yield report(outcomes[-1])
    yield Report(NAME, (slowed(outcomes),), figure=_figure(outcomes))


def stepper(dim: int, V: Potential, particles: int) -> SaddleJKO:
    """Networks of one size in every dimension; the map has a share of ∇V."""
    map = Guided(Residual(dim, WIDTH, DEPTH), V)
    training = Alternate(100, 3, 100, 1024, rate=2e-3, critic_rate=2e-3, betas=(0.9, 0.99))
    step = variational_wgf(dim, map, Critic(dim, WIDTH, DEPTH), training, particles)
    assert isinstance(step, SaddleJKO)
    return replace(step, densities=False)


def _run(dim: int, particles: int) -> Outcome:
    samples = {OURS: sample(OURS, dim, particles)}
    budget = samples[OURS].scores
    samples |= {name: sample(name, dim, particles, budget) for name in (ADJUSTED, STEIN, LONG, AGAIN)}
    return compared(dim, samples)


def sample(name: str, dim: int, particles: int, budget: int = 0) -> Sample:
    """What the method of this name leaves at t = 4, for about `budget` scores where that is for it to decide."""
    target = Counted(_means(dim))
    F = KL(target)
    V = next(term for _, term in F.terms if isinstance(term, Potential))
    tau, seed, many = TAU, 0, max(1, round(budget / (STEPS * (SVGD_PARTICLES if name == STEIN else particles))))
    step: Stepper
    if name == OURS:
        step, F = stepper(dim, V, particles), Entropy(centres=COMPONENTS) + V
    elif name == ADJUSTED:
        step = AdjustedLangevin(particles, many)
    elif name == STEIN:
        step, tau = SVGD(SVGD_PARTICLES, update=AdaGrad(), substeps=many), SVGD_RATE * many
    else:
        step, seed = Langevin(particles, SUBSTEPS), 1 + (name == AGAIN)
    start, began = Gaussian.standard(dim, 4.0, dtype=torch.float32), time.process_time()
    path = evolve(F, step, start, [tau] * STEPS, seed=seed, observers=[ProgressBar(f"{NAME} d = {dim}, {name}")])
    return Sample(path.state.x, target.scores, time.process_time() - began)


def compared(dim: int, samples: dict[str, Sample]) -> Outcome:
    """The methods of one dimension with what is made of them."""
    outcome, target = Outcome(dim, _means(dim), samples), UnitGaussians(_means(dim))
    outcome.rows.update({name: _measure(outcome, name, target) for name in samples})
    return outcome


def report(outcome: Outcome) -> Report:
    """The checks of one dimension and the rows beside them."""
    rows = [Context(f"d = {outcome.dim}, {name}", values) for name, values in outcome.rows.items()]
    rows.append(Context(f"d = {outcome.dim}, the start", {"worst weight off": outcome.null}))
    return Report(NAME, tuple(_checks(outcome)), tuple(rows))


def slowed(outcomes: list[Outcome]) -> Check:
    """How much longer the training takes in the last dimension than in the first."""
    first, last = (outcome.samples[OURS].seconds for outcome in (outcomes[0], outcomes[-1]))
    name = f"processor seconds of training, d = {outcomes[-1].dim} over d = {outcomes[0].dim}"
    return at_most(NAME, name, last / first, FLAT)


def _means(dim: int) -> Tensor:
    return torch.stack([law.mean for law in gaussian_mixture(dim, COMPONENTS).components if isinstance(law, Gaussian)])


def _measure(outcome: Outcome, name: str, target: UnitGaussians) -> dict[str, float]:
    sample, truth = outcome.samples[name], outcome.samples[LONG]
    found = ksd2_u(InverseMultiquadric(math.sqrt(outcome.dim)), sample.x[:ROWS].double(), target.gradient)
    measures = {
        "worst weight off": outcome.off(name),
        "KSD² (U)": found.value,
        "scores": float(sample.scores),
        "processor seconds": sample.seconds,
    }
    if name != LONG:
        measures["sliced W2 [length]"] = sliced_wasserstein2(sample.x, truth.x, PROJECTIONS, keys.generator(0))
    return measures


def _checks(outcome: Outcome) -> list[Check]:
    name, rows = f"d = {outcome.dim}", outcome.rows
    ratio = rows[OURS]["sliced W2 [length]"] / rows[STEIN]["sliced W2 [length]"]
    floor = rows[OURS]["sliced W2 [length]"] / rows[AGAIN]["sliced W2 [length]"]
    return [
        at_most(NAME, f"{name}: weight of a mode, off the Langevin run's", outcome.off(OURS), 0.015),
        at_most(NAME, f"{name}: sliced W2 to the Langevin run, over that of another seed", floor, 3.0),
        at_most(NAME, f"{name}: sliced W2 to the Langevin run, over SVGD's", ratio, 1.0),
    ]


def _figure(outcomes: list[Outcome]) -> Figure:
    figure, (cloud, weights, distance, seconds) = axes(4)
    first, last = outcomes[0], outcomes[-1]
    for name, style in ((LONG, "."), (OURS, ".")):
        cloud.plot(*first.samples[name].x[:3000, :2].T, style, ms=2, label=name, alpha=0.6)
    cloud.plot(*first.means[:, :2].T, "k+", ms=9, label="means")
    finish(cloud, f"Particles at t = 4, d = {first.dim}", "x₁ [length]", "x₂ [length]")
    for name, style in ((LONG, "k_"), (OURS, "o"), (ADJUSTED, "^"), (STEIN, "x")):
        weights.plot(last.weights(name), style, ms=9 if name == LONG else 5, mfc="none", label=name)
    weights.axhline(1 / COMPONENTS, color="grey", lw=0.8, label="at t = ∞")
    finish(weights, f"Weights of the modes at t = 4, d = {last.dim}", "mode", "share of the particles")
    dims = [outcome.dim for outcome in outcomes]
    for name, style in ((OURS, "o-"), (ADJUSTED, "^-"), (STEIN, "x-"), (AGAIN, "k:")):
        distance.loglog(dims, [o.rows[name]["sliced W2 [length]"] for o in outcomes], style, label=name)
    finish(distance, "To the Langevin run", "dimension d", "sliced W₂ [length]")
    seconds.semilogx(dims, [o.samples[OURS].seconds / STEPS for o in outcomes], "o-", label=OURS)
    finish(seconds, "Time of a step", "dimension d", "seconds of a processor")
    seconds.set_ylim(bottom=0)
    return figure
