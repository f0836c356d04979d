"""Laplace's approximation: the mode, and the inverse of the information there."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.functionals.base import Pointwise
from wgf.law import Gaussian


def climb(
    log_density: Pointwise, z: Float[Tensor, " d"], step: Float[Tensor, " d"], decrement: float
) -> Float[Tensor, " d"]:
    """z + t·step with t halved from 1 until the density gains a quarter of what the slope `decrement` promises."""
    value, length = float(log_density(z[None])), 1.0
    slack = 1e-12 * (1 + abs(value))  # near the mode the gain is below the rounding of the value
    while float(log_density((z + length * step)[None])) < value + 0.25 * length * decrement - slack and length > 1e-10:
        length /= 2
    return z + length * step


def at_mode(mode: Float[Tensor, " d"], information: Float[Tensor, "d d"]) -> Gaussian:
    """N(mode, information⁻¹)."""
    return Gaussian(mode, torch.cholesky_inverse(torch.linalg.cholesky(information)))
