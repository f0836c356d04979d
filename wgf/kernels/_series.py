"""A smooth radial function on a box as a Fourier series: period, number of modes and coefficients, to a tolerance."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.fft import dctn, next_fast_len
from scipy.special import erf

Profile = Callable[[np.ndarray], np.ndarray]
"""κ, of r = |z|², in float64."""

ROUNDING = 1e-16
RESOLVED = 2e-15  # noise, relative to the function, that more points do not lower
START = 128


@dataclass(frozen=True)
class Axis:
    """One axis of the box |z| ≤ length: a period, and the modes |k| ≤ modes it takes.

    turn is the width of the Gaussian that rounds the corner of |z| at half the period, so that κ(g(z)²), which equals
    κ(z²) in the box, is smooth and periodic. turn = 0: κ dies out within the period, and there is no corner.
    value, slope: Σ|c_k| and Σ|ξ_k c_k| of the function along the axis.
    """

    length: float
    period: float
    turn: float
    modes: int = 0
    value: float = 0.0
    slope: float = 0.0

    @property
    def frequencies(self) -> np.ndarray:
        """ξ_k = 2πk/period, k = 0 … modes."""
        return 2 * math.pi / self.period * np.arange(self.modes + 1)

    def fold(self, points: int) -> np.ndarray:
        """g at `points` + 1 even steps from 0 to half the period: |z|, and flat at the end."""
        z = 0.5 * self.period / points * np.arange(points + 1)
        if self.turn == 0:
            return z
        u = (z - 0.5 * self.period) / self.turn
        mean = u * erf(u / math.sqrt(2)) + math.sqrt(2 / math.pi) * np.exp(-0.5 * u * u)
        return np.where(z < 0.25 * self.period, z, 0.5 * self.period - self.turn * mean)


@dataclass(frozen=True)
class Series:
    """κ(|z|²) = Σ_k c_k cos(ξ_k·z) on the box, to the tolerance it was made for; c of shape (modes + 1, …), k ≥ 0."""

    axes: tuple[Axis, ...]
    coefficients: np.ndarray

    def value(self, z: np.ndarray) -> np.ndarray:
        """The series at the rows of z (n, d), for checks."""
        total = np.broadcast_to(self.coefficients, (len(z), *self.coefficients.shape))
        for c, axis in enumerate(self.axes):
            waves = _double(axis) * np.cos(np.outer(z[:, c], axis.frequencies))
            total = np.einsum("nk,nk...->n...", waves, total)
        return total

    @cached_property
    def weight(self) -> tuple[float, float]:
        """Σ|c_k| and the largest of Σ|ξ_k c_k| over the axes: what errors of a transform are relative to."""
        size = np.abs(self.coefficients)
        for c, axis in enumerate(self.axes):
            size = size * _double(axis).reshape(-1, *[1] * (len(self.axes) - 1 - c))
        others = tuple(range(len(self.axes)))
        sums = [size.sum(axis=others[:c] + others[c + 1 :]) for c in others]
        slopes = [float(axis.frequencies @ total) for axis, total in zip(self.axes, sums, strict=True)]
        return float(size.sum()), max(slopes)


def axis(
    profile: Profile, length: float, beside: float, reach: float, value: float, slope: float, most: int
) -> Axis | None:
    """The axis of fewest modes for which the series errs by at most `value`, and its slope by `slope`.

    reach: the distance from which on κ and κ′ are below these. most: the modes allowed; None where they do not suffice.
    The modes are read off slices of the function along the axis, which sum coefficients over the other axes: through
    zero and, where κ does not die out, through the far corner of the others, r = `beside`, where it may bend most.
    """
    if reach <= length or (length == 0 and math.isfinite(reach)):
        return _modes(profile, Axis(length, length + reach, 0.0), (0.0,), value, slope, most, START)
    size = _size(profile, length, beside)
    tail = math.sqrt(2 * math.log(1 / min(0.1, value / size, slope * length / size)))
    best: Axis | None = None
    for turn in length / tail * 2.0 ** np.arange(0.0, -9.0, -1.0):
        start = START if best is None else max(START, best.modes)
        found = _modes(
            profile, Axis(length, 2 * length + 2 * tail * turn, turn), (0.0, beside), value, slope, most, start
        )
        if best is not None and (found is None or found.modes > best.modes):
            break
        best = found
    return best


def series(profile: Profile, axes: Sequence[Axis], workers: int) -> Series:
    """The coefficients, by a cosine transform of κ sampled on the box of half-periods."""
    points = [next_fast_len(int(1.2 * a.modes) + 8, real=True) for a in axes]
    squared = np.zeros(())
    for a, n in zip(axes, points, strict=True):
        squared = squared[..., None] + a.fold(n) ** 2
    c = dctn(profile(squared.reshape(-1)).reshape(squared.shape), type=1, workers=workers, overwrite_x=True)
    kept = c[tuple(slice(a.modes + 1) for a in axes)] / math.prod(2 * n for n in points)
    return Series(tuple(axes), np.ascontiguousarray(kept))


def _modes(
    profile: Profile, axis: Axis, beside: Sequence[float], value: float, slope: float, most: int, start: int
) -> Axis | None:
    """The axis with the modes that leave out less than the tolerances; None where `most` do not, or rounding does.

    From `start` sampling points on, until those of the highest frequencies are noise.
    """
    points = next_fast_len(start, real=True)
    while points <= 2 * most + START:
        f = np.stack([profile(axis.fold(points) ** 2 + away) for away in sorted({*beside})])
        size = np.abs(dctn(f, type=1, axes=(1,))).max(0) / points
        frequency = 2 * math.pi / axis.period * np.arange(points + 1)
        noise = 2 * max(_root_mean_square(size[-points // 8 :]), ROUNDING * np.abs(f).max() / math.sqrt(points))
        size = np.where(size > 3 * noise, size, 0)
        left = np.maximum(_tail(size) / value, _tail(size * frequency) / slope)
        modes = max(1, int(np.argmax(left <= 1)))
        resolved = noise <= RESOLVED * np.abs(f).max()  # by random rounding, not by folded frequencies
        terms = math.sqrt(modes) if resolved else points
        if noise * terms <= value and noise * terms * frequency[modes if resolved else points] <= slope:
            sums = float(size.sum()), float(size @ frequency)
            return Axis(axis.length, axis.period, axis.turn, modes, *sums) if modes <= most else None
        if resolved:
            return None
        points = next_fast_len(2 * points, real=True)
    return None


def _root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x * x)))


def _tail(size: np.ndarray) -> np.ndarray:
    """Σ_{j > k} size_j."""
    return np.cumsum(size[::-1])[::-1] - size


def _double(axis: Axis) -> np.ndarray:
    """What a cosine counts for: modes ±k, but k = 0 once."""
    return np.where(np.arange(axis.modes + 1) == 0, 1.0, 2.0)


def _size(profile: Profile, length: float, beside: float) -> float:
    r = np.array([0.0, 0.25, 1.0]) * length**2
    return float(np.abs(profile(np.concatenate([r, r + beside]))).max())
