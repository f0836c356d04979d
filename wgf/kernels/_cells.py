"""Short-range sums over pairs nearer than a cutoff: points sorted into cells of that size, each row its 3^d cells.

Imported when it is first needed: its loops are numba's.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.polynomial import chebyshev

from wgf.kernels._cell_loops import GAUSSIAN, LOG, MATERN, POWER, add_rows, counting_sort
from wgf.kernels._series import Profile
from wgf.kernels.families import Energy, Gaussian, Laplace, Log, Matern32, Matern52, Mollifier, Power
from wgf.kernels.radial import Radial

DEGREE = 64
CHUNKS = 16  # a thread
MOST = 2**22  # cells, so that a few points far apart do not take a grid of all the space between them


@dataclass(frozen=True)
class Short:
    """k − S at distances below `cutoff`: the singular k as numbers, S and 2S′ as polynomials in u = 2r/cutoff² − 1.

    pieces: a row (kind, c, three numbers) for each part of k. at_zero: what coincident points count, k(0) or 0.
    """

    pieces: np.ndarray
    smooth: np.ndarray
    slope: np.ndarray
    cutoff: float
    at_zero: float


def short(
    parts: Sequence[tuple[float, Radial]], dim: int, smooth: Profile, cutoff: float, at_zero: float, error: float
) -> Short:
    """The remainder of Σ c_i k_i, of which `smooth` is S, to this absolute error."""
    nodes = np.cos(math.pi * (np.arange(DEGREE) + 0.5) / DEGREE)
    f = smooth(0.5 * cutoff**2 * (1 + nodes))
    c = 2 / DEGREE * np.cos(np.outer(np.arange(DEGREE), np.arccos(nodes))) @ f
    c[0] /= 2
    least = max(0.01 * error, 4 * np.abs(c[-8:]).max())
    c = c[: int(np.flatnonzero(np.abs(c) > least).max(initial=1)) + 1]
    slope = chebyshev.chebder(c) * 4 / cutoff**2
    pieces = np.array([_piece(factor, kernel, dim) for factor, kernel in parts])
    return Short(pieces, _powers(c), _powers(slope), cutoff, at_zero)


def sums(
    short: Short,
    x: Float[np.ndarray, "d n"],
    y: Float[np.ndarray, "d m"],
    a: Float[np.ndarray, "k m"],
    b: Float[np.ndarray, "l m"],
    threads: int,
) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, "l d n"]]:
    """Σ_j a_kj (k − S)(x_i − y_j) and Σ_j b_lj ∇(k − S)(x_i − y_j) over the pairs nearer than the cutoff."""
    low = np.minimum(x.min(1), y.min(1))
    extent = np.maximum(x.max(1), y.max(1)) - low
    width = max(short.cutoff, float(extent.max()) / MOST ** (1 / len(x)))  # wider cells only hold more than is near
    shape = np.floor(extent / width).astype(np.int64) + 3
    rows, (order, starts) = _cell(x, low, shape, width), _sorted(_cell(y, low, shape, width), shape)
    walk = _sorted(rows, shape)[0]
    near, a, b = np.ascontiguousarray(y[:, order]), np.ascontiguousarray(a[:, order]), np.ascontiguousarray(b[:, order])
    V, G = np.zeros((len(a), x.shape[1])), np.zeros((len(b), len(x), x.shape[1]))
    steps = _steps(shape)

    def take(piece: np.ndarray) -> None:
        add_rows(
            piece, rows, starts, steps, x, near, a, b,
            short.pieces, short.smooth, short.slope, short.cutoff**2, short.at_zero, V, G,
        )  # fmt: skip

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(take, np.array_split(walk, min(len(walk), CHUNKS * threads))))
    return V, G


def _cell(points: np.ndarray, low: np.ndarray, shape: np.ndarray, width: float) -> np.ndarray:
    """The index of each point's cell, in a grid with an empty cell on every side."""
    index = np.zeros(points.shape[1], dtype=np.int64)
    for coordinate, least, count in zip(points, low, shape, strict=True):
        index = index * count + np.minimum(((coordinate - least) / width).astype(np.int64), count - 3) + 1
    return index


def _steps(shape: np.ndarray) -> np.ndarray:
    """From a cell to the middles of the 3^{d−1} runs of three cells that touch it."""
    steps = np.zeros(1, dtype=np.int64)
    for count in shape[:-1]:
        steps = (steps[:, None] * count + np.array([-1, 0, 1])).reshape(-1)
    return steps * shape[-1]


def _sorted(cells: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points in the order of their cells, and where each cell starts."""
    starts = np.zeros(int(shape.prod()) + 1, dtype=np.int64)
    order = np.empty(len(cells), dtype=np.int64)
    counting_sort(cells, starts, order)
    return order, starts


def _piece(factor: float, kernel: Radial, dim: int) -> tuple[float, ...]:
    if isinstance(kernel, (Gaussian, Mollifier)):
        rate, *mass = kernel.parameters(dim)
        return GAUSSIAN, factor * math.prod(mass), rate, 0.0, 0.0
    if isinstance(kernel, Log):
        return LOG, factor, 0.0, 0.0, 0.0
    if isinstance(kernel, Power):
        return POWER, factor / kernel.exponent, kernel.exponent, 0.0, 0.0
    if isinstance(kernel, Energy):
        return POWER, -factor, kernel.exponent, 0.0, 0.0
    assert isinstance(kernel, (Laplace, Matern32, Matern52))
    (rate,) = kernel.parameters(1)
    linear, square = {Laplace: (0.0, 0.0), Matern32: (1.0, 0.0), Matern52: (1.0, 1 / 3)}[type(kernel)]
    return MATERN, factor, rate, linear, square


def _powers(c: np.ndarray) -> np.ndarray:
    """Coefficients of u^n, highest first, their number a multiple of four."""
    powers = chebyshev.cheb2poly(c)[::-1]
    return np.concatenate([np.zeros(-len(powers) % 4), powers])
