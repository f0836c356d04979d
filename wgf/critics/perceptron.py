"""A multilayer perceptron as a critic."""

import operator
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import checks
from wgf.activations import Activation, Silu
from wgf.critics.base import ScalarField, spread
from wgf.layers import input_gradients, perceptron, weight_gradients
from wgf.networks import MLP


class Critic(ScalarField):
    """u(x) = N(y) + ½yᵀAy + bᵀy, y = (x − m)/s, (n, d) -> (n,): a multilayer perceptron of standardised inputs, zero at
    the start; the second and third term with `quadratic` only, which makes log-ratios of Gaussians exact.

    m and s, mean and standard deviation per coordinate, are fixed when the critic first meets particles and reference
    law, and are saved with its weights. Its raw output u is mapped into a dual's domain by the dual (`Dual.head`).
    `frequency` ≥ 1, of the features that N starts from: what has structure far below s is seen much sooner with 4 or 8.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        dim: int,
        width: int = 64,
        depth: int = 2,
        activation: Activation = Silu(),
        quadratic: bool = False,
        frequency: float = 1.0,
    ) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.network = MLP(dim, 1, width, depth, activation, zero_last=True, frequency=frequency)
        self.bend = nn.Parameter(torch.zeros(dim, dim)) if quadratic else None
        self.slope = nn.Parameter(torch.zeros(dim)) if quadratic else None
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def reset(self, generator: torch.Generator) -> None:
        """Draw initial weights from `generator`."""
        self.network.reset(generator)
        for part in (self.bend, self.slope):
            if part is not None:
                nn.init.zeros_(part)

    def standardise(self, x: Float[Tensor, "n d"]) -> None:
        """Fix m and s to those of the rows."""
        self.mean.copy_(x.mean(0))
        self.scale.copy_(spread(x).clamp_min(1e-6))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return perceptron(self._standard(x), self.network.activation, self.network.weights, self._quadratic).squeeze(1)

    def gradients(
        self, x: Float[Tensor, "n d"], weights: Sequence[nn.Parameter], rates: Callable[[Tensor], Tensor]
    ) -> list[Tensor]:
        """By hand; by autograd where the weights are not all of these, or a subclass makes something else of them."""
        layers, quadratic = self.network.weights, self._quadratic
        if type(self) is not Critic or not _same(weights, [*quadratic, *layers]):
            return super().gradients(x, weights, rates)
        with torch.no_grad():
            found = weight_gradients(self._standard(x), self.network.activation, layers, quadratic, rates)
        return [*found[len(layers) :], *found[: len(layers)]]

    def slopes(self, x: Float[Tensor, "n d"], rates: Callable[[Tensor], Tensor] | float) -> Float[Tensor, "n d"]:
        """By hand, but in a subclass."""
        if type(self) is not Critic:
            return super().slopes(x, rates)
        network = self.network
        with torch.no_grad():
            y = self._standard(x)
            return input_gradients(y, network.activation, network.weights, self._quadratic, rates).div_(self.scale)

    def _standard(self, x: Tensor) -> Tensor:
        return (x - self.mean).div_(self.scale)

    @property
    def _quadratic(self) -> Sequence[Tensor]:
        return () if self.bend is None or self.slope is None else (self.bend, self.slope)


def _same(ones: Sequence[object], others: Sequence[object]) -> bool:
    return len(ones) == len(others) and all(map(operator.is_, ones, others))
