"""What studies of problems with exact laws on balls do: their particles at equal times, errors, axes."""

import math
from collections.abc import Callable, Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from wgf import Empirical, Particles, Path, PearsonII, Problem, ProgressBar, evolve
from wgf.maps.integrate import RungeKutta
from wgf.radii import RadialErrors, radial_errors, radii


def ball_at(problem: Problem, t: float) -> PearsonII:
    """The exact law at time t of a problem whose solution fills a ball."""
    law = None if problem.exact is None else problem.exact(t)
    if not isinstance(law, PearsonII):
        raise TypeError(f"{problem.title} has no solution on a ball")
    return law


def flow_of_particles(
    problem: Problem,
    particles: int,
    scheme: RungeKutta,
    stable: Callable[[float], float],
    steps: int,
    title: str,
    seed: int,
) -> Path:
    """The flow in equal steps to the horizon, each in substeps no longer than stable(t), t the time at its start."""
    tau, bar = problem.horizon / steps, ProgressBar(title)
    path = evolve(problem.F, Particles(particles), problem.initial, [], seed=seed)
    bar.begin(path, steps)
    try:
        for k in range(steps):
            stepper = Particles(particles, scheme, math.ceil(tau / stable(k * tau)))
            path = evolve(problem.F, stepper, problem.initial, [tau], seed=seed, path=path)
            bar.after(path)
    finally:
        bar.end(path)
    return path


def clouds(path: Path) -> list[Tensor]:
    """The particles after each step."""
    return [law.x for law in path.laws[1:] if isinstance(law, Empirical)]


def errors_along(problem: Problem, path: Path) -> list[RadialErrors]:
    """Those of the particles after each step."""
    return [radial_errors(x, ball_at(problem, t)) for x, t in zip(clouds(path), path.times[1:], strict=True)]


def seconds(path: Path) -> float:
    """What the steps took."""
    return sum(info.seconds for info in path.infos)


def radius_in_time(axis: Axes, problem: Problem, path: Path) -> None:
    """The exact radius, and the moment radius and largest radius of particles."""
    times, found = path.times[1:], clouds(path)
    grid = torch.linspace(0, times[-1], 100).tolist()
    axis.plot(grid, [ball_at(problem, t).radius for t in grid], "k-", lw=1, label="exact")
    spread = ball_at(problem, 0.0).spread
    axis.plot(times, [spread * float(radii(x).square().mean()) ** 0.5 for x in found], "o", ms=5, label="moment radius")
    axis.plot(times, [float(radii(x)[-1]) for x in found], "x", ms=5, label="largest radius")


def radial_laws(axis: Axes, problem: Problem, path: Path) -> None:
    """The share of particles within each distance of their mean, early, later and last, over the exact shares."""
    found = clouds(path)
    for k, step in enumerate((0, len(found) // 4, len(found) - 1)):
        t, x = path.times[1 + step], found[step]
        r, law = radii(x), ball_at(problem, t)
        axis.plot(r, torch.arange(1, len(r) + 1) / len(r), color=f"C{k}", lw=3.5, alpha=0.5, label=f"t = {t:.2g}")
        grid = torch.linspace(0, 1.03 * law.radius, 300, dtype=torch.float64)
        axis.plot(grid, law.radial_cdf(grid), "k-", lw=1, label=None if k else "exact")


def errors_in_time(axis: Axes, path: Path, errors: Sequence[RadialErrors], bounds: tuple[float, float]) -> None:
    """Absolute errors of the moment radius and of the radial law with their bounds, and of the edge."""
    times = path.times[1:]
    axis.semilogy(times, [abs(e.radius) for e in errors], "o-", color="C0", label="moment radius, relative")
    axis.semilogy(times, [e.distance for e in errors], "s-", color="C1", label="Kolmogorov–Smirnov")
    axis.semilogy(times, [abs(e.edge) for e in errors], "x-", color="C2", label="edge, relative")
    for k, bound in enumerate(bounds):
        axis.axhline(bound, color=f"C{k}", ls=":", lw=1)
