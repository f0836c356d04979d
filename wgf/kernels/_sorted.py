"""Sums on the line in O((n + m) log m), exact: |z| and its powers, and the Laplace and Matérn kernels, by sorting."""

import math

import torch
from torch import Tensor

from wgf.kernels.costs import Cost
from wgf.kernels.line import line_sums, pieces
from wgf.kernels.task import Answer, Task

ARRAYS = 24
"""How many float64 arrays of n or m numbers a column of the answers takes at most."""


def refusal(task: Task) -> str | None:
    """None in one dimension for sums of multiples of the kernels of `line.pieces`."""
    if task.dim != 1:
        return "only points on the line can be sorted"
    if pieces(task.kernel) is None:
        return "only powers |z|, z², |z|³, z⁴ and Laplace and Matern kernels are sums over sorted points"
    if not task.diagonal and not torch.equal(task.x, task.y):
        return "pairs i = j can be left out only where x and y are the same points"
    return None


def seconds(task: Task, cost: Cost) -> float:
    """start + point · (n + m)(k + l), the row's cost being that of |z|; exponentials double log₂ m times, for less."""
    exponentials = sum(1 for piece in pieces(task.kernel) or () if piece.rate)
    passes = 1 + exponentials * math.log2(len(task.y) + 1) / 8
    return passes * (cost.start + cost.point * (len(task.x) + len(task.y)) * task.columns)


def evaluate(task: Task) -> Answer:
    """The sums, as many columns at a time as the budget holds."""
    at_once = max(1, task.budget // (8 * ARRAYS * (len(task.x) + len(task.y))))
    a, b = task.value_weights, task.gradient_weights
    if task.columns <= at_once:
        return _evaluate(task, a, b)
    parts = [_evaluate(task, w, None) for w in (() if a is None else a.split(at_once, 1))]
    parts += [_evaluate(task, None, w) for w in (() if b is None else b.split(at_once, 1))]
    V, G = ([part for part in column if part is not None] for column in zip(*parts, strict=True))
    return torch.cat(V, 1) if V else None, torch.cat(G, 1) if G else None


def _evaluate(task: Task, a: Tensor | None, b: Tensor | None) -> Answer:
    kernel, like = pieces(task.kernel), task.x
    assert kernel is not None
    left, right = (None if w is None else w.T for w in (a, b))
    V, G = line_sums(kernel, like.T.contiguous(), task.y.T.contiguous(), left, right, task.diagonal)
    return None if V is None else V[0].T.to(like), None if G is None else G[0].T[..., None].to(like)
