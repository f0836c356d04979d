"""The one entrance to sums over pairs: Σ_j w_j k(x_i − y_j) and its gradient in x, in blocks of bounded memory."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.kernels.radial import Radial

BYTES = 64 * 2**20  # what one block of differences may take


def kernel_sum(
    kernel: Radial, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], weights: Float[Tensor, " m"] | None = None
) -> Float[Tensor, " n"]:
    """Σ_j w_j k(x_i − y_j), w = 1/m by default. Differences are taken before squares, so distant tight clusters keep
    their digits. Differentiable in x, y and w; the graph, where one is recorded, holds the n·m pairs.

    Raises: InputError for x and y of different dtype or device.
    """
    checks.alike("y", y, "x", x)
    return torch.cat(
        [_weigh(kernel.value(delta.square().sum(-1), x.shape[1]), weights) for delta in _differences(x, y)]
    )


def kernel_sum_gradient(
    kernel: Radial, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], weights: Float[Tensor, " m"] | None = None
) -> Float[Tensor, "n d"]:
    """∇_x Σ_j w_j k(x_i − y_j) = Σ_j 2 w_j κ′(|x_i − y_j|²) (x_i − y_j), in closed form."""
    checks.alike("y", y, "x", x)
    parts = []
    for delta in _differences(x, y):
        slope = 2 * kernel.derivative(delta.square().sum(-1), x.shape[1])
        slope = slope / len(y) if weights is None else slope * weights
        parts.append(torch.einsum("nm,nmd->nd", slope, delta))
    return torch.cat(parts)


def _weigh(values: Tensor, weights: Tensor | None) -> Tensor:
    return values.mean(-1) if weights is None else values @ weights


def _differences(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    block = max(1, BYTES // (y.numel() * y.element_size()))
    for start in range(0, len(x), block):
        yield x[start : start + block, None, :] - y[None, :, :]
