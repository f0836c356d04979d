"""Sums of the Stein kernel u(x, y), with their gradients, in blocks of matrix products.

With s the score of the target, δ = x − y and r = |δ|²,
u = s(x)·s(y) κ + 2κ′ (s(y) − s(x))·δ − 4rκ″ − 2dκ′ = s·s k + s(x)·∇_y k + s(y)·∇_x k + ∇_x·∇_y k.
Source: Liu, Lee & Jordan, ICML 2016, arXiv 1602.03253, eq. (6); Chwialkowski, Strathmann & Gretton, ICML 2016.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.errors import Incompatible
from wgf.kernels.radial import Elementary, Radial
from wgf.layers import final

PAIRS = 2**17
"""Pairs a block on a CPU: ten arrays of float64, a MiB each, stay near the processor."""


def smooth_enough(kernel: Radial) -> Radial:
    """`kernel`, if κ, κ′ and κ″ are finite at zero. Raises: Incompatible otherwise."""
    for _, part in kernel.parts():
        if not (part.smooth or (isinstance(part, Elementary) and part.bounded >= 3)):
            raise Incompatible(
                f"a Stein discrepancy needs a kernel twice differentiable at z = 0, and {part.name} is not;"
                " try Gaussian, InverseMultiquadric or Matern52"
            )
    return kernel


def stein_sum(
    kernel: Radial,
    x: Float[Tensor, "n d"],
    score_x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    score_y: Float[Tensor, "m d"],
) -> Float[Tensor, " n"]:
    """1/m Σ_j u(x_i, y_j), differentiable once in all four; float32 is summed in float64."""
    return _SteinSum.apply(kernel, x, score_x, y, score_y)


def stein_slopes(
    kernel: Radial, x: Tensor, score_x: Tensor, y: Tensor, score_y: Tensor, weights: Float[Tensor, " m"]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Σ_j w_j ∂u(x_i, y_j)/∂x_i at fixed scores, and Σ_j w_j ∂u/∂s(x_i).

    Autograd sees through it where x or its scores ask for that, at the price of holding all pairs.
    """
    pair = _Pairs(kernel, x, score_x, y, score_y)
    by_x, by_score = torch.zeros_like(pair.x), torch.zeros_like(pair.x)
    w = weights.double()
    for i, j in pair.blocks():
        r, products, cross = pair.at(i, j)
        k, k1, k2, k3 = kernel.jet(r, x.shape[1], 3)
        push = 2 * w[j] * (products * k1 + 2 * k2 * cross - (4 + 2 * x.shape[1]) * k2 - 4 * r * k3)
        pull = 2 * w[j] * k1
        total = pull.sum(1, keepdim=True)
        by_x[i] += push.sum(1, keepdim=True) * pair.x[i] - push @ pair.y[j]
        by_x[i] += pull @ pair.score_y[j] - total * pair.score_x[i]
        by_score[i] += (w[j] * k) @ pair.score_y[j] - total * pair.x[i] + pull @ pair.y[j]
    return by_x.to(x), by_score.to(x)


