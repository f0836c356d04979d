"""Langevin, unadjusted and adjusted, on Ornstein–Uhlenbeck: every moment within four standard errors."""

import torch

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation.metrics import moment_errors
from validation.report import Check, Report, at_least, at_most, within
from validation.studies._flows import exact_at, flow, quadratic
from validation.studies._plots import axes, finish, moments_in_time
from wgf import AdjustedLangevin, Empirical, Gaussian, Langevin, evolve

NAME = "langevin"


def study(quick: bool = False) -> Report:
    """d = 3, nine times up to 0.9; sub-steps so small (τ/100) that their O(h) bias hides below one standard error."""
    particles = 5_000 if quick else 20_000
    problem = ornstein_uhlenbeck(3, seed=2)
    checks: list[Check] = []
    runs, times = {}, [0.1 * k for k in range(1, 10)]
    exact = [exact_at(problem, t) for t in times]
    for stepper in (Langevin(particles, 100), AdjustedLangevin(particles, 100)):
        name = type(stepper).__name__
        path = flow(problem, stepper, [0.1] * 9, f"{NAME} {name}", torch.float64)
        clouds = [law.x for law in path.laws[1:] if isinstance(law, Empirical)]
        worst = max(worst_score(x, law) for x, law in zip(clouds, exact, strict=True))
        checks.append(at_most(NAME, f"{name}: worst moment at nine times, in standard errors", worst, 4.0))
        runs[name] = clouds
    checks += _metropolis_checks(particles)
    figure, (axis,) = axes(1, width=6)
    moments_in_time(axis, times, runs, exact)
    finish(axis, f"Ornstein–Uhlenbeck, d = 3, {particles:,} particles", "time t", "mean (o), variance (□)")
    return Report(NAME, tuple(checks), figure=figure)


def _metropolis_checks(particles: int) -> list[Check]:
    """At steps of 1/λ_max, from exact draws of the invariant law: accepting makes it stay, and without it is lost."""
    problem = ornstein_uhlenbeck(3, seed=2)
    V = quadratic(problem)
    law = Gaussian(V.centre, torch.linalg.inv(V.matrix))
    tau = 100 / float(torch.linalg.eigvalsh(V.matrix)[-1])
    found = {}
    for stepper in (AdjustedLangevin(particles, 100), Langevin(particles, 100)):
        path = evolve(problem.F, stepper, law, [tau], seed=1)
        found[type(stepper).__name__] = path.infos[-1].measures, worst_score(path.state.x, law)
    (measures, adjusted), (_, unadjusted) = found["AdjustedLangevin"], found["Langevin"]
    return [
        at_most(NAME, "AdjustedLangevin at h = 1/λ_max, stationary: worst moment, in standard errors", adjusted, 4.0),
        at_least(NAME, "Langevin at that h, which is biased: worst moment, in standard errors", unadjusted, 10.0),
        within(NAME, "AdjustedLangevin at that h: acceptance", measures["acceptance"], 0.2, 0.95),
    ]


def worst_score(x: torch.Tensor, exact: Gaussian) -> float:
    """The largest |z| among means and covariance entries."""
    scores = moment_errors(x, exact)
    return max(float(scores.mean.abs().max()), float(scores.covariance.abs().max()))
