"""Rows of projections, and rows sorted by buckets of equal width, compiled by numba: import it only where wanted."""

from typing import Any

import numba
import numpy as np

CROWDED = 16
"""A row whose buckets hold more pairs than so many times its length is left for another way of sorting."""


CHUNK = 512
"""Points projected at a time: their coordinates stay in the cache."""


@numba.njit(nogil=True, cache=True)
def project_row(points: Any, direction: Any, row: Any) -> None:
    """Σ_k direction_k points_k for points (d, n), products and sums in this order: equal points stay equal."""
    for start in range(0, len(row), CHUNK):
        part = row[start : start + CHUNK]
        part[:] = direction[0] * points[0, start : start + CHUNK]
        for k in range(1, len(points)):
            factor, coordinate = direction[k], points[k, start : start + CHUNK]
            for i in range(len(part)):
                part[i] += factor * coordinate[i]


@numba.njit(nogil=True, cache=True)
def project_rows(points: Any, theta: Any, rows: Any) -> None:
    """The projections (p, n) of points (d, n) along each row of theta (p, d)."""
    for p in range(len(theta)):
        project_row(points, theta[p], rows[p])


@numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"})
def extremes(row: Any) -> tuple[Any, Any]:
    """The least and the most of numbers that are not NaN."""
    least = most = row[0]
    for i in range(len(row)):
        least, most = min(least, row[i]), max(most, row[i])
    return least, most


@numba.njit(nogil=True, cache=True)
def scratch(n: int, like: Any) -> tuple[Any, Any, Any]:
    """Room for a sorted row, the bucket of each number and the size of each bucket."""
    return np.empty(n, like.dtype), np.empty(n, np.int32), np.empty(4 * n, np.int32)


@numba.njit(nogil=True, cache=True)
def sort_row(row: Any, least: float, most: float, room: Any) -> bool:
    """Sort a row between its extremes in place; False, the row untouched, where its buckets are too crowded."""
    target, place, count = room
    if not _fill(row, least, most, place, count):
        return least == most
    for i in range(len(row)):
        at = count[place[i]]
        count[place[i]], target[at] = at + 1, row[i]
    for i in range(1, len(row)):
        value, j = target[i], i
        while j > 0 and target[j - 1] > value:
            target[j] = target[j - 1]
            j -= 1
        target[j] = value
    row[:] = target
    return True


@numba.njit(nogil=True, cache=True)
def order_row(row: Any, least: float, most: float, room: Any, order: Any) -> bool:
    """As `sort_row`, with where each number came from; equal numbers keep their order."""
    target, place, count = room
    if not _fill(row, least, most, place, count):
        return False
    for i in range(len(row)):
        at = count[place[i]]
        count[place[i]], target[at], order[at] = at + 1, row[i], i
    for i in range(1, len(row)):
        value, origin, j = target[i], order[i], i
        while j > 0 and target[j - 1] > value:
            target[j], order[j] = target[j - 1], order[j - 1]
            j -= 1
        target[j], order[j] = value, origin
    row[:] = target
    return True


@numba.njit(nogil=True, cache=True)
def sort_rows(values: Any, least: Any, most: Any, done: Any) -> None:
    """Sort each row in place; say which were done."""
    room = scratch(values.shape[1], values)
    for p in range(len(values)):
        done[p] = sort_row(values[p], least[p], most[p], room)


@numba.njit(nogil=True, cache=True)
def order_rows(values: Any, least: Any, most: Any, done: Any, order: Any) -> None:
    """Sort each row in place, and say whence; say which were done."""
    room = scratch(values.shape[1], values)
    for p in range(len(values)):
        done[p] = order_row(values[p], least[p], most[p], room, order[p])


@numba.njit(nogil=True, cache=True)
def _fill(row: Any, least: float, most: float, place: Any, count: Any) -> bool:
    """The bucket of each number and where each bucket starts; False where they are crowded or the row has no width."""
    if not np.float64(least) < np.float64(most) < np.inf or least == -np.inf:  # a NaN fails the first
        return False
    low = np.float64(least)
    scale = (len(count) - 1) / (np.float64(most) - low)
    if not 0 < scale < np.inf:
        return False
    for i in range(len(row)):
        place[i] = np.int32((row[i] - low) * scale)
    count[:] = 0
    for i in range(len(row)):
        count[place[i]] += 1
    start, pairs = 0, 0
    for k in range(len(count)):
        size = count[k]
        count[k] = start
        start, pairs = start + size, pairs + size * size
    return pairs <= CROWDED * len(row)