class _Pairs:
    """Two sets of points about their common mean, with their scores, in float64."""

    def __init__(self, kernel: Radial, x: Tensor, score_x: Tensor, y: Tensor, score_y: Tensor) -> None:
        centre = y.double().mean(0)
        self.kernel, self.x, self.score_x = kernel, x.double() - centre, score_x.double()
        self.y = self.x if y is x else y.double() - centre
        self.score_y = self.score_x if score_y is score_x else score_y.double()
        self.square_x, self.square_y = (part.square().sum(1) for part in (self.x, self.y))
        self.own_x, self.own_y = (self.x * self.score_x).sum(1), (self.y * self.score_y).sum(1)
        one_x, one_y = torch.ones_like(self.own_x), torch.ones_like(self.own_y)
        self.far = _columns(self.x, self.square_x, one_x), _columns(-2 * self.y, one_y, self.square_y).T
        self.turned = (
            _columns(self.x, self.score_x, -self.own_x, one_x),
            _columns(self.score_y, self.y, one_y, -self.own_y).T,
        )
        self.near = 1e-9 * max(1e-300, float((self.square_x.max() + self.square_y.max()).detach()))

    def blocks(self, halves: bool = False) -> Iterator[tuple[slice, slice]]:
        """Blocks of rows and columns; with `halves`, those on and above the diagonal of square blocks."""
        n, m = len(self.x), len(self.y)
        pairs = PAIRS if self.x.device.type == "cpu" else 2**24
        rows = max(1, min(n, int(pairs**0.5)))
        columns = rows if halves else min(m, max(1, pairs // rows))
        for i in range(0, n, rows):
            for j in range(i if halves else 0, m, columns):
                yield slice(i, min(i + rows, n)), slice(j, min(j + columns, m))

    def at(self, i: slice, j: slice) -> tuple[Tensor, Tensor, Tensor]:
        """r, s(x)·s(y) and (s(y) − s(x))·δ of a block; near pairs by differences, for products lose them."""
        r, cross = (left[i] @ right[:, j] for left, right in (self.far, self.turned))
        if bool(r.amin() <= self.near):
            near = (r <= self.near).nonzero(as_tuple=True)
            delta = self.x[i][near[0]] - self.y[j][near[1]]
            r[near] = delta.square().sum(1)
            cross[near] = ((self.score_y[j][near[1]] - self.score_x[i][near[0]]) * delta).sum(1)
        return r, self.score_x[i] @ self.score_y[j].T, cross

    def u(self, i: slice, j: slice) -> Tensor:
        """u of a block."""
        r, products, cross = self.at(i, j)
        dim = self.x.shape[1]
        k, k1, k2 = self.kernel.jet(r, dim, 2)
        return products.mul_(k).addcmul_(k1, cross, value=2).addcmul_(r, k2, value=-4).sub_(k1, alpha=2 * dim)


def _columns(*parts: Tensor) -> Tensor:
    """Side by side: a product of two such matrices adds what the columns give, in one pass over the pairs."""
    return torch.cat([part if part.ndim == 2 else part[:, None] for part in parts], 1)


def stein_totals(kernel: Radial, x: Tensor, score: Tensor) -> tuple[float, float]:
    """Σ_ij u(x_i, x_j) and Σ_i u(x_i, x_i), each pair once, in blocks."""
    pair = _Pairs(smooth_enough(kernel), x, score, x, score)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    own = torch.zeros_like(total)
    for i, j in pair.blocks(halves=True):
        u = pair.u(i, j)
        total += u.sum() if i == j else 2 * u.sum()
        if i == j:
            own += u.diagonal().sum()
    return float(total), float(own)


class _SteinSum(torch.autograd.Function):
    """Row sums of u, with closed gradients: u is symmetric, so those in y are those in x with the roles exchanged."""

    @staticmethod
    def forward(ctx: Any, kernel: Radial, x: Tensor, score_x: Tensor, y: Tensor, score_y: Tensor) -> Tensor:
        ctx.kernel = kernel
        ctx.save_for_backward(x, score_x, y, score_y)
        pair = _Pairs(kernel, x, score_x, y, score_y)
        sums = pair.x.new_zeros(len(x))
        for i, j in pair.blocks():
            sums[i] += pair.u(i, j).sum(1)
        return (sums / len(y)).to(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, score_x, y, score_y = ctx.saved_tensors
        grads: list[Tensor | None] = [None] * 4
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            even = y.new_full((len(y),), 1 / len(y))
            parts = stein_slopes(ctx.kernel, x, score_x, y, score_y, even)
            grads[0], grads[1] = (slope[:, None] * part for part in parts)
        if ctx.needs_input_grad[3] or ctx.needs_input_grad[4]:
            parts = stein_slopes(ctx.kernel, y, score_y, x, score_x, slope)
            grads[2], grads[3] = (part / len(y) for part in parts)
        inputs = slope, x, score_x, y, score_y
        return None, *(None if grad is None else final(grad, *inputs) for grad in grads)
