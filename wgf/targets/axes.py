"""A Gaussian moved to where a target lies along each of its axes: more than a mode and a curvature know."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.functionals.base import Pointwise
from wgf.law import Gaussian

NODES, REACH = 81, 8.0
"""Points of the quadrature along an axis, and how far it goes, in standard deviations."""


def along_axes(log_density: Pointwise, law: Gaussian, sweeps: int = 8) -> Gaussian:
    """N(m, LLᵀ) with m and the columns of L moved to the mean and deviation of π along each of its axes.

    In y = L⁻¹(z − m), with one coordinate free and the others zero, π is a density on the line, whose mean μ_a and
    deviation s_a are found by quadrature; in each sweep m ← m + ½Lμ and L_a ← L_a √s_a. A Gaussian π is a fixed point,
    and so is a product whose marginals have those moments: skewness, which moves a mean away from its mode, is seen.

    Args: log_density, log π (n, d) -> (n,), up to a constant; law, a first approximation, such as Laplace's, at the
    scale of π; sweeps ≥ 1, each d·81 evaluations.
    """
    t = torch.linspace(-REACH, REACH, NODES, dtype=law.mean.dtype, device=law.mean.device)
    for _ in range(checks.at_least("sweeps", sweeps, 1)):
        factor = torch.linalg.cholesky(law.covariance)
        mean, deviation = _sections(log_density, law.mean, factor, t)
        moved = factor * deviation.sqrt()
        covariance = moved @ moved.T
        law = Gaussian(law.mean + 0.5 * factor @ mean, (covariance + covariance.T) / 2)
    return law


@torch.no_grad()
def _sections(
    log_density: Pointwise, mean: Float[Tensor, " d"], factor: Float[Tensor, "d d"], t: Float[Tensor, " k"]
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Mean and deviation of the target along each column of the factor, in its units."""
    d = len(mean)
    z = mean + t[None, :, None] * factor.T[:, None, :]
    weights = torch.softmax(log_density(z.reshape(-1, d)).view(d, len(t)), 1)
    first = weights @ t
    return first, (weights @ t.square() - first.square()).sqrt()
