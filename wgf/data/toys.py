"""Laws in the plane that generative models are tried on, with exact densities: many modes, and nested circles."""

import torch

from wgf import checks
from wgf.law import Gaussian, Mixture
from wgf.ring import Ring


def grid_of_gaussians(side: int = 5, spacing: float = 3.0, noise: float = 0.005) -> Mixture:
    """The even mixture of N((si, sj), σ²I) over a grid of side × side centres about the origin, in float64.

    Its defaults are the 25 Gaussians of Choi et al. 2024 (arXiv 2402.05443): centres (3i, 3j), −2 ≤ i, j ≤ 2.

    Args: side ≥ 1, centres a side; spacing, s > 0; noise, σ > 0, the standard deviation of a coordinate.
    Raises: InputError for an argument outside these ranges.
    """
    middle = (checks.at_least("side", side, 1) - 1) / 2
    places = checks.positive("spacing", spacing) * (torch.arange(side, dtype=torch.float64) - middle)
    covariance = checks.positive("noise", noise) ** 2 * torch.eye(2, dtype=torch.float64)
    return Mixture([Gaussian(centre, covariance) for centre in torch.cartesian_prod(places, places)])


def two_circles(inner: float = 4.0, outer: float = 8.0, noise: float = 0.2) -> Mixture:
    """As much mass on each of two noisy circles about the origin, in float64.

    Its defaults are the two circles of Choi et al. 2024 (arXiv 2402.05443).

    Args: inner, outer > 0, the radii; noise, σ > 0, the standard deviation of a coordinate.
    Raises: InputError for an argument outside these ranges.
    """
    return Mixture([Ring(inner, noise), Ring(outer, noise)])
