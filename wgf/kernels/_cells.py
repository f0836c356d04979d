"""Short-range sums over pairs nearer than a cutoff: points sorted into cells of that size, each row its 3^d cells.

Imported when it is first needed, for numba.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from jaxtyping import Float
from numba.core import types
from numba.extending import intrinsic
from numpy.polynomial import chebyshev

from wgf.kernels._series import Profile
from wgf.kernels.families import Energy, Gaussian, Laplace, Log, Matern32, Matern52, Mollifier, Power
from wgf.kernels.radial import Radial

LOG, POWER, MATERN, GAUSSIAN = 0, 1, 2, 3
DEGREE = 64
CHUNKS = 16  # a thread


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
    shape = np.floor((np.maximum(x.max(1), y.max(1)) - low) / short.cutoff).astype(np.int64) + 3
    rows, (order, starts) = _cell(x, low, shape, short.cutoff), _sorted(_cell(y, low, shape, short.cutoff), shape)
    walk = _sorted(rows, shape)[0]
    near, a, b = np.ascontiguousarray(y[:, order]), np.ascontiguousarray(a[:, order]), np.ascontiguousarray(b[:, order])
    V, G = np.zeros((len(a), x.shape[1])), np.zeros((len(b), len(x), x.shape[1]))
    steps = _steps(shape)

    def take(piece: np.ndarray) -> None:
        _rows(
            piece, rows, starts, steps, x, near, a, b,
            short.pieces, short.smooth, short.slope, short.cutoff**2, short.at_zero, V, G,
        )  # fmt: skip

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(take, np.array_split(walk, min(len(walk), CHUNKS * threads))))
    return V, G


def pairs(x: Float[np.ndarray, "d n"], y: Float[np.ndarray, "d m"], cutoff: float) -> float:
    """How many pairs lie in neighbouring cells."""
    low = np.minimum(x.min(1), y.min(1))
    shape = np.floor((np.maximum(x.max(1), y.max(1)) - low) / cutoff).astype(np.int64) + 3
    starts = _sorted(_cell(y, low, shape, cutoff), shape)[1]
    rows = _cell(x, low, shape, cutoff)
    return float(sum((starts[rows + step + 2] - starts[rows + step - 1]).sum() for step in _steps(shape)))


def _cell(points: np.ndarray, low: np.ndarray, shape: np.ndarray, cutoff: float) -> np.ndarray:
    """The index of each point's cell, in a grid with an empty cell on every side."""
    index = np.zeros(points.shape[1], dtype=np.int64)
    for coordinate, least, count in zip(points, low, shape, strict=True):
        index = index * count + np.minimum(((coordinate - least) / cutoff).astype(np.int64), count - 3) + 1
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
    _counting_sort(cells, starts, order)
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


def _as_bits(typing: Any, x: Any) -> Any:
    """The 64 bits of a double as an integer."""
    return types.int64(types.float64), lambda context, builder, signature, args: builder.bitcast(
        args[0], context.get_value_type(types.int64)
    )


def _as_double(typing: Any, n: Any) -> Any:
    """The double of these 64 bits."""
    return types.float64(types.int64), lambda context, builder, signature, args: builder.bitcast(
        args[0], context.get_value_type(types.float64)
    )


