"""Which engine takes a sum: the cheapest by a table of measured costs among those that can serve it."""

import importlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol, cast

import torch
from torch import Tensor

from wgf.errors import Incompatible, InputError
from wgf.kernels import costs
from wgf.kernels.costs import Cost
from wgf.kernels.task import Answer, Task, Unavailable

NAMES = ("moments", "sorted", "numba", "nufft", "keops", "dense")
"""The engines; the last serves every task."""

log = logging.getLogger("wgf.kernels")


class Engine(Protocol):
    """What a module `_name.py` beside this one offers."""

    def refusal(self, task: Task) -> str | None:
        """Why it cannot serve the task, as a clause; None where it can."""

    def seconds(self, task: Task, cost: Cost) -> float:
        """How long it would take."""

    def evaluate(self, task: Task) -> Answer:
        """The sums. Raises: Unavailable where something it needs turns out to be missing."""


def run(task: Task, name: str = "auto") -> Answer:
    """The sums of `task` by the engine `name`, or by the one that `choose` takes.

    Raises: InputError for a name that is no engine; Incompatible where the engine asked for cannot serve the task.
    """
    with _full_precision(task.x.device):
        if name != "auto":
            _insist(task, name)
            return engine(name).evaluate(task)
        while True:
            chosen = choose(task)
            try:
                return engine(chosen).evaluate(task)
            except Unavailable as missing:  # from now on it refuses
                log.warning("%s: %s; taking another engine", chosen, missing)


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Neither autocast nor TensorFloat-32: the accuracy promised is that of the points' dtype."""
    before = torch.get_float32_matmul_precision()
    with torch.autocast(device.type, enabled=False):
        if before == "highest":
            yield
            return
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


def choose(task: Task) -> str:
    """The engine that would take the least time by the table, among those that can serve the task."""
    chosen, least = NAMES[-1], math.inf
    for name in NAMES:
        seconds = _predicted(task, name, least)
        if seconds < least:
            chosen, least = name, seconds
    _announce(chosen, task.kernel.name, task.dim, _magnitude(task.pairs), str(task.x.dtype), str(task.x.device))
    return chosen


def engine(name: str) -> Engine:
    """The engine of this name, imported when it is first asked for."""
    if name not in NAMES:
        raise InputError(f"engine must be one of auto, {', '.join(NAMES)}; got {name!r}")
    return cast(Engine, importlib.import_module(f"wgf.kernels._{name}"))


@cache
def table() -> tuple[Cost, ...]:
    """The costs that engines are chosen by, which `wgf bench kernel-costs` measures anew."""
    rows = costs.read()
    strange = next((row.engine for row in rows if row.engine not in NAMES), None)
    if strange is not None:
        raise InputError(f"the table of costs speaks of {strange!r}, which is none of the engines {', '.join(NAMES)}")
    return rows


def cost(task: Task, name: str) -> Cost | None:
    """The row for an engine on this task: that of the nearest dimension not below d, or else of the largest."""
    rows = [row for row in table() if (row.engine, row.device, row.dtype) == (name, *_where(task.x))]
    above = [row for row in rows if row.dim >= task.dim]
    return min(above or rows, key=lambda row: abs(row.dim - task.dim), default=None)


def _predicted(task: Task, name: str, least: float) -> float:
    """How long an engine would take; inf where it cannot serve, or where its start alone is more than `least`."""
    row = cost(task, name)
    if row is None or task.pairs < row.least or row.start >= least or engine(name).refusal(task) is not None:
        return math.inf
    return engine(name).seconds(task, row)


def _insist(task: Task, name: str) -> None:
    reason = engine(name).refusal(task)
    if reason is not None:
        able = ", ".join(other for other in _able(task) if other != name)
        raise Incompatible(f"the engine {name!r} cannot take this sum of {task.kernel.name}: {reason}; {able} can")


def _able(task: Task) -> Iterator[str]:
    return (name for name in NAMES if engine(name).refusal(task) is None)


def _where(x: Tensor) -> tuple[str, str]:
    return x.device.type, str(x.dtype).removeprefix("torch.")


def _magnitude(pairs: int) -> int:
    return len(str(pairs)) - 1


@cache
def _announce(chosen: str, kernel: str, dim: int, magnitude: int, dtype: str, device: str) -> None:
    log.info("sums of %s in d = %d, 1e%d pairs, %s on %s: %s", kernel, dim, magnitude, dtype, device, chosen)
