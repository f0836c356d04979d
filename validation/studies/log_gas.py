"""The log gas from random particles, on the line and in the plane, against its exact semicircle and disk."""

import math

from matplotlib.figure import Figure

from pdes.log_gas import EPSILON, exact_radius, log_gas
from validation.report import Check, Context, Report, at_most
from validation.studies._plots import axes, finish
from validation.studies._radial import (
    clouds,
    errors_along,
    errors_in_time,
    flow_of_particles,
    radial_laws,
    radius_in_time,
    seconds,
)
from wgf import Path
from wgf.maps.integrate import RK4
from wgf.radii import RadialErrors, radii

NAME = "log-gas"
PARTICLES, TIMES, START = 20_000, 10, 0.5
RADIUS, DISTANCE = 3e-3, 1e-2


def study(quick: bool = False) -> Report:
    """2·10⁴ independent particles from radius ½, ten times to t = 2, d = 1 and 2; worst of three seeds (quick: one).

    The moment radius of independent particles errs by 0.35 % (d = 1) or 0.2 % (d = 2) at the start, one standard error,
    and later by e^{−2t}R0²/R² of that, whatever the method: from radius 2, the row of context, no method could promise
    the bound. The error against the law that starts from the particles' own second moment is the method's alone.
    """
    checks: list[Check] = []
    context: list[Context] = []
    shown: dict[int, Path] = {}
    for dim in (1, 2):
        paths = [_run(dim, START, seed) for seed in range(1 if quick else 3)]
        worst = _worst(_errors(dim, START, paths))
        checks.append(at_most(NAME, f"d = {dim}: moment radius, worst |R̂/R − 1|", worst.radius, RADIUS))
        checks.append(
            at_most(NAME, f"d = {dim}: radial law, worst Kolmogorov–Smirnov distance", worst.distance, DISTANCE)
        )
        context.append(_context(f"d = {dim}", dim, START, paths))
        if not quick:
            context.append(_context(f"d = {dim} from radius 2", dim, 2.0, [_run(dim, 2.0, 0)]))
        shown[dim] = paths[0]
    return Report(NAME, tuple(checks), tuple(context), _figure(shown))


def _run(dim: int, start: float, seed: int) -> Path:
    """The flow with its ten clouds; RK4's steps are stable to 2.3 ε R on the line and 1.4 R² in the plane."""

    def stable(t: float) -> float:
        R = exact_radius(dim, start, t)
        return 2 * EPSILON[1] * R if dim == 1 else R**2

    return flow_of_particles(log_gas(dim, start), PARTICLES, RK4(), stable, TIMES, f"{NAME} d = {dim}", seed)


def _errors(dim: int, start: float, paths: list[Path]) -> list[RadialErrors]:
    return [error for path in paths for error in errors_along(log_gas(dim, start), path)]


def _worst(errors: list[RadialErrors]) -> RadialErrors:
    radius, edge = (max((getattr(e, name) for e in errors), key=abs) for name in ("radius", "edge"))
    return RadialErrors(abs(radius), edge, max(e.distance for e in errors), errors[0].radius_floor)


def _context(label: str, dim: int, start: float, paths: list[Path]) -> Context:
    worst, first = _worst(_errors(dim, start, paths)), paths[0].times[1]
    sampling = worst.radius_floor * math.exp(-2 * first) * (start / exact_radius(dim, start, first)) ** 2
    own = max(abs(error) for path in paths for error in _against_own_start(dim, path))
    values = {
        "edge, worst largest radius / R − 1": worst.edge,
        "moment radius, worst |R̂/R − 1|": worst.radius,
        "radial law, worst Kolmogorov–Smirnov distance": worst.distance,
        f"sampling alone at t = {first:g}, standard error of R̂/R": sampling,
        "moment radius from the particles' own second moment, worst": own,
        "seconds a run": sum(seconds(path) for path in paths) / len(paths),
    }
    return Context(label, values)


def _against_own_start(dim: int, path: Path) -> list[float]:
    """R̂/R − 1 with R from the particles' second moment at the first time shown, and a repulsion of n − 1 particles."""
    moments = [float(radii(x).square().mean()) for x in clouds(path)]
    steady = 0.5 * (1 - 1 / PARTICLES)
    decay = [math.exp(-2 * (t - path.times[1])) for t in path.times[1:]]
    return [math.sqrt(M / (steady + (moments[0] - steady) * e)) - 1 for M, e in zip(moments, decay, strict=True)]


def _figure(paths: dict[int, Path]) -> Figure:
    figure, found = axes(3, 2)
    for row, (dim, path) in enumerate(paths.items()):
        problem, (left, middle, right) = log_gas(dim, START), found[3 * row : 3 * row + 3]
        radius_in_time(left, problem, path)
        finish(left, f"{problem.title}, {PARTICLES:,} particles", "time t", "radius")
        radial_laws(middle, problem, path)
        finish(middle, "Radial law", "distance r from the mean", "share of particles within r")
        errors_in_time(right, path, errors_along(problem, path), (RADIUS, DISTANCE))
        finish(right, "Errors, and the bounds they are held to", "time t", "error")
    return figure
