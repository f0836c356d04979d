"""Convolutional blocks of images: what critics and maps of images share."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


class ResidualBlock(nn.Module):
    """x ↦ (skip(x) + conv(σ(conv(σ(x)))))/√2 at one resolution, (n, inputs, h, w) -> (n, outputs, h, w), σ = silu.

    3 × 3 convolutions, a 1 × 1 one for the skip, no batch normalisation: images do not mix.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.utils.skip_init(nn.Conv2d, inputs, outputs, 3, padding=1)
        self.second = nn.utils.skip_init(nn.Conv2d, outputs, outputs, 3, padding=1)
        self.skip = nn.utils.skip_init(nn.Conv2d, inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        change = self.second(silu(self.first(silu(x))))
        return (self.skip(x) + change) / math.sqrt(2)


@torch.no_grad()
def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all convolutions and linear layers from N(0, 1/fan_in), their biases zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            drawn = torch.randn(module.weight.shape, generator=generator, device=generator.device)
            module.weight.copy_(drawn / math.sqrt(module.weight[0].numel()))
            assert module.bias is not None
            module.bias.zero_()
