"""Gradients of input-convex networks: maps that are monotone, cannot fold and invert by a convex problem."""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from wgf import checks
from wgf.maps.base import Static

FIRST = 0.1
"""Weights between hidden layers at the start, times how many of them meet."""

SMALL = 1e-3
"""√w at the start: squares keep w ≥ 0 and have a slope everywhere but at zero."""


class ICNN(Static):
    """T = ∇ψ, ψ(x) = ½ s|x|² + cᵀx + wᵀz_L, z_k = σ(W_k z_{k−1} + A_k x + b_k), W_k, w ≥ 0, σ = log(1 + e^·), s > 0.

    ψ is strictly convex, ∇²ψ ⪰ s, so that T is the optimal map of Brenier's theorem, det ∇T > 0 everywhere and T(x) = y
    has one solution. Gradient and Hessian are closed forms: with p_k = ∂ψ/∂z_k and J_k the Jacobian of
    W_k z_{k−1} + A_k x, ∇²ψ = s + Σ_k J_kᵀ diag(p_k σ″_k) J_k, a sum of positive parts. The identity at the start, to
    10⁻⁵: s = 1, c = 0, w = 10⁻⁶. Sources: Amos, Xu, Kolter 2017 (arXiv 1609.07152); the skip connections from x as in
    Korotin et al. 2021 (arXiv 1909.13082).

    Args: dim; width and depth of the hidden layers.
    """

    def __init__(self, dim: int, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        for name, value in (("width", width), ("depth", depth)):
            checks.at_least(f"the {name} of a network", value, 1)
        self.skips = nn.ModuleList(nn.utils.skip_init(nn.Linear, dim, width) for _ in range(depth))
        self.between = nn.ParameterList(torch.empty(width, width) for _ in range(depth - 1))
        self.root = nn.Parameter(torch.empty(width))
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.shift = nn.Parameter(torch.zeros(dim))
        self.reset(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        def normal(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator, device=generator.device).to(like)

        for skip in self.skips:
            assert isinstance(skip, nn.Linear)
            skip.weight.copy_(2 * normal(skip.weight) / math.sqrt(self.dim))
            skip.bias.copy_(normal(skip.bias))
        for weight in self.between:  # softplus of it is about FIRST/width
            weight.copy_(math.log(FIRST / len(weight)) + 0.5 * normal(weight))
        self.root.fill_(SMALL)
        self.log_scale.zero_()
        self.shift.zero_()

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        heights, weights = self._heights(x)
        return self._gradient(x, heights, weights)[0]

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        heights, weights = self._heights(x)
        y, prices = self._gradient(x, heights, weights)
        H = self.log_scale.exp() * torch.eye(self.dim, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        slopes = self._skips[0].expand(len(x), -1, -1)
        for k, (height, price) in enumerate(zip(heights, prices, strict=True)):
            if k > 0:
                slopes = weights[k - 1] @ (torch.sigmoid(heights[k - 1])[:, :, None] * slopes) + self._skips[k]
            s = torch.sigmoid(height)
            H = H + slopes.mT @ ((price * s * (1 - s))[:, :, None] * slopes)
        return y, H

    def potential(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """ψ(x_i)."""
        heights, _ = self._heights(x)
        quadratic = 0.5 * self.log_scale.exp() * x.square().sum(1)
        return quadratic + x @ self.shift + softplus(heights[-1]) @ self.root.square()

    @property
    def _skips(self) -> list[Tensor]:
        return [skip.weight for skip in self.skips if isinstance(skip, nn.Linear)]

    def _heights(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """W_k z_{k−1} + A_k x + b_k of every layer, and the W_k between them."""
        weights = [softplus(weight) for weight in self.between]
        heights = [self.skips[0](x)]
        for weight, skip in zip(weights, list(self.skips)[1:], strict=True):
            heights.append(softplus(heights[-1]) @ weight.T + skip(x))
        return heights, weights

    def _gradient(self, x: Tensor, heights: list[Tensor], weights: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """∇ψ, and p_k of every layer."""
        prices = [self.root.square().expand(len(x), -1)]
        for (_, height), weight in zip(reversed(list(pairwise(heights))), reversed(weights), strict=True):
            prices.insert(0, (prices[0] * torch.sigmoid(height)) @ weight)
        y = self.log_scale.exp() * x + self.shift
        for height, price, skip in zip(heights, prices, self._skips, strict=True):
            y = y + (price * torch.sigmoid(height)) @ skip
        return y, prices
