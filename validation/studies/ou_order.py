"""Orders in τ on Ornstein–Uhlenbeck: affine maps, L-BFGS, moments of the pool itself; the discrete step reproduced."""

import numpy as np
import torch
from matplotlib.figure import Figure

from pdes.ornstein_uhlenbeck import exact_gaussian, ornstein_uhlenbeck
from validation.gaussian import jko_step
from validation.report import Check, Context, Report, at_most, within
from validation.studies._flows import flow, quadratic
from validation.studies._plots import axes, finish
from wgf import JKO, LBFGS, Affine, Gaussian, Midpoint, Path, Problem
from wgf.steppers import Variational

NAME = "ou-order"
STEPS = (5, 10, 20, 40)


def study(quick: bool = False) -> Report:
    """Errors of mean and covariance at t = 1 for 5, 10, 20, 40 steps, d = 2 and 6 (quick: 2), in float64."""
    checks: list[Check] = []
    context, curves = [], {}
    for dim in (2,) if quick else (2, 6):
        problem = ornstein_uhlenbeck(dim, seed=1, horizon=1.0)
        plain = JKO(Affine(dim), LBFGS(), particles=2000, held=0)
        errors = {name: _errors(problem, stepper) for name, stepper in (("JKO", plain), ("Midpoint", Midpoint(plain)))}
        for name, order in (("JKO", 1.0), ("Midpoint", 2.0)):
            slope = _slope(errors[name])
            checks.append(within(NAME, f"d = {dim}: order of {name}", slope, order - 0.1, order + 0.1))
            context.append(
                Context(f"d = {dim}, {name}", {f"n = {n}": e for n, e in zip(STEPS, errors[name], strict=True)})
            )
            curves[f"{name}, d = {dim}"] = errors[name]
        checks.append(
            at_most(NAME, f"d = {dim}: JKO against the exact discrete steps", _discrete(problem, plain), 1e-5)
        )
    return Report(NAME, tuple(checks), tuple(context), _figure(curves))


def _errors(problem: Problem, stepper: Variational) -> list[float]:
    """|m − m*| + |S − S*|_F at the horizon, from the pool's own first moments, for each number of steps."""
    V, found = quadratic(problem), []
    for n in STEPS:
        path, first = _run(problem, stepper, n)
        exact = exact_gaussian(V.matrix, V.centre, first.mean, first.covariance, problem.horizon)
        found.append(_distance(Gaussian.fit(path.state.x), exact))
    return found


def _discrete(problem: Problem, stepper: Variational, steps: int = 10) -> float:
    """The same distance to the exact discrete scheme: the error of training alone."""
    V = quadratic(problem)
    path, law = _run(problem, stepper, steps)
    for _ in range(steps):
        law = jko_step(law, V.matrix, V.centre, problem.horizon / steps)
    return _distance(Gaussian.fit(path.state.x), law)


def _run(problem: Problem, stepper: Variational, steps: int) -> tuple[Path, Gaussian]:
    first = stepper.init(problem.F, problem.initial, 0).x
    taus = [problem.horizon / steps] * steps
    return flow(problem, stepper, taus, f"{NAME} n = {steps}", torch.float64), Gaussian.fit(first)


def _distance(first: Gaussian, second: Gaussian) -> float:
    return float((first.mean - second.mean).norm() + (first.covariance - second.covariance).norm())


def _slope(errors: list[float]) -> float:
    return float(-np.polyfit(np.log(STEPS), np.log(errors), 1)[0])


def _figure(curves: dict[str, list[float]]) -> Figure:
    figure, (axis,) = axes(1, width=5.5)
    taus = [1 / n for n in STEPS]
    for name, errors in curves.items():
        axis.loglog(taus, errors, "o-" if name.startswith("JKO") else "s-", label=f"{name}: order {_slope(errors):.2f}")
    first = next(iter(curves.values()))[0]
    axis.loglog(taus, [first * (t / taus[0]) for t in taus], "k:", lw=0.8, label="τ and τ²")
    axis.loglog(taus, [first * (t / taus[0]) ** 2 for t in taus], "k:", lw=0.8)
    finish(axis, "Error at t = 1 against the exact flow", "step size τ", "|m − m*| + |S − S*|")
    return figure
