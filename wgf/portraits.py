"""Portraits of laws and samples: a density beside its draws, two samples by pairs of coordinates, or by their PCA."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from wgf import checks, keys
from wgf.autoencoder import PrincipalComponents
from wgf.errors import InputError
from wgf.flow import Path
from wgf.law import Law
from wgf.plotting import DOTS, EXACT, OURS, energy, finish
from wgf.problem import Problem

GRID = 256
"""Cells along each side of a heat map."""


def planar_density(
    law: Law, extent: tuple[float, float, float, float], rows: int = DOTS, seed: int = 0, title: str = "Density"
) -> Figure:
    """A heat map of ρ over [left, right] × [low, high], and draws of the law beside it, on the same axes.

    ρ is that at the middle of each of 256² cells; what lies outside the extent is not shown.

    Args: law, of the plane, with a density; extent, (left, right, low, high); rows ≥ 1 and seed of the draws.
    Raises: InputError for another dimension or an extent that is empty; Unknown where the law has no density.
    """
    left, right, low, high = _extent(extent)
    if law.dim != 2:
        raise InputError(f"planar_density shows laws of the plane, got dimension {law.dim}; `slices` shows samples")
    law = law.to(torch.float64)
    cell = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    u, v = (a + (b - a) * cell for a, b in ((left, right), (low, high)))
    density = law.log_prob(torch.cartesian_prod(u, v).to(law.like.device)).exp().reshape(GRID, GRID).T.cpu()
    x = law.sample(checks.at_least("rows", rows, 1), keys.generator(seed, device=law.like.device)).cpu()
    figure = Figure(figsize=(9.8, 4.4), layout="constrained")
    heat, dots = figure.subplots(1, 2, sharex=True, sharey=True)
    mesh = heat.pcolormesh(u.numpy(), v.numpy(), density.numpy(), cmap="viridis", vmin=0, rasterized=True)
    figure.colorbar(mesh, ax=heat, label="density ρ(x)")
    _dots(dots, x, OURS, f"{len(x):,} draws")
    for axis, name in ((heat, title), (dots, "Samples")):
        finish(axis, name, "x₁", "x₂")
        axis.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    heat.grid(visible=False)
    return figure


def slices(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str] | None = None,
    titles: tuple[str, str] = ("First sample", "Second sample"),
) -> Figure:
    """Two samples side by side, seen along chosen pairs of coordinates: one row of axes a pair, with the same limits.

    At most 4000 rows of each are drawn, a random choice.

    Args: pairs of different coordinates, counted from 0; names of all coordinates, x₁ … x_d by default.
    Raises: InputError for samples of different dimension, or pairs or names that do not fit it.
    """
    x, y = map(_thinned, _two(x, y))
    names = _names(x.shape[1], names)
    _check_pairs(pairs, x.shape[1])
    figure = Figure(figsize=(7.6, 3.6 * len(pairs)), layout="constrained")
    grid = figure.subplots(len(pairs), 2, squeeze=False, sharex="row", sharey="row")
    for axes, (a, b) in zip(grid, pairs, strict=True):
        for axis, sample, colour, title in zip(axes, (x, y), (EXACT, OURS), titles, strict=True):
            _dots(axis, sample[:, [a, b]], colour, f"{len(sample):,} rows")
            finish(axis, title, names[a], names[b])
    return figure


def principal(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    labels: tuple[str, str] = ("first sample", "second sample"),
) -> Figure:
    """Both samples in the plane of the first one's two leading principal components, about its mean.

    The axes say which share of the first sample's variance they carry; at most 4000 rows of each are drawn.
    Raises: InputError for samples of different dimension, of fewer than two coordinates or rows, or all the same.
    """
    x, y = _two(x, y)
    frame = PrincipalComponents.fit(x, 2)
    shares = frame.variances / frame.variances.sum() * frame.explained
    figure = Figure(figsize=(5.6, 5.0), layout="constrained")
    axis = figure.subplots()
    for sample, colour, label in zip((x, y), (EXACT, OURS), labels, strict=True):
        shown = frame.encode(_thinned(sample))
        _dots(axis, shown, colour, f"{label}, {len(shown):,} rows")
    axis.set_aspect("equal", adjustable="datalim")
    said = [f"principal component {k} ({share:.0%} of the variance)" for k, share in enumerate(shares.tolist(), 1)]
    finish(axis, f"Principal components of the {labels[0]}", *said)
    return figure


def figure_of_learning(problem: Problem, path: Path) -> Figure:
    """F along the path, and held-out rows beside as many samples of the model: on the line by histograms, in the plane
    as they are, otherwise in the plane of their principal components; in the data's own units.
    """
    learning = problem.learning
    assert learning is not None
    held, model = learning.held.cpu().double(), learning.model(path)
    drawn = model.sample(min(len(held), DOTS), keys.generator(0, device=model.like.device)).cpu().double()
    figure = Figure(figsize=(13.2, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    figure.suptitle(f"{problem.title}, {len(path)} steps to t = {path.times[-1]:g}")
    energy(left, problem, path)
    titles = (f"{len(held):,} held-out rows", f"{len(drawn):,} samples of the model")
    if problem.dim == 1:
        for axis, sample, colour, title in zip((middle, right), (held, drawn), (EXACT, OURS), titles, strict=True):
            axis.hist(sample[:, 0].numpy(), bins=60, density=True, color=colour, alpha=0.5)
            finish(axis, title, learning.names[0], "density")
        return figure
    x, y, names = held, drawn, learning.names[:2]
    if problem.dim > 2:
        frame = PrincipalComponents.fit(learning.frame(held), 2)
        x, y = (frame.encode(learning.frame(sample)) for sample in (held, drawn))
        names = ("principal component 1, standardised", "principal component 2, standardised")
    for axis, sample, colour, title in zip((middle, right), (x, y), (EXACT, OURS), titles, strict=True):
        shown = _thinned(sample)
        _dots(axis, shown, colour, "" if len(shown) == len(sample) else f"{len(shown):,} of them")
        finish(axis, title, *names)
    right.set(xlim=middle.get_xlim(), ylim=middle.get_ylim())
    return figure


def _dots(axis: Axes, x: Tensor, colour: str, label: str) -> None:
    axis.plot(x[:, 0], x[:, 1], ".", color=colour, ms=3, alpha=0.4, mew=0, label=label)


def _thinned(x: Tensor) -> Tensor:
    return x[torch.randperm(len(x), generator=keys.generator(0))[:DOTS]]


def _two(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x = checks.rows("the first sample", x)
    y = checks.rows("the second sample", y, x.shape[1])
    return x.detach().cpu().double(), y.detach().cpu().double()


def _names(dim: int, names: Sequence[str] | None) -> Sequence[str]:
    subscript = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    known = [f"x{k}".translate(subscript) for k in range(1, dim + 1)] if names is None else names
    if len(known) != dim:
        raise InputError(f"names must be {dim}, one for each coordinate, got {len(known)}")
    return known


def _check_pairs(pairs: Sequence[tuple[int, int]], dim: int) -> None:
    good = all(len(pair) == 2 and pair[0] != pair[1] and all(0 <= k < dim for k in pair) for pair in pairs)
    if not pairs or not good:
        raise InputError(f"pairs must be of two different coordinates in 0 … {dim - 1}, got {list(pairs)}")


def _extent(extent: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, right, low, high = extent
    if not (left < right and low < high and all(math.isfinite(edge) for edge in extent)):
        raise InputError(f"the extent must be (left, right, low, high), left < right and low < high, got {extent}")
    return left, right, low, high
