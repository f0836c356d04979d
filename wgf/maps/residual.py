"""Residual maps x ↦ x + N(x), N a multilayer perceptron: the workhorse of neural JKO steps."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import checks
from wgf.activations import Activation, Tanh
from wgf.errors import InputError
from wgf.maps.base import Static
from wgf.networks import MLP

REACH = 3.0
"""Knots lie between −REACH and REACH."""


class Residual(Static):
    """T(x) = x + N(x); the identity at the start (the last layer of N is zero).

    With `knots`, T(x)_a = x_a + N(x)_a + (Mx)_a + Σ_k c_ka tanh((x_a − t_k)/s): each coordinate may be bent on its own,
    which N has to find a direction for first. For coordinates of order one, such as those of a `Whitened` target, whose
    marginals are skewed.

    A trained residual map need not be invertible: `inverse` solves by Newton and checks.
    Cost: for the Jacobian one product with one hidden layer, else one (d·n, width) product a layer; then a determinant
    a row.
    Args: width and depth ≥ 1 of N, activation; knots, how many t_k there are, evenly from −3 to 3, s their distance: 0
    for none, or at least 2. Raises: InputError for an argument outside these ranges.
    """

    def __init__(
        self, dim: int, width: int = 64, depth: int = 1, activation: Activation = Tanh(), knots: int = 0
    ) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.network = MLP(dim, dim, width, depth, activation, zero_last=True)
        if checks.at_least("knots", knots, 0) == 1:
            raise InputError(f"a Residual map has no knots (0), or at least 2 in each coordinate, got {knots}")
        self.knots = knots
        if knots:
            self.matrix = nn.Parameter(torch.zeros(dim, dim))
            self.bends = nn.Parameter(torch.zeros(knots, dim))

    def reset(self, generator: torch.Generator) -> None:
        self.network.reset(generator)
        if self.knots:
            nn.init.zeros_(self.matrix)
            nn.init.zeros_(self.bends)

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        y = x + self.network(x)
        return y + x @ self.matrix.T + (self._steps(x) * self.bends).sum(1) if self.knots else y

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        change, J = self.network.jacobian(x)
        J = torch.eye(self.dim, dtype=x.dtype, device=x.device) + J
        if not self.knots:
            return x + change, J
        steps = self._steps(x)
        slopes = ((1 - steps.square()) * self.bends).sum(1) / self._distance
        y = x + change + x @ self.matrix.T + (steps * self.bends).sum(1)
        return y, J + self.matrix + torch.diag_embed(slopes)

    @property
    def _distance(self) -> float:
        return 2 * REACH / (self.knots - 1)

    def _steps(self, x: Tensor) -> Tensor:
        """tanh((x_a − t_k)/s), (n, k, d)."""
        places = torch.linspace(-REACH, REACH, self.knots, dtype=x.dtype, device=x.device)
        return ((x[:, None, :] - places[:, None]) / self._distance).tanh()
