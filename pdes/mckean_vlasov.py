"""McKean–Vlasov: ∂_tρ = εΔρ + ∇·(ρ ∇(½a|x|² + ½κ|x|²∗ρ)): confinement, attraction to the crowd, and noise."""

import math

import torch
from torch import Tensor

from pdes._inputs import doubles, not_negative, time
from pdes._observables import MOMENTS
from wgf import checks
from wgf.functionals import Entropy, Functional, Interaction, Potential, Quadratic
from wgf.kernels import Power
from wgf.law import Gaussian
from wgf.problem import Problem


def mckean_vlasov(
    dim: int = 2,
    confinement: float = 1.0,
    attraction: float = 1.0,
    temperature: float = 0.5,
    mean: list[float] | None = None,
    covariance: list[list[float]] | None = None,
    horizon: float = 1.0,
) -> Problem:
    """The flow of ε∫ρ log ρ + ½a∫|x|²ρ + ¼κ∬|x − y|²ρρ from N(m0, S0).

    It stays Gaussian, ṁ = −a m and Ṡ = −2(a + κ)S + 2εI: attraction contracts the crowd but does not move its mean. By
    default m0 = (2, −2, 2, …) and S0 has standard deviations from ½ to 3/2 and correlations 2^{−|i−j|}: neither
    centred, nor isotropic, nor diagonal.

    Args: dim, d ≥ 1; confinement, a > 0; attraction, κ ≥ 0; temperature, ε > 0; mean, m0 (d,); covariance, S0 (d, d),
    symmetric positive definite; horizon, a time above 0.
    Raises: InputError for an argument outside these ranges.
    """
    checks.at_least("dim", dim, 1)
    a, eps = checks.positive("confinement", confinement), checks.positive("temperature", temperature)
    kappa = not_negative("attraction", attraction)
    m0 = _off_centre(dim) if mean is None else checks.vector("mean", doubles("mean", mean), dim)
    S0 = _correlated(dim) if covariance is None else checks.spd("covariance", doubles("covariance", covariance), dim)
    return Problem(
        _functional(dim, a, kappa, eps),
        Gaussian(m0, S0),
        checks.positive("horizon", horizon),
        exact=lambda t: _exact(a, kappa, eps, m0, S0, time(t)),
        observables=MOMENTS,
        title=f"McKean–Vlasov in dimension {dim}: a = {a:g}, κ = {kappa:g}, ε = {eps:g}",
    )


def _functional(dim: int, a: float, kappa: float, eps: float) -> Functional:
    F = eps * Entropy() + Potential(Quadratic(a * torch.eye(dim, dtype=torch.float64)))
    return F + Interaction(kappa * Power(2)) if kappa > 0 else F


def _exact(a: float, kappa: float, eps: float, m0: Tensor, S0: Tensor, t: float) -> Gaussian:
    rate = 2 * (a + kappa)
    noise = -math.expm1(-rate * t) * 2 * eps / rate
    return Gaussian(math.exp(-a * t) * m0, math.exp(-rate * t) * S0 + noise * torch.eye(len(m0), dtype=m0.dtype))


def _off_centre(dim: int) -> Tensor:
    return 2.0 * (-1.0) ** torch.arange(dim, dtype=torch.float64)


def _correlated(dim: int) -> Tensor:
    index = torch.arange(dim, dtype=torch.float64)
    deviation = torch.linspace(0.5, 1.5, dim, dtype=torch.float64)
    return torch.outer(deviation, deviation) * 0.5 ** (index[:, None] - index).abs()
