"""The German credit posterior in d = 25 by JKO steps against its published moments; both Langevins beside it."""

import time

import torch
from matplotlib.figure import Figure
from torch import Tensor

from validation.report import Check, Context, Report, at_most
from validation.studies._flows import flow
from validation.studies._plots import axes, finish
from wgf import JKO, Adam, AdjustedLangevin, Langevin, Problem, Residual, keys
from wgf.data import GermanCredit
from wgf.data.posteriors import Reference
from wgf.steppers import Stepper
from wgf.targets.logistic import logistic_regression, posterior

NAME = "german-credit"
SAMPLES = 20_000
TAUS = (0.02, 0.05, 0.15, 0.5, 1.5, 4.0, 10.0)


def study(quick: bool = False) -> Report:
    """Seven plain JKO steps of growing τ, one tanh layer of width 64; 20,000 fresh samples of the last law."""
    data = GermanCredit()
    problem, reference = logistic_regression(data), data.reference()
    training = Adam(400, 2048)
    runs, seconds = {}, {}
    stepper = JKO(Residual(problem.dim), training, particles=300_000, density_batch=512)
    runs["JKO"], seconds["JKO"] = _run(problem, stepper, list(TAUS), NAME)
    gradients = len(TAUS) * training.iterations * training.batch
    for name, langevin, tau in _langevins(gradients // SAMPLES):
        runs[name], seconds[name] = _run(problem, langevin, [tau], f"{NAME} {name}")
    checks = _checks(runs["JKO"], seconds["JKO"], reference)
    context = [Context("gradient evaluations, each", {"count": float(gradients)})]
    for name, x in runs.items():
        mean, sd = errors(x, reference)
        context.append(
            Context(
                name,
                {"worst mean [sd]": float(mean.max()), "worst sd [share]": float(sd.max()), "seconds": seconds[name]},
            )
        )
    return Report(NAME, checks, tuple(context), _figure(runs, reference))


def errors(x: Tensor, reference: Reference) -> tuple[Tensor, Tensor]:
    """|mean − published| in published standard deviations, and |sd/published − 1|, per coordinate."""
    mean = (x.mean(0) - reference.mean).abs() / reference.sd
    return mean, (x.std(0) / reference.sd - 1).abs()


def _checks(x: Tensor, seconds: float, reference: Reference) -> tuple[Check, ...]:
    mean, sd = errors(x, reference)
    return (
        at_most(NAME, "JKO: worst mean, in published standard deviations", float(mean.max()), 0.04),
        at_most(NAME, "JKO: worst standard deviation, relative", float(sd.max()), 0.03),
        at_most(NAME, "JKO: seconds, two cores", seconds, 180),
    )


def _langevins(substeps: int) -> list[tuple[str, Stepper, float]]:
    """Both with steps of half the smallest posterior variance, from the Laplace fit: large for the unadjusted one."""
    laplace = posterior(GermanCredit()).laplace()
    smallest = float(torch.linalg.eigvalsh(laplace.covariance)[0])
    return [
        ("Langevin", Langevin(SAMPLES, substeps), 0.5 * smallest * substeps),
        ("AdjustedLangevin", AdjustedLangevin(SAMPLES, substeps), 0.5 * smallest * substeps),
    ]


def _run(problem: Problem, stepper: Stepper, taus: list[float], title: str) -> tuple[Tensor, float]:
    began = time.perf_counter()
    path = flow(problem, stepper, taus, title)
    return path.final.sample(SAMPLES, keys.generator(0, 98)).double(), time.perf_counter() - began


def _figure(runs: dict[str, Tensor], reference: Reference) -> Figure:
    figure, (left, right) = axes(2)
    for name, x in runs.items():
        left.plot(reference.mean, x.mean(0), ".", label=name)
        right.plot(reference.sd, x.std(0), ".", label=name)
    for axis, values, what in ((left, reference.mean, "mean"), (right, reference.sd, "standard deviation")):
        ends = [float(values.min()), float(values.max())]
        axis.plot(ends, ends, "k-", lw=0.8, label="exact")
        finish(axis, f"German credit, posterior {what}", f"published {what}", f"samples' {what}")
    return figure
