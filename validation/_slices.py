"""Squared distances between projections, direction by direction, compiled by numba: what a CPU runs."""

from typing import Any

import numba
import numpy as np

from wgf.kernels._buckets import extremes, project_row, scratch, sort_row


@numba.njit(nogil=True, cache=True)
def squared_distances(x: Any, y: Any, theta: Any, squared: Any, done: Any) -> None:
    """W₂² of θ·x and θ·y for x (d, n), y (d, m) and each θ of theta (p, d); say which directions were done."""
    u, v = np.empty(x.shape[1], x.dtype), np.empty(y.shape[1], y.dtype)
    room, space = scratch(x.shape[1], x), scratch(y.shape[1], y)
    for p in range(len(theta)):
        done[p] = _project(x, theta[p], u, room) and _project(y, theta[p], v, space)
        if done[p]:
            squared[p] = _paired(u, v) if len(u) == len(v) else _merged(u, v)


@numba.njit(nogil=True, cache=True)
def _project(points: Any, direction: Any, row: Any, room: Any) -> bool:
    """The sorted projections."""
    project_row(points, direction, row)
    least, most = extremes(row)
    return sort_row(row, least, most, room)


@numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
def _paired(u: Any, v: Any) -> float:
    total = 0.0
    for i in range(len(u)):
        gap = np.float64(u[i]) - np.float64(v[i])
        total += gap * gap
    return total / len(u)


@numba.njit(nogil=True, cache=True)
def _merged(u: Any, v: Any) -> float:
    """∫|F⁻¹ − G⁻¹|² over the merged levels i/n, j/m, in units of 1/nm."""
    n, m = len(u), len(v)
    i, j, level, total = 0, 0, 0, 0.0
    while i < n and j < m:
        end = min((i + 1) * m, (j + 1) * n)
        gap = np.float64(u[i]) - np.float64(v[j])
        total += (end - level) * gap * gap
        i += end == (i + 1) * m
        j += end == (j + 1) * n
        level = end
    return total / (n * m)
