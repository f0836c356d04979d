"""A U-Net as a map of images: residual, at several resolutions, the identity at the start."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, silu

from wgf import autodiff, checks
from wgf.convolutions import ResidualBlock, draw_weights
from wgf.errors import InputError
from wgf.maps.base import Static


class UNet(Static):
    """T(x) = x + N(x), N a U-Net: blocks that halve the resolution, blocks that double it again, skips across.

    Rows (n, c·h·w) are images (c, h, w), flattened, as `ImageCritic` reads them. The identity at the start: the last
    convolution of N is zero. No normalisation over the batch: rows do not mix. Source: Ronneberger, Fischer, Brox 2015
    (arXiv 1505.04597), with residual blocks of 3 × 3 convolutions.
    Cost: a Jacobian takes d = c·h·w tangents in forward mode, and a determinant a row.

    Args: channels, height, width of the images; features at the full resolution, doubled at each below; levels, how
    often the resolution is halved, so that height and width must be multiples of 2^levels.
    Raises: InputError for sizes that the levels do not divide.
    """

    def __init__(self, channels: int, height: int, width: int, features: int = 16, levels: int = 2) -> None:
        super().__init__()
        sides = (("channels", channels), ("height", height), ("width", width), ("features", features))
        for name, value in (*sides, ("levels", levels)):
            checks.at_least(name, value, 1)
        if height % 2**levels or width % 2**levels:
            raise InputError(
                f"a UNet of {levels} levels needs images whose height and width are multiples of {2**levels}, got"
                f" {height} × {width}; take fewer levels, or pad the images"
            )
        self.shape = channels, height, width
        self.dim = channels * height * width
        sizes = [features * 2**k for k in range(levels + 1)]
        self.first = nn.utils.skip_init(nn.Conv2d, channels, features, 3, padding=1)
        self.down = nn.ModuleList(ResidualBlock(fine, coarse) for fine, coarse in pairwise(sizes))
        self.up = nn.ModuleList(ResidualBlock(coarse + fine, fine) for fine, coarse in pairwise(sizes))
        self.last = nn.utils.skip_init(nn.Conv2d, features, channels, 3, padding=1)
        self.reset(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        draw_weights(self, generator)
        self.last.weight.zero_()

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        features = [self.first(x.unflatten(1, self.shape))]
        for block in self.down:
            features.append(avg_pool2d(block(features[-1]), 2))
        coarse = features.pop()
        for block in reversed(self.up):
            coarse = block(torch.cat([interpolate(coarse, scale_factor=2), features.pop()], 1))
        return x + self.last(silu(coarse)).flatten(1)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        return autodiff.forward_jacobian(self.move, x)