_bits: Any = intrinsic(_as_bits)
_double: Any = intrinsic(_as_double)
compiled = numba.njit(nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, cache=True, error_model="numpy")
inlined = numba.njit(nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy", inline="never")


@inlined
def _log(x: float) -> float:
    """ln x, x > 0 normal: exponent · ln 2 + 2 artanh((m − 1)/(m + 1)), mantissa m in [√½, √2)."""
    bits = _bits(x) - 0x3FE6A09E667F3BCD
    exponent = bits >> 52
    m = _double((bits & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD)
    s = (m - 1) / (m + 1)
    z = s * s
    p = 1 / 21
    p = p * z + 1 / 19
    p = p * z + 1 / 17
    p = p * z + 1 / 15
    p = p * z + 1 / 13
    p = p * z + 1 / 11
    p = p * z + 1 / 9
    p = p * z + 1 / 7
    p = p * z + 1 / 5
    p = p * z + 1 / 3
    return exponent * 0.6931471805599453 + (2 * s + 2 * s * z * p)


@inlined
def _exp(x: float) -> float:
    """e^x for x in [−700, 700]: 2^n times the Taylor polynomial of degree 13 on |x − n ln 2| ≤ ½ ln 2."""
    x = min(max(x, -700.0), 700.0)
    n = math.floor(x * 1.4426950408889634 + 0.5)
    f = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10
    p = 1 / 6227020800
    p = p * f + 1 / 479001600
    p = p * f + 1 / 39916800
    p = p * f + 1 / 3628800
    p = p * f + 1 / 362880
    p = p * f + 1 / 40320
    p = p * f + 1 / 5040
    p = p * f + 1 / 720
    p = p * f + 1 / 120
    p = p * f + 1 / 24
    p = p * f + 1 / 6
    p = p * f + 1 / 2
    p = p * f + 1
    p = p * f + 1
    return p * _double((np.int64(n) + 1023) << 52)


@compiled
def _counting_sort(cells, starts, order):  # type: ignore[no-untyped-def]
    for cell in cells:
        starts[cell + 1] += 1
    for cell in range(1, len(starts)):
        starts[cell] += starts[cell - 1]
    filled = starts[:-1].copy()
    for i, cell in enumerate(cells):
        order[filled[cell]] = i
        filled[cell] += 1


@inlined
def _neighbours(i, x, y, start, stop, limit, near, r, count):  # type: ignore[no-untyped-def]
    """Append to `near` and `r` those of y[:, start:stop] nearer to x[:, i] than the limit; their new number."""
    if len(x) == 1:
        for j in range(start, stop):
            one = x[0, i] - y[0, j]
            near[count], r[count] = j, one * one
            count += r[count] < limit
    elif len(x) == 2:
        for j in range(start, stop):
            one, two = x[0, i] - y[0, j], x[1, i] - y[1, j]
            near[count], r[count] = j, one * one + two * two
            count += r[count] < limit
    else:
        for j in range(start, stop):
            one, two, three = x[0, i] - y[0, j], x[1, i] - y[1, j], x[2, i] - y[2, j]
            near[count], r[count] = j, one * one + two * two + three * three
            count += r[count] < limit
    return count


@inlined
def _polynomial(powers, u, count, out):  # type: ignore[no-untyped-def]
    """out = −p(u), four powers a pass."""
    out[:count] = 0
    for q in range(0, len(powers), 4):
        p0, p1, p2, p3 = -powers[q], -powers[q + 1], -powers[q + 2], -powers[q + 3]
        for j in range(count):
            v = u[j]
            out[j] = (((out[j] * v + p0) * v + p1) * v + p2) * v + p3


@inlined
def _singular(piece, r, count, values, slopes, value, slope):  # type: ignore[no-untyped-def]
    """Add c k to `value` and 2c κ′ to `slope` where r > 0."""
    kind, factor, rate, linear, square = piece
    if kind == 0:
        for j in range(count):
            q = r[j] if r[j] > 0 else 1.0
            value[j] += 0.5 * factor * _log(q) if values else 0.0
            slope[j] += factor / q
    elif kind == 1 and rate == 1:
        for j in range(count):
            q = math.sqrt(r[j])
            value[j] += factor * q
            slope[j] += factor / (q if r[j] > 0 else 1.0)
    elif kind == 1:
        for j in range(count):
            q = r[j] if r[j] > 0 else 1.0
            k = factor * _exp(0.5 * rate * _log(q)) if r[j] > 0 else 0.0
            value[j] += k
            slope[j] += rate * k / q
    elif kind == 3:
        for j in range(count):
            k = factor * _exp(rate * r[j])
            value[j] += k if r[j] > 0 else 0.0
            slope[j] += 2 * rate * k
    else:
        bare = -factor * rate * rate * (1 - 2 * square)
        for j in range(count):
            s = math.sqrt(r[j])
            e = _exp(-rate * s)
            k = factor * e * (1 + linear * rate * s + square * rate * rate * r[j])
            value[j] += k if r[j] > 0 else 0.0
            turned = bare * (1 + 3 * square * rate * s) if linear > 0 else -factor * rate / (s if r[j] > 0 else 1.0)
            slope[j] += turned * e


@compiled
def _rows(piece, rows, starts, steps, x, y, a, b, pieces, smooth, steep, limit, at_zero, V, G):  # type: ignore[no-untyped-def]
    """The rows `piece` of V and G."""
    room = 0
    for i in piece:
        total = 0
        for step in steps:
            total += starts[rows[i] + step + 2] - starts[rows[i] + step - 1]
        room = max(room, total + 1)
    near, r, u = np.empty(room, np.int64), np.empty(room), np.empty(room)
    value, slope = np.empty(room), np.empty(room)
    for i in piece:
        count = 0
        for step in steps:
            start, stop = starts[rows[i] + step - 1], starts[rows[i] + step + 2]
            count = _neighbours(i, x, y, start, stop, limit, near, r, count)
        for j in range(count):
            u[j] = 2 * r[j] / limit - 1
        if len(a):
            _polynomial(smooth, u, count, value)
        if len(b):
            _polynomial(steep, u, count, slope)
        for piece_of in pieces:
            _singular(piece_of, r, count, len(a) > 0, len(b) > 0, value, slope)
        if len(a):
            for j in range(count):
                value[j] += 0.0 if r[j] > 0 else at_zero
        for k in range(len(a)):
            total_v = 0.0
            for j in range(count):
                total_v += a[k, near[j]] * value[j]
            V[k, i] = total_v
        for k in range(len(b)):
            for j in range(count):
                u[j] = b[k, near[j]] * slope[j]
            for c in range(len(x)):
                total_g = 0.0
                for j in range(count):
                    total_g += u[j] * (x[c, i] - y[c, near[j]])
                G[k, c, i] = total_g
