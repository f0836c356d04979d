"""Kernel sums as they are defined: float64, all pairs, by differences; and how far an answer is from them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.kernels import Radial
from wgf.kernels.task import Answer, Task

BLOCK = 2**22
"""Coordinates of differences held at a time."""


@dataclass(frozen=True)
class Truth:
    """V_ik = Σ_j a_jk k(x_i − y_j) and G_il = Σ_j b_jl ∇k(x_i − y_j), with the sums of sizes that errors are beside.

    value_size = Σ_j |a_jk| |k|, slope_size = Σ_j |b_jl| |∇k|; of a sum Σ c_p k_p of kernels, |k| is Σ |c_p k_p| and
    |∇k| is Σ |c_p ∇k_p|. longer_size has 2|κ′|·max(|z|, ℓ) for |∇k| = 2|κ′||z|, ℓ² = κ(0)/2|κ′(0)| being the length
    over which a smooth kernel falls. Coincident points count as the kernel says: zero where it is singular.
    """

    V: Float[Tensor, "n k"]
    G: Float[Tensor, "n l d"]
    value_size: Float[Tensor, "n k"]
    slope_size: Float[Tensor, "n l"]
    longer_size: Float[Tensor, "n l"]


def truths(kernels: Sequence[Radial], task: Task) -> list[Truth]:
    """The sums of a task, both kinds, for each kernel in place of its own, by float64 differences of its points."""
    made: list[list[Truth]] = [[] for _ in kernels]
    for start, delta, apart in _blocks(task):
        squared = delta.square().sum(-1)
        for blocks, kernel in zip(made, kernels, strict=True):
            blocks.append(_block(kernel, task, delta, squared, apart, start))
    return [_joined(blocks) for blocks in made]


def errors(
    answer: Answer, truth: Truth, dtype: torch.dtype, largest: bool = False, longer: bool = False
) -> tuple[float, float]:
    """The worst error of V and of G relative to its row's sum of sizes.

    largest: to that of the row of the same column where it is largest; longer: of gradients, to `longer_size`. What is
    smaller than the smallest normal number of `dtype` counts as zero, and a sum without terms must be zero. Infinite
    where the answer has a number that is not finite.
    """
    V, G = answer
    if V is None or G is None or not (V.isfinite().all() and G.isfinite().all()):
        return math.inf, math.inf
    least = torch.finfo(dtype).tiny
    off = (V.double() - truth.V).abs(), (G.double() - truth.G).norm(dim=-1)
    sizes = truth.value_size, truth.longer_size if longer else truth.slope_size
    value, slope = (
        _worst(error, size.amax(0).expand_as(size) if largest else size, least)
        for error, size in zip(off, sizes, strict=True)
    )
    return value, slope


def _worst(error: Tensor, size: Tensor, least: float) -> float:
    lost = error > least
    return float((error[lost] / size[lost]).max()) if lost.any() else 0.0


def _blocks(task: Task) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    """Rows, their differences x_i − y_j in float64, and which pairs count."""
    x, y = task.x.double(), task.y.double()
    rows = max(1, BLOCK // max(1, y.numel()))
    for start in range(0, len(x), rows):
        part = slice(start, min(start + rows, len(x)))
        apart = None
        if not task.diagonal:
            apart = torch.arange(part.start, part.stop)[:, None] != torch.arange(len(y))
        yield part, x[part, None] - y, apart


def _block(kernel: Radial, task: Task, delta: Tensor, squared: Tensor, apart: Tensor | None, rows: slice) -> Truth:
    assert task.value_weights is not None
    assert task.gradient_weights is not None
    a, b = task.value_weights.double(), task.gradient_weights.double()
    distance, counts = squared.sqrt(), 1.0 if apart is None else apart
    k, slope, k_size, slope_size, longer = (torch.zeros_like(squared) for _ in range(5))
    for factor, part in kernel.parts():
        value, first = (factor * order * counts for order in part.jet(squared, task.dim, 1))
        k += value
        slope += 2 * first
        k_size += value.abs()
        slope_size += 2 * first.abs() * distance
        longer += 2 * first.abs() * distance.clamp_min(_length(part, task.dim))
    G = torch.stack([torch.einsum("nm,nmd->nd", slope * column, delta) for column in b.unbind(1)], 1)
    return Truth(k @ a, G, k_size @ a.abs(), slope_size @ b.abs(), longer @ b.abs())


def _length(kernel: Radial, dim: int) -> float:
    value, slope = (float(order.abs()) for order in kernel.jet(torch.zeros((), dtype=torch.float64), dim, 1))
    return math.sqrt(value / (2 * slope)) if slope else 0.0


def _joined(blocks: list[Truth]) -> Truth:
    return Truth(*(torch.cat([getattr(block, name) for block in blocks]) for name in Truth.__dataclass_fields__))
