"""Sums by KeOps: one compiled loop over the pairs a formula, the fastest on a GPU; nothing of n·m is ever stored.

A formula takes seconds to compile, once: kernels that differ in their numbers alone share it, and KeOps keeps it on
disk. Distances are sums of squared differences, sums are compensated (Kahan), and the back end follows the points.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from wgf.kernels import _dense
from wgf.kernels._formula import written
from wgf.kernels._single import mended
from wgf.kernels.engines import Cost
from wgf.kernels.radial import Elementary
from wgf.kernels.task import Answer, Task, Unavailable

BACKENDS = {"cpu": "CPU", "cuda": "GPU"}
SMALL = 10**8
"""Pairs: where float32 loses digits, so many are taken in float64 by the dense engine, and no formula is compiled."""

INDEX = 2**12  # indices are two numbers below it and above, for float32 counts to 2^24 alone

_broken: dict[str, str] = {}
"""By kind of device, what was found missing at a first call."""


def refusal(task: Task) -> str | None:
    """None on a CPU and on CUDA, for elementary kernels, unless something was found to be missing."""
    device = task.x.device.type
    if device not in BACKENDS:
        return f"KeOps runs on a CPU or on CUDA, not on {device}"
    odd = next((part for _, part in task.kernel.parts() if not isinstance(part, Elementary)), None)
    return _broken.get(device) if odd is None else f"{type(odd).__name__} is not written in elementary functions"


def seconds(task: Task, cost: Cost) -> float:
    """start + pair · n·m · (d + k + l·d)/(2d + 1), the row's cost being that of one value and one gradient."""
    return cost.start + cost.pair * task.pairs * (task.dim + task.columns) / (2 * task.dim + 1)


def evaluate(task: Task) -> Answer:
    """The sums, by the formula of the task's structure. Raises: Unavailable where it cannot be compiled or loaded."""
    if task.x.dtype == torch.float64:
        return _sums(task)
    return mended(task, lambda part: _sums(part) if part.x.dtype == torch.float32 else _in_double(part))


def _in_double(task: Task) -> Answer:
    return _dense.evaluate(task) if task.pairs <= SMALL else _sums(task)


def _sums(task: Task) -> Answer:
    formula, numbers = _formula(task)
    k, l = (0 if w is None else w.shape[1] for w in (task.value_weights, task.gradient_weights))
    aliases = _aliases(task.dim, k, l, len(numbers), task.diagonal)
    run = _compiled(formula, aliases, task.x.dtype, task.x.device)
    given = [task.x, task.y, task.value_weights, task.gradient_weights]
    arguments = [part.contiguous() for part in given if part is not None]
    if numbers:
        arguments.append(task.x.new_tensor(numbers))
    if not task.diagonal:
        own = torch.arange(len(task.x), device=task.x.device) if task.own is None else task.own
        arguments += [_index(own, task.x), _index(torch.arange(len(task.y), device=task.x.device), task.x)]
    out = run(*arguments, backend=BACKENDS[task.x.device.type])
    V, G = out[:, :k], out[:, k:].unflatten(1, (l, task.dim)) if l else None
    return V if k else None, G


def _formula(task: Task) -> tuple[str, list[float]]:
    """Σ_j (a_j κ, b_j ⊗ 2κ′(x_i − y_j)) and the numbers of κ."""
    order = 0 if task.gradient_weights is None else 1
    orders, numbers = written(task.kernel, task.dim, "SqDist(x,y)", order)
    if not task.diagonal:
        orders = [f"IfElse(SqDist(i,j)-IntCst(1),{k},Zero(1))" for k in orders]
    value = f"({orders[0]}*a)"
    slope = f"TensorProd(b,IntCst(2)*{orders[1]}*(x-y))" if order else ""
    if task.value_weights is None:
        return slope, numbers
    return f"Concat({value},{slope})" if order else value, numbers


def _aliases(dim: int, k: int, l: int, numbers: int, diagonal: bool) -> tuple[str, ...]:
    named = [f"x=Vi({dim})", f"y=Vj({dim})"]
    named += [f"{name}=Vj({columns})" for name, columns in (("a", k), ("b", l)) if columns]
    named += [f"c=Pm({numbers})"] if numbers else []
    return (*named, *(() if diagonal else ("i=Vi(2)", "j=Vj(2)")))


def _index(rows: Tensor, like: Tensor) -> Tensor:
    return torch.stack([rows // INDEX, rows % INDEX], 1).to(like.dtype)


@cache
def _compiled(
    formula: str, aliases: tuple[str, ...], dtype: torch.dtype, device: torch.device
) -> Callable[..., Tensor]:
    """The reduction of a formula, compiled and tried on one pair of points."""
    sizes = [(alias[2:4], int(alias[5:-1])) for alias in aliases]
    points = [torch.ones(size if kind == "Pm" else (1, size), dtype=dtype, device=device) for kind, size in sizes]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), _own_cache():
            from pykeops.torch import Genred  # loud at import, as its compiler is: what it says is kept for the reason

            run = Genred(
                formula, list(aliases), reduction_op="Sum", axis=1, sum_scheme="kahan_scheme", use_fast_math=False
            )
            run(*points, backend=BACKENDS[device.type])
    except torch.OutOfMemoryError:
        raise
    except (ImportError, OSError, RuntimeError) as error:
        _broken[device.type] = _reason(error, said.getvalue(), device.type)
        raise Unavailable(_broken[device.type]) from error
    return run


def _reason(error: Exception, said: str, device: str) -> str:
    with contextlib.suppress(ImportError), contextlib.redirect_stdout(io.StringIO()):
        import pykeops.config

        if pykeops.config.pykeops_base.get_cxx_compiler() is None:
            return "KeOps found no C++ compiler: install g++, or name yours in the environment variable CXX"
        if device == "cuda" and not pykeops.config.gpu_available:
            return "KeOps found no CUDA libraries (libcuda, libnvrtc) or no GPU"
    complaint = next((line.strip() for line in said.splitlines() if "error" in line.lower()), "")
    return f"KeOps could not compile or load its formula: {complaint or f'{type(error).__name__}: {error}'}"


@contextlib.contextmanager
def _own_cache() -> Iterator[None]:
    """A cache folder for this rank, said by the environment while KeOps is imported: ranks overwrite each other's."""
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK"))
    before = os.environ.get("KEOPS_CACHE_FOLDER")
    if rank is None:
        yield
        return
    default = Path.home() / ".cache" / f"keops{version('keopscore')}"
    os.environ["KEOPS_CACHE_FOLDER"] = str(Path(before or default) / f"rank{int(rank)}")
    try:
        yield
    finally:
        if before is None:
            del os.environ["KEOPS_CACHE_FOLDER"]
        else:
            os.environ["KEOPS_CACHE_FOLDER"] = before
