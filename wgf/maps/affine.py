"""Affine maps x ↦ M x + c: exact for Gaussians under quadratic potentials."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import checks
from wgf.maps.base import Static


class Affine(Static):
    """T(x) = M x + c with a full matrix M (d, d) and a shift c (d,); the identity at the start."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.matrix = nn.Parameter(torch.eye(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    def reset(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            self.matrix.copy_(torch.eye(self.dim))
            self.shift.zero_()

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return x @ self.matrix.T + self.shift

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        return self.move(x), self.matrix.expand(len(x), self.dim, self.dim)
