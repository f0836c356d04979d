"""Quadratic attraction in O(n + m): Σ_j w_j |x − y_j|²/2 needs the moments Σw, Σwy and Σw|y|² alone."""

import torch

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
    """The sums about the mean of y, in float64: coincident pairs are zero, so the diagonal does not matter."""
    scale, like = sum(c for c, _ in task.kernel.parts()), task.x
    centre = task.y.double().mean(0)
    x, y = task.x.double() - centre, task.y.double() - centre
    V = G = None
    if task.value_weights is not None:
        a = task.value_weights.double()
        square = 0.5 * (x.square().sum(1, keepdim=True) * a.sum(0) + y.square().sum(1) @ a)
        V = (scale * (square - x @ (y.T @ a))).to(like)
    if task.gradient_weights is not None:
        b = task.gradient_weights.double()
        G = (scale * (x[:, None, :] * b.sum(0)[None, :, None] - torch.einsum("ml,md->ld", b, y))).to(like)
    return V, G
