"""Residual maps x ↦ x + N(x), N a multilayer perceptron: the workhorse of neural JKO steps."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.maps.base import Static
from wgf.networks import MLP, Activation, Tanh


class Residual(Static):
    """T(x) = x + N(x); the identity at the start (the last layer of N is zero).

    A trained residual map need not be invertible: `inverse` solves by Newton and checks.
    Cost: for the Jacobian one product with one hidden layer, else one (d·n, width) product a layer; then a determinant
    a row.
    """

    def __init__(self, dim: int, width: int = 64, depth: int = 1, activation: Activation = Tanh()) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.network = MLP(dim, dim, width, depth, activation, zero_last=True)

    def reset(self, generator: torch.Generator) -> None:
        self.network.reset(generator)

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return x + self.network(x)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        change, J = self.network.jacobian(x)
        return x + change, torch.eye(self.dim, dtype=x.dtype, device=x.device) + J
