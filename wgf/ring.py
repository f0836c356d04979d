"""Circles seen through Gaussian noise, with their exact density."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.law import Law


class Ring(Law):
    """The law of R(cos θ, sin θ) + σZ in the plane, θ uniform, Z ~ N(0, I): mean 0, covariance (R²/2 + σ²)I.

    ρ(x) = exp(−(r − R)²/2σ²) I₀ᵉ(rR/σ²)/2πσ², r = |x| and I₀ᵉ(z) = e^{−z}I₀(z) the scaled Bessel function: |x| has
    Rice's law. Nothing overflows however small the noise.

    Args: radius, R > 0, and noise, σ > 0, both in units of x; dtype, float64 by default.
    Raises: InputError for an argument outside these ranges.
    """

    def __init__(self, radius: float, noise: float, dtype: torch.dtype = torch.float64) -> None:
        self.radius = checks.positive("the radius of a Ring", radius)
        self.noise = checks.positive("the noise of a Ring", noise)
        self._like = torch.zeros(2, dtype=dtype)

    @property
    def like(self) -> Tensor:
        return self._like

    @property
    def has_density(self) -> bool:
        return True

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 2"]:
        like = self._like
        angle = 2 * math.pi * torch.rand(n, dtype=like.dtype, device=like.device, generator=generator)
        noise = torch.randn(n, 2, dtype=like.dtype, device=like.device, generator=generator)
        return self.radius * torch.stack([angle.cos(), angle.sin()], 1) + self.noise * noise

    def log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        if x.ndim != 2 or x.shape[1] != 2:
            raise InputError(f"log_prob needs a tensor of shape (n, 2), got {tuple(x.shape)}")
        variance, r = self.noise**2, x.norm(dim=1)
        bessel = torch.special.i0e(r * self.radius / variance).log()
        return bessel - 0.5 * (r - self.radius).square() / variance - math.log(2 * math.pi * variance)

    def to(self, target: torch.dtype | torch.device | str) -> "Ring":
        moved = Ring(self.radius, self.noise)
        moved._like = self._like.to(target)
        return moved
