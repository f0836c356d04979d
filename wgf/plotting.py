"""Figures of a flow: its energy in time and where its particles ended, the exact solution beside them where known."""

import math
from collections.abc import Sequence
from pathlib import Path as File
from typing import Literal, TypeAlias

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from wgf import checks, keys
from wgf.flow import Path
from wgf.law import Gaussian, Law
from wgf.moments import exact_gaussian
from wgf.observers import Observer
from wgf.pearson import PearsonII
from wgf.problem import Problem
from wgf.radii import radii
from wgf.steppers.base import State, observe

Style: TypeAlias = Literal["-", "--"]

OURS, EXACT, START = "tab:blue", "black", "tab:gray"
DRAWS = 1024  # of the exact law, for its energy
DOTS = 4000  # particles that a scatter plot shows


def figure_of_run(problem: Problem, path: Path) -> Figure:
    """Energy along time; the particles of the last step (d = 1: histogram); for d > 2, means and variances as well, or
    in any dimension the radial law where the exact solution has one.
    """
    x, initial = path.state.x.detach().cpu().double(), _on_cpu(problem.initial)
    law = None if problem.exact is None else _on_cpu(problem.exact(path.times[-1]))
    wide = problem.dim > 2 or isinstance(law, PearsonII)
    figure = Figure(figsize=(13.2 if wide else 9.2, 4.0), layout="constrained")
    axes = figure.subplots(1, 3 if wide else 2)
    figure.suptitle(f"{problem.title or 'Flow'}, {len(path)} steps to t = {path.times[-1]:g}")
    energy(axes[0], problem, path)
    if problem.dim == 1:
        histogram(axes[1], x, law, initial)
    else:
        particles(axes[1], x, law, initial)
    if isinstance(law, PearsonII):
        radial_law(axes[2], x, law, initial)
    elif wide:
        moments(axes[2], x, exact_gaussian(problem, path.times[-1]))
    return figure


def energy(axis: Axes, problem: Problem, path: Path) -> None:
    """F along the path, without the terms that the stepper cannot see, and the same of the exact solution."""
    known = [name for name, value in path.energies[-1].items() if not math.isnan(value)]
    missing = [name for name in path.energies[-1] if name not in known]
    finish(axis, "Energy", "time t", "F(ρ) [nats]" + "".join(f" without {name}" for name in missing))
    if not known:
        axis.text(0.5, 0.5, "not known to this stepper", ha="center", transform=axis.transAxes)
        return
    values = [math.fsum(seen.get(name, math.nan) for name in known) for seen in path.energies]
    times = torch.linspace(0, path.times[-1], 33).tolist()
    if problem.exact_energy is not None and not missing:
        axis.plot(times, [problem.exact_energy(t) for t in times], "-", color=EXACT, lw=1, label="exact")
    elif problem.exact is not None:
        exact = [_exact_energy(problem, t, known) for t in times]
        if not any(math.isnan(value) for value in exact):
            axis.plot(times, exact, "-", color=EXACT, lw=1, label="exact")
    axis.plot(path.times, values, "o", color=OURS, ms=4, label="wgf")
    axis.legend(fontsize="small")


def histogram(axis: Axes, x: Tensor, exact: Law | None, initial: Law) -> None:
    """The density of particles on the line."""
    axis.hist(x[:, 0].numpy(), bins=80, density=True, color=OURS, alpha=0.45, label=f"wgf, {len(x):,} particles")
    low, high = axis.get_xlim()
    grid = torch.linspace(low, high, 400, dtype=torch.float64)[:, None]
    for law, style, colour, name in ((initial, "--", START, "start"), (exact, "-", EXACT, "exact")):
        if law is not None and law.has_density:
            axis.plot(grid[:, 0], law.to(torch.float64).log_prob(grid).exp(), style, color=colour, lw=1.2, label=name)
    finish(axis, "Particles", "x", "density")


def particles(axis: Axes, x: Tensor, exact: Law | None, initial: Law) -> None:
    """The first two coordinates of particles, with σ-ellipses of Gaussian laws or contours of other densities."""
    shown = x[torch.randperm(len(x), generator=keys.generator(0))[:DOTS], :2]
    label = f"wgf, {len(shown):,} particles"
    axis.plot(shown[:, 0], shown[:, 1], ".", color=OURS, ms=3.5, alpha=0.4, mew=0, label=label)
    if isinstance(exact, Gaussian):
        ellipses(axis, exact, (1, 2, 3), "-", EXACT, "exact, 1–3σ")
    if isinstance(initial, Gaussian):
        ellipses(axis, initial, (2,), "--", START, "start, 2σ", framed=False)
    if isinstance(exact, PearsonII):
        edge(axis, exact, "-", EXACT, "exact edge")
    elif exact is not None and not isinstance(exact, Gaussian) and exact.has_density and exact.dim == 2:
        contours(axis, exact)
    if isinstance(initial, PearsonII):
        edge(axis, initial, "--", START, "start, edge")
    axis.set_aspect("equal", adjustable="datalim")
    finish(axis, "Particles" if x.shape[1] == 2 else "Particles, first two coordinates", "x₁", "x₂")


