"""The law that an image is: as much mass in each pixel as it is heavy, evenly spread in it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.law import Law, Like

MOST = 2**24
"""Pixels that torch.multinomial can choose from."""


class Pixels(Law):
    """The law on a rectangle of the plane with ρ(x) = w_ij / (Σw · area of a pixel) on pixel (i, j), and 0 outside.

    The weights lie as images do: row 0 along the upper edge, column 0 along the left one.

    Args: weights (h, w), not negative and not all zero, in any unit; low and high, the lower left and the upper right
    corner.
    Raises: InputError for other weights, more than 2²⁴ of them, or corners that are not low < high.
    """

    def __init__(self, weights: Float[Tensor, "h w"], low: Like = (-1.0, -1.0), high: Like = (1.0, 1.0)) -> None:
        self.weights = _weights(weights)
        self.low, self.high = (
            checks.vector(f"the {name} corner of Pixels", corner, 2, self.weights).to(self.weights)
            for name, corner in (("lower left", low), ("upper right", high))
        )
        if not (self.low < self.high).all():
            raise InputError(
                f"Pixels need low < high in both coordinates, got {self.low.tolist()} and {self.high.tolist()}"
            )

    @property
    def like(self) -> Tensor:
        return self.low

    @property
    def has_density(self) -> bool:
        return True

    @property
    def pixel(self) -> Float[Tensor, "2"]:
        """Width and height of a pixel."""
        height, width = self.weights.shape
        return (self.high - self.low) / self.low.new_tensor([width, height])

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 2"]:
        chosen = torch.multinomial(self.weights.flatten(), n, replacement=True, generator=generator)
        height, width = self.weights.shape
        corner = torch.stack([chosen % width, height - 1 - chosen // width], 1)
        inside = torch.rand(n, 2, dtype=self.low.dtype, device=self.low.device, generator=generator)
        return self.low + (corner + inside) * self.pixel

    def log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        if x.ndim != 2 or x.shape[1] != 2:
            raise InputError(f"log_prob needs a tensor of shape (n, 2), got {tuple(x.shape)}")
        height, width = self.weights.shape
        inside = ((x >= self.low) & (x <= self.high)).all(1)
        corner = torch.where(inside[:, None], (x - self.low) / self.pixel, 0).long()
        row, column = height - 1 - corner[:, 1].clamp(max=height - 1), corner[:, 0].clamp(max=width - 1)
        density = self.weights[row, column] / self.pixel.prod()
        return torch.where(inside, density.log(), -math.inf)

    def to(self, target: torch.dtype | torch.device | str) -> "Pixels":
        return Pixels(self.weights.to(target), self.low.to(target), self.high.to(target))


def _weights(weights: Tensor) -> Tensor:
    """The weights over their sum."""
    weights = checks.real("the weights of Pixels", weights)
    if weights.ndim != 2 or not 0 < weights.numel() <= MOST:
        raise InputError(
            f"the weights of Pixels must have shape (h, w), 1 to {MOST} of them, got {tuple(weights.shape)}"
        )
    total = weights.double().sum()
    if (weights < 0).any() or not total > 0:
        raise InputError(
            f"the weights of Pixels must be 0 or more, and somewhere above it, got {float(weights.min()):.3g} to"
            f" {float(weights.max()):.3g}"
        )
    return (weights.double() / total).to(weights.dtype)
