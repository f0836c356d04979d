"""Langevin, unadjusted and adjusted, on Ornstein–Uhlenbeck: every moment within four standard errors."""

import torch

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation.metrics import moment_errors
from validation.report import Check, Report, at_most
from validation.studies._flows import exact_at, flow
from validation.studies._plots import axes, finish, moments_in_time
from wgf import AdjustedLangevin, Empirical, Gaussian, Langevin

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
    figure, (axis,) = axes(1, width=6)
    moments_in_time(axis, times, runs, exact)
    finish(axis, f"Ornstein–Uhlenbeck, d = 3, {particles:,} particles", "time t", "mean (o), variance (□)")
    return Report(NAME, tuple(checks), figure=figure)


def worst_score(x: torch.Tensor, exact: Gaussian) -> float:
    """The largest |z| among means and covariance entries."""
    scores = moment_errors(x, exact)
    return max(float(scores.mean.abs().max()), float(scores.covariance.abs().max()))