def ellipses(
    axis: Axes, law: Gaussian, radii: Sequence[float], style: Style, colour: str, label: str, framed: bool = True
) -> None:
    """Where the first two coordinates of a Gaussian lie at these Mahalanobis radii; `framed`: the axis makes room."""
    angle = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()])
    factor = torch.linalg.cholesky(law.covariance[:2, :2].double())
    for k, radius in enumerate(radii):
        edge = (law.mean[:2, None].double() + radius * factor @ circle).tolist()
        line = Line2D(*edge, linestyle=style, color=colour, linewidth=1.1, label="" if k else label)
        (axis.add_line if framed else axis.add_artist)(line)


def edge(axis: Axes, law: PearsonII, style: Style, colour: str, label: str) -> None:
    """The circle that bounds the support."""
    angle = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    axis.plot(law.radius * angle.cos(), law.radius * angle.sin(), style, color=colour, lw=1.1, label=label)


def radial_law(axis: Axes, x: Tensor, exact: PearsonII, initial: Law) -> None:
    """The share of particles within r of their mean, and P(|x| ≤ r) of the exact law and of the start."""
    r = radii(x)
    grid = torch.linspace(0, 1.05 * max(float(r[-1]), exact.radius), 400, dtype=torch.float64)
    axis.plot(r, torch.arange(1, len(r) + 1) / len(r), "-", color=OURS, lw=3.5, alpha=0.5, label="wgf")
    if isinstance(initial, PearsonII):
        axis.plot(grid, initial.radial_cdf(grid), "--", color=START, lw=1.2, label="start")
    axis.plot(grid, exact.radial_cdf(grid), "-", color=EXACT, lw=1.2, label="exact")
    finish(axis, "Radial law", "distance r from the mean", "share of particles within r")


def contours(axis: Axes, law: Law) -> None:
    """Level lines of a density in the plane, over the axis as it is, at e⁻¹ᐟ² … e⁻⁹ᐟ² of its largest value there."""
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    u = torch.linspace(left, right, 150, dtype=torch.float64)
    v = torch.linspace(low, high, 150, dtype=torch.float64)
    grid = torch.cartesian_prod(u, v)
    value = law.to(torch.float64).log_prob(grid).reshape(150, 150).T
    levels = [float(value.max()) - k**2 / 2 for k in (3, 2, 1)]
    axis.contour(u, v, value, levels=levels, colors=EXACT, linewidths=1.1, linestyles="-")
    axis.plot([], [], "-", color=EXACT, lw=1.1, label="exact")


def moments(axis: Axes, x: Tensor, exact: Gaussian | None) -> None:
    """Mean and variance of every coordinate."""
    index = torch.arange(1, x.shape[1] + 1)
    rows = (
        ("mean", x.mean(0), None if exact is None else exact.mean, "o", OURS, "-"),
        ("variance", x.var(0), None if exact is None else exact.covariance.diagonal(), "s", "tab:orange", ":"),
    )
    for name, values, truth, marker, colour, style in rows:
        axis.plot(index, values, marker, color=colour, ms=5, mfc="none", label=f"wgf, {name}")
        if truth is not None:
            label = f"exact {name}"
            axis.hlines(truth, index - 0.4, index + 0.4, color=EXACT, lw=1.2, linestyle=style, label=label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(axis, "Moments by coordinate", "coordinate", "mean, variance")


def finish(axis: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Title, labels, a light grid, and a legend where something is labelled."""
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.grid(alpha=0.25)
    if axis.get_legend_handles_labels()[1]:
        for handle in axis.legend(fontsize="small", loc="best").legend_handles:
            if isinstance(handle, Line2D):
                handle.set(alpha=1.0, markersize=max(5.0, handle.get_markersize()))


def _on_cpu(law: Law) -> Law:
    """The law on the CPU, where figures are made."""
    return law if law.like.device.type == "cpu" else law.to("cpu")


def _exact_energy(problem: Problem, time: float, known: Sequence[str]) -> float:
    """The same terms of F at the exact law, by draws; of a Gaussian, draws with its very mean and covariance."""
    assert problem.exact is not None
    law = problem.exact(time).to(torch.float64)
    draws = max(DRAWS, 2 * law.dim)
    x = law.sample(draws, keys.generator(0, device=law.like.device))
    if isinstance(law, Gaussian):
        white = Gaussian.fit(x).whiten(x)
        x = law.mean + white @ torch.linalg.cholesky(law.covariance).T
    log_base = law.log_prob(x) if law.has_density else None
    seen = observe(problem.F, State(x, 0, logdet=x.new_zeros(len(x)), log_base=log_base), draws)
    return math.fsum(seen[name] for name in known)


class Figures(Observer):
    """The figure of the flow so far in `folder`, every so many steps and at the end.

    Args: problem, whose exact solution is drawn beside the particles where it is known; folder, made if need be; every,
    how many steps lie between figures.
    """

    def __init__(self, problem: Problem, folder: File, every: int = 1) -> None:
        self.problem, self.folder, self.every = problem, File(folder), checks.at_least("every", every, 1)

    def after(self, path: Path) -> None:
        if len(path) % self.every == 0:
            self._draw(path)

    def end(self, path: Path) -> None:
        if len(path) and len(path) % self.every:
            self._draw(path)

    def _draw(self, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        figure_of_run(self.problem, path).savefig(self.folder / f"step-{len(path):04d}.png", dpi=120)
