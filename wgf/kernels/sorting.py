"""Rows of numbers sorted at once: by buckets, compiled, on a CPU; by torch elsewhere and for little."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float, Int
from torch import Tensor

COMPILED = 2**18
"""Fewer numbers than these are sorted before anything is compiled."""

SHARES = 8
"""How many shares of the rows there are for each thread."""

LONGEST = 2**21
"""Rows longer than this have more buckets than the caches hold."""


def sort_rows_(rows: Float[Tensor, "p n"]) -> Float[Tensor, "p n"]:
    """Sort each row in place, exactly as `torch.sort` does, and return the rows; not differentiable.

    On a CPU a row is thrown into 4n buckets of equal width, in which insertion sorts the rest: O(n) for densities that
    a few multiples of n buckets resolve. Rows for which they do not, as for far outliers, go to NumPy's vector sort.
    """
    if not worth_compiling(rows, rows.numel()):
        return rows.copy_(_sorted(rows))
    from wgf.kernels import _buckets  # here, because numba takes its time to import

    rest = _run(_buckets.sort_rows, rows)
    if len(rest):
        rows[rest] = _sorted(rows[rest])
    return rows


def order_rows(rows: Float[Tensor, "p n"]) -> tuple[Float[Tensor, "p n"], Int[Tensor, "p n"]]:
    """The rows in ascending order and where each number came from; equal numbers keep their order."""
    if not worth_compiling(rows, rows.numel()):
        return torch.sort(rows, dim=1, stable=True)[:2]
    from wgf.kernels import _buckets

    values = rows.clone(memory_format=torch.contiguous_format)
    order = torch.empty_like(values, dtype=torch.int64)
    rest = _run(_buckets.order_rows, values, order)
    if len(rest):
        values[rest], order[rest] = torch.sort(values[rest], dim=1, stable=True)
    return values, order


def worth_compiling(rows: Tensor, numbers: int) -> bool:
    """Whether so many numbers, in rows such as these, are sorted by buckets."""
    known = rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.float64)
    return known and numbers >= COMPILED and rows.shape[1] <= LONGEST


def in_threads(work: Callable[[slice], None], rows: int) -> None:
    """Give torch's threads the rows, a share at a time, for one may be slower; `work` lets go of Python's lock."""
    threads = min(rows, torch.get_num_threads())
    share = max(1, -(-rows // (SHARES * threads)))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, (slice(start, start + share) for start in range(0, rows, share))))


def _sorted(rows: Tensor) -> Tensor:
    if rows.device.type != "cpu":
        return rows.sort(dim=1).values
    array = rows.numpy().copy()
    in_threads(lambda part: array[part].sort(axis=1), len(rows))
    return torch.from_numpy(array)


def _run(sort: Callable[..., None], values: Tensor, order: Tensor | None = None) -> Tensor:
    """Sort the rows in place, and say which were left as they were."""
    least, most = torch.aminmax(values, dim=1)  # NaN where a row has one
    done = torch.zeros(len(values), dtype=torch.bool)
    arrays = [tensor.numpy() for tensor in (values, least, most, done, order) if tensor is not None]
    in_threads(lambda part: sort(*(array[part] for array in arrays)), len(values))
    return (~done).nonzero()[:, 0]
