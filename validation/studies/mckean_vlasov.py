"""McKean–Vlasov by interacting Langevin particles, by splitting and by midpoint JKO: exact moments at five times."""

import torch
from torch import Tensor

from pdes.mckean_vlasov import mckean_vlasov
from validation.gaussian import jko_step
from validation.metrics import moment_errors
from validation.report import Check, Report, at_most
from validation.studies._flows import exact_at
from validation.studies._plots import axes, finish, moments_in_time
from wgf import (
    JKO,
    LBFGS,
    Adam,
    Affine,
    Gaussian,
    Langevin,
    Midpoint,
    Problem,
    ProgressBar,
    Residual,
    Splitting,
    evolve,
)
from wgf.steppers import Stepper

NAME = "mckean-vlasov"
STEPS = 20


def study(quick: bool = False) -> Report:
    """d = 2, a = κ = 1, ε = ½ to t = 1: means and covariances within four standard errors."""
    problem = mckean_vlasov()
    n = 1_000 if quick else 2_000
    steppers: dict[str, Stepper] = {
        "Langevin": Langevin(n, 20),
        "Splitting(JKO)": Splitting(JKO(Affine(2), LBFGS(), particles=n, held=0)),
        "Midpoint(JKO)": Midpoint(JKO(Residual(2), Adam(100 if quick else 200, 1024), particles=12_000)),
    }
    checks: list[Check] = []
    runs, times = {}, [k / STEPS for k in range(4, STEPS + 1, 4)]
    exact = [exact_at(problem, t) for t in times]
    for name, stepper in steppers.items():
        clouds = _clouds(problem, stepper, name)
        worst = max(score(x, law, _crowd(t)) for x, law, t in zip(clouds, exact, times, strict=True))
        checks.append(at_most(NAME, f"{name}: worst moment at five times, in standard errors", worst, 4.0))
        runs[name] = clouds
    checks.append(at_most(NAME, "Splitting(JKO) against its exact discrete steps", _discrete_error(problem), 1e-5))
    figure, (axis,) = axes(1, width=6)
    moments_in_time(axis, times, runs, exact)
    finish(axis, problem.title, "time t", "mean (o), variance (□)")
    return Report(NAME, tuple(checks), figure=figure)


def score(x: Tensor, exact: Gaussian, crowd: Gaussian) -> float:
    """The largest |z| of the moments. The crowd's mean fluctuates as one particle without attraction, over √n: pairwise
    forces cancel in it, so its standard error comes from the covariance at κ = 0.
    """
    mean = moment_errors(x, Gaussian(exact.mean, crowd.covariance)).mean
    return max(float(mean.abs().max()), float(moment_errors(x, exact).covariance.abs().max()))


def _discrete_error(problem: Problem) -> float:
    """Splitting's moments against closed forms, from the pool's own: attraction shrinks the crowd by 1 − τκ about its
    mean, and a JKO step of ε∫ρ log ρ + ½a∫|x|²ρ is one of Ornstein–Uhlenbeck with A = a/ε and step ετ.
    """
    stepper, tau = Splitting(JKO(Affine(2), LBFGS(), particles=500, held=0)), 1 / STEPS
    law = Gaussian.fit(stepper.init(problem.F, problem.initial, 0).x)
    A = torch.eye(2, dtype=torch.float64) / 0.5
    for _ in range(STEPS):
        law = jko_step(Gaussian(law.mean, (1 - tau) ** 2 * law.covariance), A, torch.zeros_like(law.mean), 0.5 * tau)
    path = evolve(problem.F, stepper, problem.initial, [tau] * STEPS, seed=0)
    found = Gaussian.fit(path.state.x)
    return float((found.mean - law.mean).norm() + (found.covariance - law.covariance).norm())


def _crowd(t: float) -> Gaussian:
    return exact_at(mckean_vlasov(attraction=0.0), t)


def _clouds(problem: Problem, stepper: Stepper, name: str) -> list[Tensor]:
    seen: list[Tensor] = []
    bar, path = ProgressBar(f"{NAME} {name}"), None
    law = problem.initial.to(torch.float32) if name.startswith("Midpoint") else problem.initial
    for _ in range(5):
        path = evolve(problem.F, stepper, law, [1 / STEPS] * 4, seed=0, observers=[bar], path=path)
        seen.append(path.state.x.double())
    return seen
