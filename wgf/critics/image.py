"""A small residual network of convolutions as a critic of images."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, silu

from wgf import checks
from wgf.convolutions import ResidualBlock, draw_weights
from wgf.critics.base import ScalarField


class ImageCritic(ScalarField):
    """u(x) = wᵀ Σ_pixels σ(B_K … B_1 x), residual blocks B_k of 3×3 convolutions, each halving the resolution.

    Rows (n, c·h·w) are images (c, h, w), flattened; inputs are centred, and scaled as a whole. Zero at the start. No
    batch normalisation: rows do not mix. Source: the residual critics of Miyato et al. 2018 (arXiv 1802.05957), app. B.

    Args: channels, height, width of the images; features of the first block, doubled in each; blocks.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, height: int, width: int, features: int = 16, blocks: int = 3) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("height", height), ("width", width), ("features", features)):
            checks.at_least(name, value, 1)
        self.shape = channels, height, width
        self.dim = channels * height * width
        sizes = [features * 2**k for k in range(checks.at_least("blocks", blocks, 1) + 1)]
        self.stem = nn.utils.skip_init(nn.Conv2d, channels, features, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(one, other) for one, other in pairwise(sizes))
        self.last = nn.utils.skip_init(nn.Linear, sizes[-1], 1)
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("scale", torch.ones(()))
        self.reset(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        draw_weights(self, generator)
        self.last.weight.zero_()

    def standardise(self, x: Float[Tensor, "n d"]) -> None:
        self.mean.copy_(x.mean(0))
        self.scale.copy_((x - self.mean).std().clamp_min(1e-6))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        images = ((x - self.mean) / self.scale).unflatten(1, self.shape)
        features = self.stem(images)
        for block in self.blocks:
            features = avg_pool2d(block(features), 2, ceil_mode=True)
        return self.last(silu(features).mean((2, 3)))[:, 0]
