"""Affine maps x ↦ M x + c: exact for Gaussians under quadratic potentials."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import autodiff, checks
from wgf.layers import outer
from wgf.maps.base import Static, Transport, half_square


class Affine(Static):
    """T(x) = M (x − m) + m + c with a full matrix M (d, d) and a shift c (d,); the identity at the start.

    m, `centre`, is no weight but the mean of the rows that M and c are trained on: about any other point the slopes in
    M carry those in c, and first-order methods converge at a rate that falls with |m|².
    """

    centre: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.matrix = nn.Parameter(torch.eye(dim))
        self.shift = nn.Parameter(torch.zeros(dim))
        self.register_buffer("centre", torch.zeros(dim))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        self.matrix.copy_(torch.eye(self.dim))
        self.shift.zero_()

    @torch.no_grad()
    def recentre(self, x: Float[Tensor, "n d"]) -> None:
        mean = x.mean(0)
        self.shift.add_((self.matrix - torch.eye(self.dim).to(x)) @ (mean - self.centre))
        self.centre.copy_(mean)

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return torch.addmm(self.centre + self.shift, x - self.centre, self.matrix.T)

    def gradients(
        self, x: Float[Tensor, "n d"], weights: Sequence[nn.Parameter], pull: Callable[[Tensor], Tensor]
    ) -> list[Tensor]:
        """By hand: Σ g_i (x_i − m)ᵀ and Σ g_i."""
        if type(self) is not Affine or len(weights) != 2 or weights[0] is not self.matrix:
            return super().gradients(x, weights, pull)
        with torch.no_grad():
            y = self.move(x)
        g = pull(y)
        with torch.no_grad():
            return [outer(g, x - self.centre), g.sum(0)]

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        return self.move(x), self.matrix.expand(len(x), self.dim, self.dim)

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        y = self.move(x)
        if not logdet:
            return Transport(y, half_square(y - x))
        value, folded = autodiff.log_abs_det(self.jacobian(x[:1])[1])  # one for all rows
        return Transport(y, half_square(y - x), value.expand(len(x)).clone(), folded.expand(len(x)).clone())
