"""What a Fourier sum needs for a task: its box, the errors allowed in κ, where to split a singular kernel, modes."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from wgf.kernels import _series, _split
from wgf.kernels._series import Axis, Series
from wgf.kernels.families import Gaussian, Laplace, Matern32, Matern52, Mollifier
from wgf.kernels.radial import Radial
from wgf.kernels.task import Task

SHORT = (Gaussian, Mollifier, Laplace, Matern32, Matern52)  # may be summed over neighbours alone
SAMPLE = (64, 1024)  # rows of x and y from which sizes are estimated
CELLS = {1: 1.5, 2: 1.69, 3: 1.86}  # radius, in cutoffs, of a ball as large as the 3^d cells
FOURIER, TRUNCATED = 0.2, 0.2  # of the errors allowed, for transforms (two, that err by up to two of theirs) and modes
PAIRS_A_MODE = 200  # pairs at short range that take as long as a mode
TRIES = 6


@dataclass(frozen=True)
class Box:
    """lengths: the largest |x_i − y_j| along each axis, rounded up; none if all points coincide.

    value, slope: absolute errors allowed in κ and in ∇k, inf where not wanted. epsilon: of the split, 0 for none, ∞ for
    no smooth part: no modes at all.

    cutoff: from which on the remainder of the split is nothing; pairs: how many are nearer, cells included.
    """

    kernel: Radial
    dim: int
    lengths: tuple[float, ...]
    value: float
    slope: float
    epsilon: float = 0.0
    cutoff: float = 0.0
    pairs: float = 0.0

    def axes(self, most: int) -> tuple[Axis, ...] | None:
        """Periods and modes, of at most `most` modes ±k an axis; None where they do not suffice."""
        if not self.lengths or math.isinf(self.epsilon):
            return ()
        return _axes(self.kernel, self.dim, self.epsilon, self.lengths, self.value, self.slope, most)


def boxes(task: Task, room: float) -> list[Box] | str:
    """The boxes that would do for a task of d ≤ 3, of at most `room` modes, least work first; or why there are none."""
    spans = torch.maximum(_span(task.x, task.y), _span(task.y, task.x))
    if not spans.isfinite().all():
        return "its points are not finite"
    longest = float(spans.max())
    if longest == 0:
        return [Box(task.kernel, task.dim, (), math.inf, math.inf)]
    lengths = tuple(_rounded_up(max(span, longest / 64)) for span in spans.tolist())
    value, slope = _allowed(task)
    if not (value > 0 and slope > 0) or value < _own_rounding(task):
        return "every sum would be lost in rounding: the points are too far apart for the kernel"
    made, r = Box(task.kernel, task.dim, lengths, value, slope), _squared(task, *_even(task))
    if not _split.parts(task.kernel)[1]:
        return [made, *_neighbours(made, task.pairs, r)]
    return _splits(made, task.pairs, r, room) + _neighbours(made, task.pairs, r)


def _span(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x.amax(0).double() - y.amin(0).double()


@lru_cache(4)
def series(kernel: Radial, dim: int, epsilon: float, axes: tuple[Axis, ...], workers: int) -> Series:
    """The Fourier coefficients of the smooth part."""
    return _series.series(lambda r: _split.smooth_value(kernel, r, dim, epsilon), axes, workers)


@lru_cache(64)
def _axes(
    kernel: Radial, dim: int, epsilon: float, lengths: tuple[float, ...], value: float, slope: float, most: int
) -> tuple[Axis, ...] | None:
    def profile(r: np.ndarray) -> np.ndarray:
        return _split.smooth_value(kernel, r, dim, epsilon)

    reach = _reach(profile, max(lengths), 0.1 * value, 0.1 * slope)
    found: dict[float, Axis | None] = {}
    for length in lengths:
        if length not in found:
            beside = sum(other**2 for other in lengths) - length**2
            errors = TRUNCATED * value, TRUNCATED * slope
            found[length] = _series.axis(profile, length, beside, reach, *errors, most)
    axes = [a for length in lengths if (a := found[length]) is not None]
    return tuple(axes) if len(axes) == dim else None


def _squared(task: Task, i: torch.Tensor, j: torch.Tensor) -> np.ndarray:
    """The squared distances of these rows of x to these of y."""
    r = np.zeros((len(i), len(j)))
    for x, y in zip(task.x[i].double().numpy().T, task.y[j].double().numpy().T, strict=True):
        delta = x[:, None] - y
        r += np.square(delta, out=delta)
    return r


def _even(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Some rows of x and of y, evenly spaced."""
    i, j = (_some(len(points), count) for points, count in zip((task.x, task.y), SAMPLE, strict=True))
    return i, j


