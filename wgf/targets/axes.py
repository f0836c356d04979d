"""A Gaussian moved to where a target lies along each of its axes: more than a mode and a curvature know."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.errors import InputError
from wgf.functionals.base import Pointwise
from wgf.law import Gaussian

NODES, REACH, DRAWS = 81, 8.0, 256
"""Points of the quadrature along an axis, how far it goes, in standard deviations; draws that judge a sweep."""


def along_axes(log_density: Pointwise, law: Gaussian, sweeps: int = 8) -> Gaussian:
    """N(m, LLᵀ) with m and the columns of L moved to the mean and deviation of π along each of its axes.

    In y = L⁻¹(z − m), with one coordinate free and the others zero, π is a density on the line, whose mean μ_a and
    deviation s_a are found by quadrature; in each sweep m ← m + ηLμ and L_a ← L_a s_a^η, η = ½. A Gaussian π is a fixed
    point at its own law, and so is a product whose marginals have those moments: skewness, which moves a mean away from
    its mode, is seen. Sections are conditional laws: where the axes of L are correlated under π, deviations come out
    smaller than those of marginals, and a sweep may go too far; one after which E_q[log π − log q] is below what the
    first law q has is taken back, and η halved.

    Args: log_density, log π (n, d) -> (n,), up to a constant; law, a first approximation, such as Laplace's, at the
    scale of π; sweeps ≥ 1, each d·81 evaluations.
    Raises: InputError where π lies between two nodes, a fifth of a deviation apart.
    """
    t = torch.linspace(-REACH, REACH, NODES, dtype=law.mean.dtype, device=law.mean.device)
    noise = torch.randn(DRAWS, law.dim, dtype=t.dtype, device=t.device, generator=keys.generator(0, device=t.device))
    rate, least = 0.5, _evidence(log_density, law, noise)
    for _ in range(checks.at_least("sweeps", sweeps, 1)):
        factor = torch.linalg.cholesky(law.covariance)
        mean, deviation = _sections(log_density, law.mean, factor, t)
        if not bool((deviation > 0).all()):
            raise InputError("along_axes needs a law at the scale of the target, which is much narrower along an axis")
        moved = factor * deviation.pow(rate)
        covariance = moved @ moved.T
        found = Gaussian(law.mean + rate * factor @ mean, (covariance + covariance.T) / 2)
        if _evidence(log_density, found, noise) >= least:
            law = found
        else:
            rate /= 2
    return law


@torch.no_grad()
def _evidence(log_density: Pointwise, law: Gaussian, noise: Float[Tensor, "n d"]) -> float:
    """E_q[log π − log q], up to a constant, at fixed draws."""
    factor = torch.linalg.cholesky(law.covariance)
    return float(log_density(law.mean + noise @ factor.T).mean() + factor.diagonal().log().sum())


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
