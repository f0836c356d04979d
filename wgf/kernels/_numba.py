"""Compiled loops on a CPU: the fastest in few dimensions, where a pair costs a dozen instructions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from wgf.kernels._compiled import Loop, Shape, loop
from wgf.kernels._single import mended
from wgf.kernels.engines import Cost
from wgf.kernels.radial import Elementary
from wgf.kernels.task import Answer, Task

DIMENSIONS = 16
COLUMNS = 24  # sums in registers: k + l·d at a time
ROWS = 64  # the least that is handed to a thread
ALONE = 2**16  # pairs that are not worth a second thread


def refusal(task: Task) -> str | None:
    """None on a CPU, for elementary kernels in up to 16 dimensions."""
    if task.x.device.type != "cpu":
        return "it runs on a CPU"
    if task.dim > DIMENSIONS:
        return f"its loops are unrolled over at most {DIMENSIONS} dimensions, not {task.dim}"
    odd = next((part for _, part in task.kernel.parts() if not isinstance(part, Elementary)), None)
    return None if odd is None else f"{type(odd).__name__} is not written in elementary functions"


def seconds(task: Task, cost: Cost) -> float:
    """start + pair · n·m · (d + k + l·d)/(2d + 1), the row's cost being that of one value and one gradient."""
    return cost.start + cost.pair * task.pairs * (task.dim + task.columns) / (2 * task.dim + 1)


def evaluate(task: Task) -> Answer:
    """The sums, in passes of as many columns as stay in registers."""
    return mended(task, _sums) if task.x.dtype == torch.float32 else _sums(task)


def _sums(task: Task) -> Answer:
    x, y, n, d = _rows(task.x), _rows(task.y), len(task.x), task.dim
    a, b = (_rows(w, x.dtype, len(task.y)) for w in (task.value_weights, task.gradient_weights))
    V, G = np.empty((n, len(a))), np.empty((n, len(b), d))
    skip = _left_out(task)
    for v, g in _passes(len(a), len(b), d):
        run = loop(task.kernel, Shape(d, v.stop - v.start, g.stop - g.start, x.dtype == np.float64))
        values, slopes = np.empty((n, v.stop - v.start)), np.empty((n, g.stop - g.start, d))
        _in_threads(run, (x, y, a[v], b[g]), skip, values, slopes)
        V[:, v], G[:, g] = values, slopes
    return (
        None if task.value_weights is None else torch.from_numpy(V).to(task.x),
        None if task.gradient_weights is None else torch.from_numpy(G).to(task.x),
    )


def _passes(k: int, l: int, dim: int) -> Iterator[tuple[slice, slice]]:
    """Which columns go together: up to COLUMNS numbers a row, gradients first, with values in what room they leave."""
    done, width = 0, max(1, min(4, COLUMNS // (2 * dim)))
    for start in range(0, l, width):
        stop = min(start + width, l)
        taken = min(k, done + max(0, COLUMNS - (stop - start) * dim))
        yield slice(done, taken), slice(start, stop)
        done = taken
    for start in range(done, k, COLUMNS):
        yield slice(start, min(start + COLUMNS, k)), slice(0, 0)


def _in_threads(
    loop: Loop, columns: tuple[np.ndarray, ...], skip: np.ndarray, values: np.ndarray, slopes: np.ndarray
) -> None:
    """The rows in parts, on as many threads as torch has."""
    x, y, a, b = columns
    n, threads = x.shape[1], torch.get_num_threads()
    p = np.array(loop.numbers, dtype=x.dtype)
    part = max(ROWS, -(-n // (8 * threads)))

    def work(start: int) -> None:
        loop.run(x, y, a, b, p, skip, values, slopes, start, min(start + part, n))

    if threads == 1 or n <= part or n * y.shape[1] < ALONE:
        loop.run(x, y, a, b, p, skip, values, slopes, 0, n)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(0, n, part)))


def _rows(points: Tensor | None, dtype: np.dtype | None = None, length: int = 0) -> np.ndarray:
    """(n, d) as d contiguous rows; (0, length) for None."""
    return np.empty((0, length), dtype) if points is None else np.ascontiguousarray(points.detach().numpy().T)


def _left_out(task: Task) -> np.ndarray:
    """The j that each row leaves out, −1 for none."""
    if task.diagonal:
        return np.full(len(task.x), -1)
    return np.arange(len(task.x)) if task.own is None else task.own.numpy()
