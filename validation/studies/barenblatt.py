"""Porous medium by mollified particles, m = 2, against Barenblatt's profile at ten times; the rate in their number."""

import math

import numpy as np
from matplotlib.axes import Axes

from pdes.porous_medium import barenblatt
from validation.report import Check, Context, Report, at_least, at_most
from validation.studies._plots import axes, finish
from validation.studies._radial import (
    ball_at,
    errors_along,
    errors_in_time,
    flow_of_particles,
    radial_laws,
    radius_in_time,
    seconds,
)
from wgf import Path, Problem
from wgf.maps.integrate import Heun

NAME = "barenblatt"
TIMES, WIDTH = 10, 0.5
SIZES = {1_000: 16, 3_162: 8, 10_000: 4, 31_623: 2, 100_000: 1}
"""Particles, and from how many seeds."""
RADIUS, DISTANCE = 3e-3, 1e-2


def study(quick: bool = False) -> Report:
    """d = 1 and 2, ε = ½ R0 N^{−1/4}: 10⁵ particles (quick: 10⁴) at ten times, and the errors at the end against N.

    The bias of mollification is of order (ε/R)² and the sampling error of order N^{−1/2}: with this rule both fall by
    N^{−1/2}, and ε stays well above the spacing R N^{−1/d}.
    """
    checks: list[Check] = []
    context: list[Context] = []
    figure, found = axes(4, 2)
    sizes = list(SIZES)[: 3 if quick else None]
    for dim in (1, 2):
        last, rates = _measure(dim, sizes)
        errors = errors_along(_problem(dim, sizes[-1]), last)
        radius, distance = max(abs(e.radius) for e in errors), max(e.distance for e in errors)
        label = f"d = {dim}, N = {sizes[-1]:,}"
        checks.append(at_most(NAME, f"{label}: moment radius, worst |R̂/R − 1|", radius, RADIUS))
        checks.append(at_most(NAME, f"{label}: radial law, worst Kolmogorov–Smirnov distance", distance, DISTANCE))
        for name, values in rates.items():
            checks.append(at_least(NAME, f"d = {dim}: {name}, fitted rate in 1/N", _slope(sizes, values), 0.4))
        edge = max((e.edge for e in errors), key=abs)
        context.append(Context(label, {"edge, worst largest radius / R − 1": edge, "seconds a run": seconds(last)}))
        context += [
            Context(f"d = {dim}, N = {n:,}, at the end", {f"{name}, r.m.s.": rates[name][k] for name in rates})
            for k, n in enumerate(sizes)
        ]
        _draw(found[4 * dim - 4 : 4 * dim], dim, last, sizes, rates)
    return Report(NAME, tuple(checks), tuple(context), figure)


def _measure(dim: int, sizes: list[int]) -> tuple[Path, dict[str, list[float]]]:
    """A run of the largest size, and errors at the end of runs of every size, r.m.s. over seeds."""
    rates: dict[str, list[float]] = {"moment radius": [], "Kolmogorov–Smirnov": []}
    for n in sizes:
        paths = [_run(dim, n, seed) for seed in range(SIZES[n])]
        ends = [errors_along(_problem(dim, n), path)[-1] for path in paths]
        rates["moment radius"].append(_rms([e.radius for e in ends]))
        rates["Kolmogorov–Smirnov"].append(_rms([e.distance for e in ends]))
    return paths[0], rates


def _problem(dim: int, n: int) -> Problem:
    return barenblatt(dim, epsilon=_epsilon(dim, n))


def _epsilon(dim: int, n: int) -> float:
    return WIDTH * ball_at(barenblatt(dim), 0.0).radius * n**-0.25


def _run(dim: int, n: int, seed: int) -> Path:
    """The flow at ten times, in steps of 0.9 of what is stable for Heun's scheme: e ε²/D, D = 2ρ(0)."""
    problem = _problem(dim, n)

    def stable(t: float) -> float:
        return 0.9 * math.e * _epsilon(dim, n) ** 2 / (2 * math.exp(ball_at(problem, t).log_peak))

    return flow_of_particles(problem, n, Heun(), stable, TIMES, f"{NAME} d = {dim}, N = {n:,}", seed)


def _rms(values: list[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))


def _slope(sizes: list[int], errors: list[float]) -> float:
    return float(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def _draw(found: list[Axes], dim: int, path: Path, sizes: list[int], rates: dict[str, list[float]]) -> None:
    """Radii, radial laws and errors in time of the largest run; errors at the end against the number of particles."""
    problem = _problem(dim, sizes[-1])
    radius_in_time(found[0], problem, path)
    finish(found[0], f"Porous medium, d = {dim}, {sizes[-1]:,} particles", "time t", "radius")
    radial_laws(found[1], problem, path)
    finish(found[1], "Radial law", "distance r from the mean", "share of particles within r")
    errors_in_time(found[2], path, errors_along(problem, path), (RADIUS, DISTANCE))
    finish(found[2], "Errors, and the bounds they are held to", "time t", "error")
    for k, (name, values) in enumerate(rates.items()):
        found[3].loglog(sizes, values, "os"[k] + "-", color=f"C{k}", label=f"{name}: rate {_slope(sizes, values):.2f}")
    found[3].loglog(sizes, [rates["moment radius"][0] * (n / sizes[0]) ** -0.5 for n in sizes], "k:", label="N^(−1/2)")
    finish(found[3], "At the end, ε = ½ R0 N^(−1/4)", "particles N", "error, r.m.s. over seeds")