def _some(n: int, count: int) -> torch.Tensor:
    return torch.linspace(0, n - 1, min(n, count)).round().long()


def _heavy(task: Task) -> tuple[torch.Tensor, np.ndarray, list[np.ndarray]]:
    """Rows of y drawn by their weights in all columns; what each counts for in a sum; |w|/Σ|w| of each kind there."""
    columns = [w for w in (task.value_weights, task.gradient_weights) if w is not None]
    shares = [w.abs().double() for w in columns]
    shares = [w / w.sum(0).clamp_min(torch.finfo(w.dtype).tiny) for w in shares]
    m, count = len(task.y), SAMPLE[1]
    if m <= count:
        j, counts = torch.arange(m), np.ones(m)
    else:
        likely = torch.stack([w.mean(1) for w in shares]).mean(0)
        likely = likely / likely.sum() if likely.any() else torch.full_like(likely, 1 / m)
        at = (torch.arange(count, dtype=likely.dtype) + 0.5) / count
        j = torch.searchsorted(likely.cumsum(0), at).clamp_max(m - 1)
        counts = 1 / (count * likely[j].clamp_min(torch.finfo(likely.dtype).tiny)).numpy()
    return j, counts, [w[j].numpy() for w in shares]


def _allowed(task: Task) -> tuple[float, float]:
    """The errors allowed in κ and ∇k: the tolerance times Σ_j |w_j k| / Σ_j |w_j| at its largest row, of the column of
    weights where that is least: an error of κ is one of Σ_j |w_j| times it in every row.
    """
    i, (j, counts, shares) = _some(len(task.x), SAMPLE[0]), _heavy(task)
    r = _squared(task, i, j)
    # a point that meets itself in the sample does so once among all of y, or is left out
    counts = np.where(r == 0, np.minimum(1.0, counts) if task.diagonal else 0.0, counts)
    squared = torch.from_numpy(r)
    jet = task.kernel.jet(squared, task.dim, 0 if task.gradient_weights is None else 1)
    value = slope = math.inf
    if task.value_weights is not None:
        value = _rounded_up(task.tolerance * _least(jet[0].abs().numpy() * counts, shares[0]), -1)
    if task.gradient_weights is not None:
        steep = (2 * jet[1].abs() * squared.sqrt()).numpy()
        slope = _rounded_up(task.tolerance * _least(steep * counts, shares[-1]), -1)
    return value, slope


def _least(size: np.ndarray, shares: np.ndarray) -> float:
    """Over the columns that are not all zero, the least of the largest rows."""
    used = shares.any(0)
    return float((size @ shares[:, used]).max(0).min()) if used.any() else math.inf


def _own_rounding(task: Task) -> float:
    """The error in κ that is as large as the rounding of κ(0) w_i, where that is taken out of a row's sum."""
    if task.diagonal or task.value_weights is None:
        return 0.0
    w = task.value_weights.abs().double()
    shares = w.amax(0) / w.sum(0).clamp_min(torch.finfo(w.dtype).tiny)
    at_zero = float(task.kernel.value(torch.zeros((), dtype=torch.float64), task.dim))
    return 0.5 * torch.finfo(w.dtype).eps * abs(at_zero) * float(shares.max())


