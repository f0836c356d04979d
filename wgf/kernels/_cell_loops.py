"""The compiled loops over neighbouring cells: near points are gathered, then every step is a vector loop over them."""

import math
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

LOG, POWER, MATERN, GAUSSIAN = 0, 1, 2, 3
"""Kinds of k: c ln|z|, c|z|^p, c e^{−as}(1 + linear·as + square·a²s²), c e^{rate·|z|²}."""


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
inlined = numba.njit(nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")


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
def counting_sort(cells, starts, order):  # type: ignore[no-untyped-def]
    """Fill `starts`, zeros before, with where each cell starts, and `order` with the points cell by cell."""
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
    if kind == LOG:
        for j in range(count):
            q = r[j] if r[j] > 0 else 1.0
            value[j] += 0.5 * factor * _log(q) if values else 0.0
            slope[j] += factor / q
    elif kind == POWER and rate == 1:
        for j in range(count):
            q = math.sqrt(r[j])
            value[j] += factor * q
            slope[j] += factor / (q if r[j] > 0 else 1.0)
    elif kind == POWER:
        for j in range(count):
            q = r[j] if r[j] > 0 else 1.0
            k = factor * _exp(0.5 * rate * _log(q)) if r[j] > 0 else 0.0
            value[j] += k
            slope[j] += rate * k / q
    elif kind == GAUSSIAN:
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
def add_rows(piece, rows, starts, steps, x, y, a, b, pieces, smooth, steep, limit, at_zero, V, G):  # type: ignore[no-untyped-def]
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
