"""Axes for particles beside exact laws on balls: radii in time, radial laws, errors."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from wgf import PearsonII, Problem
from wgf.radii import RadialErrors, radii


def ball_at(problem: Problem, t: float) -> PearsonII:
    """The exact law at time t of a problem whose solution fills a ball."""
    law = None if problem.exact is None else problem.exact(t)
    if not isinstance(law, PearsonII):
        raise TypeError(f"{problem.title} has no solution on a ball")
    return law


def radius_in_time(axis: Axes, problem: Problem, times: Sequence[float], clouds: Sequence[Tensor]) -> None:
    """The exact radius, and the moment radius and largest radius of particles."""
    grid = torch.linspace(0, times[-1], 100).tolist()
    axis.plot(grid, [ball_at(problem, t).radius for t in grid], "k-", lw=1, label="exact")
    spread = ball_at(problem, 0.0).spread
    axis.plot(
        times, [spread * float(radii(x).square().mean()) ** 0.5 for x in clouds], "o", ms=5, label="moment radius"
    )
    axis.plot(times, [float(radii(x)[-1]) for x in clouds], "x", ms=5, label="largest radius")


def radial_laws(axis: Axes, problem: Problem, times: Sequence[float], clouds: Sequence[Tensor]) -> None:
    """The share of particles within each distance of their mean, over the exact shares."""
    for k, (t, x) in enumerate(zip(times, clouds, strict=True)):
        r, law = radii(x), ball_at(problem, t)
        axis.plot(r, torch.arange(1, len(r) + 1) / len(r), color=f"C{k}", lw=3.5, alpha=0.5, label=f"t = {t:.2g}")
        grid = torch.linspace(0, 1.03 * law.radius, 300, dtype=torch.float64)
        axis.plot(grid, law.radial_cdf(grid), "k-", lw=1, label=None if k else "exact")


def errors_in_time(
    axis: Axes, times: Sequence[float], errors: Sequence[RadialErrors], bounds: tuple[float, float]
) -> None:
    """Absolute errors of the moment radius and of the radial law with their bounds, and of the edge."""
    axis.semilogy(times, [abs(e.radius) for e in errors], "o-", color="C0", label="moment radius, relative")
    axis.semilogy(times, [e.distance for e in errors], "s-", color="C1", label="Kolmogorov–Smirnov")
    axis.semilogy(times, [abs(e.edge) for e in errors], "x-", color="C2", label="edge, relative")
    for k, bound in enumerate(bounds):
        axis.axhline(bound, color=f"C{k}", ls=":", lw=1)