def _splits(box: Box, pairs: int, r: np.ndarray, room: float) -> list[Box]:
    """The box with the splits of least work: `pairs` times the share within the cells, and the modes."""
    found: list[tuple[float, Box]] = []
    spread, longest = np.sort(r.reshape(-1)), max(box.lengths)
    for epsilon in longest * 2.0 ** np.arange(-1, -14, -0.5):
        tail = _tail(box, float(epsilon))
        cutoff, modes = tail * epsilon, math.prod(_expected_modes(length, epsilon, tail) for length in box.lengths)
        near = pairs * _share(spread, (CELLS[box.dim] * cutoff) ** 2, box.dim)
        if modes > room:
            break
        split = replace(box, epsilon=float(epsilon), cutoff=float(cutoff), pairs=near)
        found.append((near + PAIRS_A_MODE * modes, split))
    return [split for _, split in sorted(found, key=lambda pair: pair[0])[:TRIES]]


def _neighbours(box: Box, pairs: int, r: np.ndarray) -> list[Box]:
    """The box without any modes, of a kernel that dies out well within it."""
    if not all(isinstance(kernel, SHORT) for _, kernel in box.kernel.parts()):
        return []
    reach = _reach(lambda r: _split.value(box.kernel, r, box.dim), max(box.lengths), 0.1 * box.value, 0.1 * box.slope)
    if reach > 0.25 * max(box.lengths):
        return []
    near = pairs * _share(np.sort(r.reshape(-1)), (CELLS[box.dim] * reach) ** 2, box.dim)
    return [replace(box, epsilon=math.inf, cutoff=reach, pairs=near)]


def _tail(box: Box, epsilon: float) -> float:
    """The cutoff over ε: from there on |k − S| and its slope are a tenth of what is allowed."""
    t = np.linspace(0.5, 9, 86)
    r = (epsilon * t) ** 2
    remainder = np.abs(_split.value(box.kernel, r, box.dim) - _split.smooth_value(box.kernel, r, box.dim, epsilon))
    large = (remainder > 0.1 * box.value) | (remainder * t / epsilon > 0.1 * box.slope)
    return float(t[min(int(np.flatnonzero(large).max(initial=-1)) + 1, len(t) - 1)])


def _expected_modes(length: float, epsilon: float, tail: float) -> float:
    period = 2 * length + 2 * tail * epsilon
    return 2 * max(8.0, 1.1 * period * tail / (2 * math.pi * epsilon))


def _share(spread: np.ndarray, limit: float, dim: int) -> float:
    """The share of squared distances below `limit`, continued as limit^{d/2} where the sample has too few."""
    count = int(np.searchsorted(spread, limit))
    few = min(100, len(spread))
    if count >= few:
        return count / len(spread)
    zeros = int(np.searchsorted(spread, 0, side="right"))
    return zeros / len(spread) + few / len(spread) * (limit / max(spread[few - 1], limit)) ** (dim / 2)


def _reach(profile: _series.Profile, longest: float, value: float, slope: float) -> float:
    """The distance from which on |κ| and its slope are below these; inf where it is beyond the box."""
    end = longest
    for _ in range(3):
        s = np.linspace(0, end, 257)
        f = profile(s**2)
        large = (np.abs(f) > value) | (np.abs(np.gradient(f, s)) > slope)
        last = int(np.flatnonzero(large).max(initial=0))
        if last >= 255:
            return math.inf if end == longest else end
        end = float(s[last + 2])
    return end


def _rounded_up(x: float, direction: int = 1) -> float:
    """x to the next power of 2^{1/16}, so that a flow finds the series of the step before; direction −1: down."""
    if x <= 0:
        return 0.0
    step = 16 if direction > 0 else 2
    steps = math.log2(x) * step
    return float(2.0 ** ((math.ceil(steps) if direction > 0 else math.floor(steps)) / step))
