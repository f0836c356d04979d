"""Quadratic attraction in O(n + m): Σ_j w_j |x − y_j|²/2 needs the moments Σw, Σwy and Σw|y|² alone."""

import torch
from torch import Tensor

from wgf.kernels.engines import Cost
from wgf.kernels.families import Power
from wgf.kernels.task import Answer, Task


def refusal(task: Task) -> str | None:
    """None for sums of multiples of Power(2)."""
    if all(kernel == Power(2) for _, kernel in task.kernel.parts()):
        return None
    return "only |z|²/2 is a polynomial of low degree"


def seconds(task: Task, cost: Cost) -> float:
    """start + point · (n + m)(d + k + l·d)."""
    return cost.start + cost.point * (len(task.x) + len(task.y)) * (task.dim + task.columns)


def evaluate(task: Task) -> Answer:
    """The sums in float64, of each column about the mean of y under its |w|, where no row's moments cancel.

    There Σ_j |w_j||x_i − y_j|² = |x_i|²Σ|w| + Σ|w||y|², as large as the terms that are added. Coincident pairs are
    zero, so the diagonal does not matter.
    """
    scale, like = sum(c for c, _ in task.kernel.parts()), task.x
    x, y = task.x.double(), task.y.double()
    V = G = None
    if task.value_weights is not None:
        V = torch.empty(len(x), task.value_weights.shape[1], dtype=x.dtype, device=x.device)
        for k, w in enumerate(task.value_weights.double().unbind(1)):
            from_x, from_y = _about_mean(x, y, w)
            square = from_x.square().sum(1) * w.sum() + from_y.square().sum(1) @ w
            V[:, k] = scale * (0.5 * square - from_x @ (w @ from_y))
    if task.gradient_weights is not None:
        G = torch.empty(len(x), task.gradient_weights.shape[1], task.dim, dtype=x.dtype, device=x.device)
        for k, w in enumerate(task.gradient_weights.double().unbind(1)):
            from_x, from_y = _about_mean(x, y, w)
            G[:, k] = scale * (from_x * w.sum() - w @ from_y)
    return None if V is None else V.to(like), None if G is None else G.to(like)


def _about_mean(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """x and y without the mean of y under |w|, of which their own mean is taken out first."""
    first = y.mean(0)
    x, y = x - first, y - first
    centre = w.abs() @ y / w.abs().sum().clamp_min(torch.finfo(w.dtype).tiny)
    return x - centre, y - centre
