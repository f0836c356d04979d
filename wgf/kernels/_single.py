"""What float32 loses in a sum, found and mended: sums of few terms, and rows whose every term is tiny.

Terms of relative error a few ε average out over many pairs, but exp(−t) carries an error tε: a row all of whose terms
lie far out under a kernel that falls exponentially is off by more than its tolerance. Such rows, and sums of few terms,
are taken in float64: the points as given are exact in it.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from wgf.kernels.task import Answer, Task

FEW = 256
"""Terms: sums of no more, or whose weights lie on no more, are taken in float64."""

TINY = math.exp(-20.0)
"""κ/κ(0), on an average over a row's weights, below which exp(−t) may be off by 1e-5."""


def mended(task: Task, sums: Callable[[Task], Answer]) -> Answer:
    """The sums of a task of float32, by `sums` of it and, where that loses digits, of its rows in float64."""
    if len(task.y) <= FEW or _few(task):
        return _to(sums(in_double(task)), task.x)
    if task.columns == 0 or not any(kernel.exponential for _, kernel in task.kernel.parts()):
        return sums(task)
    watched, scales = _watched(task)
    V, G = sums(watched)
    assert V is not None
    weak = _weak(task, V, scales)
    a = task.value_weights
    if len(weak):
        again, slopes = _to(sums(in_double(_rows(task, weak))), task.x)
        if a is not None and again is not None:
            V[weak, : a.shape[1]] = again
        if G is not None and slopes is not None:
            G[weak] = slopes
    return None if a is None else V[:, : a.shape[1]], G


def _few(task: Task) -> bool:
    """Whether a column of weights lies on few points: (Σ|w|)² ≤ FEW Σw², as on so many alone."""
    columns = [w for w in (task.value_weights, task.gradient_weights) if w is not None]
    return any(bool((w.abs().sum(0).square() <= FEW * w.square().sum(0)).any()) for w in columns)


def in_double(task: Task) -> Task:
    """The same task in float64."""
    a, b = (None if part is None else part.double() for part in (task.value_weights, task.gradient_weights))
    return replace(task, x=task.x.double(), y=task.y.double(), value_weights=a, gradient_weights=b)


def _watched(task: Task) -> tuple[Task, list[int]]:
    """The task with Σ|w|k of every column of weights among its values, and which column that is."""
    columns = [] if task.value_weights is None else list(task.value_weights.unbind(1))
    slopes = [] if task.gradient_weights is None else list(task.gradient_weights.unbind(1))
    positive: list[Tensor | None] = [w if bool((w >= 0).all()) else None for w in columns]
    scales = []
    for w in [*columns, *slopes]:
        size = w.abs()
        at = next((n for n, known in enumerate(positive) if known is not None and torch.equal(known, size)), None)
        if at is None:
            at = len(columns)
            columns.append(size)
            positive.append(size)
        scales.append(at)
    return replace(task, value_weights=torch.stack(columns, 1)), scales


def _weak(task: Task, V: Tensor, scales: list[int]) -> Tensor:
    peak = task.kernel.value(torch.zeros((), dtype=torch.float64), task.dim).abs()
    weak = torch.zeros(len(V), dtype=torch.bool, device=V.device)
    weights = [w for part in (task.value_weights, task.gradient_weights) if part is not None for w in part.unbind(1)]
    for w, at in zip(weights, scales, strict=True):
        weak |= V[:, at].abs() < TINY * float(peak) * w.double().abs().sum().to(V)
    return weak.nonzero()[:, 0]


def _rows(task: Task, rows: Tensor) -> Task:
    own = None if task.diagonal else (rows if task.own is None else task.own[rows])
    return replace(task, x=task.x[rows], own=own)


def _to(answer: Answer, like: Tensor) -> Answer:
    V, G = answer
    return None if V is None else V.to(like), None if G is None else G.to(like)
