"""The heat equation by midpoint JKO and by Brownian motion: exact moments, and the learnt density."""

import torch

from pdes.heat import heat
from validation.metrics import moment_errors, monte_carlo_kls
from validation.report import Check, Report, at_most
from validation.studies._flows import exact_at, flow
from validation.studies._plots import axes, finish, moments_in_time
from wgf import JKO, Adam, Empirical, Gaussian, Langevin, Law, Midpoint, Residual, keys
from wgf.steppers import Stepper

NAME = "heat"
STEPS = 10


def study(quick: bool = False) -> Report:
    """d = 2 to t = 1 from N(0, I), ten steps: means and covariances within four standard errors; the learnt density."""
    problem, n = heat(), 20_000
    steppers: dict[str, Stepper] = {
        "Midpoint(JKO)": Midpoint(JKO(Residual(2), Adam(300 if quick else 600, 8192), density_batch=2048)),
        "Langevin": Langevin(n, 1),  # Brownian motion is exact at any step
    }
    checks: list[Check] = []
    runs, times = {}, [k / STEPS for k in range(1, STEPS + 1)]
    exact = [exact_at(problem, t) for t in times]
    for name, stepper in steppers.items():
        path = flow(problem, stepper, [1 / STEPS] * STEPS, f"{NAME} {name}")
        draws = [_draws(law, n, k) for k, law in enumerate(path.laws[1:])]
        scores = [moment_errors(x, truth) for x, truth in zip(draws, exact, strict=True)]
        worst = max(float(torch.cat([z.mean.abs(), z.covariance.abs().flatten()]).max()) for z in scores)
        checks.append(at_most(NAME, f"{name}: worst moment at ten times, in standard errors", worst, 4.0))
        runs[name] = [x.double() for x in draws]
        if name.startswith("Midpoint"):
            checks += _density_checks(path.final, exact[-1])
    figure, (axis,) = axes(1, width=6)
    moments_in_time(axis, times, runs, exact)
    finish(axis, problem.title, "time t", "mean (o), variance (□)")
    return Report(NAME, tuple(checks), figure=figure)


def _density_checks(model: Law, exact: Gaussian) -> list[Check]:
    """Both ways, for a lost constant of log ρ would cancel in their sum."""
    both = monte_carlo_kls(model.to(torch.float64), exact, 20_000, _generator(99))
    return [
        at_most(NAME, f"Midpoint(JKO): |{name}| at t = 1, two s.e. on top", abs(kl.value) + 2 * kl.error, 3e-3)
        for name, kl in zip(("KL(model | exact)", "KL(exact | model)"), both, strict=True)
    ]


def _draws(law: Law, n: int, k: int) -> torch.Tensor:
    return law.x if isinstance(law, Empirical) else law.sample(n, _generator(k))


def _generator(k: int) -> torch.Generator:
    return keys.generator(0, 7, k)
