"""A critic that is Lipschitz whatever its weights: orthonormal layers and sorted pairs."""

import math
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import checks
from wgf.critics.base import ScalarField, spread
from wgf.errors import InputError


class LipschitzCritic(ScalarField):
    """u(x) = L s Q_L σ(… σ(Q_1 (x − m)/s + b_1) …), |∇u| ≤ L for any weights, (n, d) -> (n,).

    Q_k have orthonormal rows or columns, the Q of a QR decomposition, and σ sorts neighbouring pairs: both keep norms,
    so that gradients do not die out with depth, and such networks approximate any L-Lipschitz function. m and s, mean
    and mean standard deviation, are fixed when the critic first meets particles. Source: Anil, Lucas, Grosse 2019
    (arXiv 1811.05381).

    Args: dim; L > 0, the constant; width, even; depth, hidden layers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int, L: float = 1.0, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.constant = checks.positive("the Lipschitz constant L", L)
        checks.at_least("depth", depth, 1)
        if checks.at_least("width", width, 2) % 2:
            raise InputError(f"the width of a LipschitzCritic must be even, for its neighbours are sorted, got {width}")
        sizes = [dim, *[width] * depth, 1]
        self.weights = nn.ParameterList(torch.empty(out, into) for into, out in pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(out) for out in sizes[1:])
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))
        self.reset(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        for weight, bias in zip(self.weights, self.biases, strict=True):
            drawn = torch.randn(weight.shape, generator=generator, device=generator.device)
            weight.copy_(drawn / math.sqrt(weight.shape[1]))
            bias.zero_()

    def standardise(self, x: Float[Tensor, "n d"]) -> None:
        self.mean.copy_(x.mean(0))
        self.scale.copy_(spread(x).mean().clamp_min(1e-6))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        x = (x - self.mean) / self.scale
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in hidden:
            x = torch.addmm(bias, x, _orthonormal(weight).T).unflatten(1, (-1, 2)).sort(-1).values.flatten(1)
        weight, bias = last
        return cast(float, self.constant) * self.scale * torch.addmm(bias, x, _orthonormal(weight).T)[:, 0]


def _orthonormal(weight: Tensor) -> Tensor:
    """The Q of a QR decomposition: orthonormal columns, or rows where there are fewer."""
    rows, columns = weight.shape
    return torch.linalg.qr(weight)[0] if rows >= columns else torch.linalg.qr(weight.T)[0].T
