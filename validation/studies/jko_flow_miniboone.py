"""JKO-Flow on MINIBOONE's 6,932 rows at hand: ten steps against the single shot, over a hundredfold of α."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from validation.report import Check, Context, Report, at_most
from validation.studies._carried_back import carried_back
from validation.studies._plots import axes, finish
from wgf import Gaussian, Inverse, Law, Pushforward, evolve, keys, quantile_map
from wgf.data import Miniboone
from wgf.kernels import Median, Radial
from wgf.maps import OTFlow
from wgf.methods import jko_flow
from wgf.problem import Learning, Problem
from wgf.scoring import Score, score
from wgf.steppers import JKO
from wgf.targets.density import density
from wgf.training import Adam
from wgf.two_sample import mmd2_unbiased, permuted

NAME = "jko-flow-miniboone"
TABLE = "MINIBOONE (6,932 rows, split 80/20)"
ALPHAS = (0.5, 1.0, 5.0, 10.0, 50.0)
STEPS = 10
KEPT = 300
"""Training rows for the certificate; half as many more choose the best weights of a step, and none are trained on."""

SMOOTHING = 0.35
"""Standard deviations of the noise that training rows get: flows of so many weights know the rows by heart otherwise.
0.35 is by MMD² of bare flows on another split. Shrunk noise of 0.6 with 600 iterations brings flows behind
`quantile_map` no nearer, and costs a nat and a half of likelihood."""

VIEWS: dict[str, Sequence[int]] = {"all 43": range(43), "(16, 17)": (16, 17), "(28, 29)": (28, 29)}
"""What MMD² is taken of: everything, and two planes, their coordinates counted from zero."""

TWICE = 2.0
"""The spread over α that ten steps are to stay below."""

SAMPLES = 2
"""Rows drawn of a model for each held one."""

EVALUATION = 8
"""Steps of RK4 a map to score and sample, or as many as it takes (`carried_back`)."""

MAPPED = 12_000
"""Further samples, whose marginals `quantile_map` brings to those of the training rows: by likelihood alone they are
too narrow at small α and too wide at large."""

PERMUTATIONS = 200


@dataclass(frozen=True)
class Budget:
    """What training may cost: iterations of a step at most, a tenth of the single shot's; width of the potential; rows
    with noise of their own, of 5,096 that are trained on."""

    iterations: int
    width: int
    particles: int


def study(quick: bool = False) -> Report:
    """α = 0.5, 1, 5, 10, 50 (quick: 1 and 10, shorter), one step of α and ten, as many iterations in all.

    The spread over α is max/min, of two things: what a model gains on a Gaussian, NLL(Gaussian) − NLL, in nats, which
    does not change with the units of the data as a ratio of NLLs would; and of unbiased MMD², no value counted below
    the standard deviation that it has between samples of one law (by permutation), for under it values only say
    "indistinguishable". MMD² is that of a flow behind `quantile_map`, which gives it the marginals of the training
    rows; beside it stands that of the bare flow. Map and noise were chosen on another split of the same rows. Four in
    five of 6,932 rows are trained on or choose weights, the others are held out. Flows are of the normal scores of the
    columns, whose excess kurtosis is up to 176, and all scores are in the data's own units.
    """
    budget, alphas = (Budget(60, 16, 10_000), (1.0, 10.0)) if quick else (Budget(300, 32, 40_000), ALPHAS)
    problem = density(Miniboone(), normal_scores=True, smoothing=SMOOTHING)
    learning = problem.learning
    assert learning is not None
    judge = judged(learning)
    fits = {steps: [fit(problem, alpha, steps, budget, judge) for alpha in alphas] for steps in (1, STEPS)}
    return Report(NAME, _checks(fits[STEPS], judge), _contexts(fits, judge), _figure(fits, judge))


def stepper(problem: Problem, steps: int, budget: Budget) -> JKO:
    """One OT-Flow potential a step, its quadratic part of full rank; all steps have as many iterations in all."""
    iterations = budget.iterations * STEPS // steps
    training = Adam(iterations, 256, 2e-2, averaging=0.99, checks=max(10, iterations // 30), patience=5)
    potential = OTFlow(problem.dim, budget.width, rank=problem.dim + 1, steps=2, evaluation_steps=EVALUATION)
    return jko_flow(problem.dim, potential, training, particles=budget.particles, held=KEPT)


@dataclass(frozen=True)
class Judge:
    """The held rows, what a Gaussian scores on them and one of the normal scores, and of each view its kernel, the
    noise of MMD² there, and what another part of the data scores.

    Kernels are Gaussian, their bandwidth the median distance of the held rows of the view.
    """

    held: Float[Tensor, "m d"]
    gaussian: Score
    of_scores: Score
    kernels: Mapping[str, Radial]
    noise: Mapping[str, float]
    perfect: Mapping[str, float]

    def mmd2(self, x: Float[Tensor, "n d"]) -> dict[str, float]:
        """Unbiased MMD² of the rows to the held ones, by view."""
        return {
            view: float(mmd2_unbiased(self.kernels[view], x[:, list(chosen)], self.held[:, list(chosen)]))
            for view, chosen in VIEWS.items()
        }

    def spread(self, view: str, values: Sequence[float]) -> float:
        """max/min, no value below the noise."""
        floored = [max(value, self.noise[view]) for value in values]
        return max(floored) / min(floored)

    def gained(self, nlls: Sequence[float]) -> float:
        """max/min of what is gained on a Gaussian; infinite where nothing is."""
        gains = [self.gaussian.nll - nll for nll in nlls]
        return max(gains) / min(gains) if min(gains) > 0 else math.inf


def judged(learning: Learning) -> Judge:
    """The judge, whose perfect sampler are training rows, as many as a model is asked for."""
    held, other = learning.held, learning.train[: SAMPLES * len(learning.held)]
    kernels, noise = {}, {}
    for view, chosen in VIEWS.items():
        columns = list(chosen)
        kernels[view] = Median().kernel(held[:, columns])
        pooled = torch.cat([held, other])[:, columns]
        noise[view] = float(permuted(kernels[view], pooled, len(held), PERMUTATIONS, seed=0)[1:].std())
    gaussian = score(Gaussian.fit(learning.train), held)
    of_scores = score(Pushforward(Gaussian.fit(learning.frame(learning.train)), Inverse(learning.frame)), held)
    bare = Judge(held, gaussian, of_scores, kernels, noise, {})
    return replace(bare, perfect=bare.mmd2(other))


@dataclass(frozen=True)
class Fit:
    """A model: its α, its score on the held rows, MMD² by view, the same of the bare flow without `quantile_map`,
    samples, steps of RK4 that a map took, iterations, how many steps moved nothing, and seconds.

    Where samples could not be carried back there are none, and MMD² is infinite.
    """

    alpha: float
    score: Score
    mmd2: Mapping[str, float]
    bare: Mapping[str, float]
    samples: Float[Tensor, "n d"]
    taken: int
    iterations: int
    still: int
    seconds: float


def fit(problem: Problem, alpha: float, steps: int, budget: Budget, judge: Judge) -> Fit:
    """`steps` steps of α in float32, scored and sampled in float64."""
    began, learning = time.perf_counter(), problem.learning
    assert learning is not None
    start = problem.initial.to(torch.float32)
    path = evolve(problem.F, stepper(problem, steps, budget), start, [alpha] * steps, seed=0)
    law, drawn, taken = carried_back(learning.model(path).to(torch.float64), partial(_drawn, judge), EVALUATION)
    if drawn is None:
        samples, bare = judge.held[:0], dict.fromkeys(VIEWS, math.inf)
        mmd2 = bare
    else:
        samples, others = drawn
        bare, map = judge.mmd2(samples), quantile_map(others, learning.train)
        law, samples = Pushforward(law, map), map(samples)
        mmd2 = judge.mmd2(samples)
    spent = sum(info.curve[-1][0] for info in path.infos)
    still = sum(info.moved == 0 for info in path.infos)
    seconds = time.perf_counter() - began
    return Fit(alpha, score(law, judge.held), mmd2, bare, samples, taken, spent, still, seconds)


def _drawn(judge: Judge, law: Law) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k d"]]:
    """Samples to be judged, and those that the map is fitted to."""
    return law.sample(SAMPLES * len(judge.held), keys.generator(3)), law.sample(MAPPED, keys.generator(4))


def _checks(fits: list[Fit], judge: Judge) -> tuple[Check, ...]:
    said = f"{TABLE}, {STEPS} steps: max/min over α"
    gained = judge.gained([one.score.nll for one in fits])
    spreads = {view: judge.spread(view, [one.mmd2[view] for one in fits]) for view in VIEWS}
    return (
        at_most(NAME, f"{said} of the NLL gained on a Gaussian", gained, TWICE),
        *(
            at_most(NAME, f"{said} of MMD² behind quantile_map (floored at its noise), {view}", spreads[view], TWICE)
            for view in VIEWS
        ),
    )


def _contexts(fits: dict[int, list[Fit]], judge: Judge) -> tuple[Context, ...]:
    gaussians = {"a Gaussian": judge.gaussian, "a Gaussian of the normal scores": judge.of_scores}
    rows = [Context(name, {"NLL": one.nll, "s.e.": one.standard_error}) for name, one in gaussians.items()]
    rows.append(Context("training rows for samples", {f"MMD², {view}": judge.perfect[view] for view in VIEWS}))
    rows.append(Context("noise of MMD², one s.d.", {f"MMD², {view}": judge.noise[view] for view in VIEWS}))
    for steps, found in fits.items():
        rows += [_row(steps, one) for one in found]
        nlls = [one.score.nll for one in found]
        spreads = {f"MMD², {view}": judge.spread(view, [one.mmd2[view] for one in found]) for view in VIEWS}
        bare = {f"MMD², {view}, bare": judge.spread(view, [one.bare[view] for one in found]) for view in VIEWS}
        values = {"NLL gained": judge.gained(nlls), **spreads, **bare, "NLL, max − min": max(nlls) - min(nlls)}
        rows.append(Context(f"K = {steps}: max/min over α", values))
    return tuple(rows)


def _row(steps: int, one: Fit) -> Context:
    values = {"NLL": one.score.nll, "s.e.": one.score.standard_error, "integrator": one.score.integrator}
    values |= {f"MMD², {view}": value for view, value in one.mmd2.items()}
    values |= {f"MMD², {view}, bare": value for view, value in one.bare.items()}
    values |= {
        "RK4 steps": one.taken,
        "iterations": one.iterations,
        "steps that stood still": one.still,
        "seconds": one.seconds,
    }
    return Context(f"K = {steps}, α = {one.alpha:g}", values)


def _figure(fits: dict[int, list[Fit]], judge: Judge) -> Figure:
    figure, (left, middle, right) = axes(3)
    for steps, found in fits.items():
        alphas = [one.alpha for one in found]
        errors = [2 * one.score.standard_error for one in found]
        left.errorbar(alphas, [one.score.nll for one in found], errors, fmt="o-", ms=4, label=f"K = {steps}")
        for k, view in enumerate(VIEWS):
            values = [max(one.mmd2[view], judge.noise[view]) for one in found]
            style = "o-" if steps > 1 else "s:"
            middle.plot(alphas, values, style, ms=4, color=f"C{k}", label=f"K = {steps}, {view}")
    left.axhline(judge.gaussian.nll, color="k", lw=1, ls="--", label="a Gaussian")
    left.set_xscale("log")
    middle.set(xscale="log", yscale="log")
    finish(left, TABLE, "α", "NLL of held rows [nats], ± 2 s.e.")
    finish(middle, "MMD² to the held rows, floored at its noise", "α", "MMD²")
    _slice(right, fits[STEPS][len(fits[STEPS]) // 2], judge)
    return figure


def _slice(axis: Axes, one: Fit, judge: Judge) -> None:
    first, second = VIEWS["(28, 29)"]
    for name, rows in (("held rows", judge.held), ("model", one.samples[: len(judge.held)])):
        axis.plot(rows[:, first], rows[:, second], ".", ms=2, alpha=0.5, label=name)
    finish(axis, f"K = {STEPS}, α = {one.alpha:g}", f"x[{first}]", f"x[{second}]")
