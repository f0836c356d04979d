"""Multilayer perceptrons with tangents: the networks inside maps, velocities and critics."""

import math
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import checks
from wgf.activations import Activation, Tanh
from wgf.layers import perceptron
from wgf.traces import short_trace


def raise_frequency(weight: Tensor, bias: Tensor, frequency: float, generator: torch.Generator) -> None:
    """Multiply drawn weights of a first layer by f and add N(0, (f − 1)²/4) to its biases, in place."""
    if frequency > 1:
        weight.mul_(frequency)
        drawn = torch.randn(bias.shape, generator=generator, device=generator.device)
        bias.add_((frequency - 1) / 2 * drawn.to(bias))


class MLP(nn.Module):
    """x ↦ W_L σ(… σ(W_1 x + b_1) …) + b_L on (n, inputs) -> (n, outputs).

    Args: depth, the number of hidden layers, at least 1; width, theirs; zero_last, start with the last layer at zero;
    frequency, f ≥ 1, of the features it starts from. Weights start as N(0, 1/fan_in) and biases at zero, those of the
    first layer as N(0, f²/fan_in) and N(0, (f − 1)²/4), from `reset`'s generator, never from torch's global one.
    Descent learns low frequencies first (Rahaman et al. 2019, arXiv 1806.08734).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        depth: int = 1,
        activation: Activation = Tanh(),
        zero_last: bool = False,
        frequency: float = 1.0,
    ) -> None:
        super().__init__()
        self.frequency = checks.from_one("frequency", frequency)
        for name, value in (("inputs", inputs), ("outputs", outputs), ("width", width), ("depth", depth)):
            checks.at_least(f"the {name} of a network", value, 1)
        sizes = [inputs, *[width] * depth, outputs]
        self.layers = nn.ModuleList(nn.utils.skip_init(nn.Linear, *pair) for pair in pairwise(sizes))
        self.activation, self.zero_last = activation, zero_last
        self.reset(torch.Generator().manual_seed(0))

    @property
    def outputs(self) -> int:
        """How many numbers come out."""
        return len(self._linear[-1].weight)

    def reset(self, generator: torch.Generator) -> None:
        """Draw new initial weights from `generator`."""
        with torch.no_grad():
            for layer in self._linear:
                drawn = torch.randn(layer.weight.shape, generator=generator, device=generator.device)
                layer.weight.copy_(drawn / math.sqrt(layer.weight.shape[1]))
                layer.bias.zero_()
            raise_frequency(self._linear[0].weight, self._linear[0].bias, self.frequency, generator)
            if self.zero_last:
                self._linear[-1].weight.zero_()

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        return perceptron(x, self.activation, self.weights)

    def tangents(
        self, x: Float[Tensor, "n inputs"], dx: Float[Tensor, "k n inputs"] | None = None
    ) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "k n outputs"]]:
        """The value and the directional derivatives along k tangents at once: one (k·n, width) product a layer.

        Without `dx`, along the first `outputs` unit vectors, whose first product is free.
        """
        x, dx = self._hidden(x, dx)
        last = self._linear[-1]
        return last(x), dx @ last.weight.T

    def jacobian(
        self, x: Float[Tensor, "n inputs"]
    ) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "n outputs outputs"]]:
        """The value and its Jacobian in the first `outputs` inputs.

        With one hidden layer J = Σ_h σ′_h (W_2)_{·h} (W_1)_{h·} is linear in σ′: one product for all rows.
        """
        first, last = self._linear[0], self._linear[-1]
        if len(self._linear) > 2:
            y, tangents = self.tangents(x)
            return y, tangents.permute(1, 2, 0)
        hidden, slope = self.activation.pair(first(x))
        outputs = len(last.weight)
        outer = last.weight.T[:, :, None] * first.weight[:, None, :outputs]
        return last(hidden), (slope @ outer.flatten(1)).view(len(x), outputs, outputs)

    def trace(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, " n"]:
        """Σ_a ∂f_a/∂x_a over the first `outputs` inputs; its cost is free of d up to two hidden layers."""
        if len(self._linear) <= 3:
            return short_trace(x, self.activation, self.weights)
        return torch.einsum("knw,kw->n", self._hidden(x, None)[1], self._linear[-1].weight)

    def quadratic(self, x: Float[Tensor, "n inputs"], dx: Float[Tensor, "k n inputs"]) -> Float[Tensor, " n"]:
        """Σ_k ⟨dx_k, ∇f dx_k⟩, the first factor in the first `outputs` inputs."""
        last = self._linear[-1].weight
        return ((self._hidden(x, dx)[1] @ last.T) * dx[..., : len(last)]).sum((0, 2))

    def _hidden(self, x: Tensor, dx: Tensor | None) -> tuple[Tensor, Tensor]:
        first = self._linear[0]
        x, slope = self.activation.pair(first(x))
        outputs = len(self._linear[-1].weight)
        dx = slope * (first.weight.T[:outputs, None, :] if dx is None else dx @ first.weight.T)
        for layer in self._linear[1:-1]:
            x, slope = self.activation.pair(layer(x))
            dx = slope * (dx @ layer.weight.T)
        return x, dx

    @property
    def _linear(self) -> list[nn.Linear]:
        return cast("list[nn.Linear]", list(self.layers))

    @property
    def weights(self) -> list[Tensor]:
        """W_1, b_1, …, W_L, b_L."""
        return [w for layer in self._linear for w in (layer.weight, layer.bias)]
