"""Ornstein–Uhlenbeck: ∂_tρ = Δρ + ∇·(ρ A(x − b)), the flow of ∫ρ log ρ + ½∫(x − b)ᵀA(x − b) dρ."""

import torch
from jaxtyping import Float
from torch import Tensor

from pdes._inputs import doubles, time
from pdes._observables import MOMENTS
from wgf import checks, keys
from wgf.functionals import Entropy, Potential, Quadratic
from wgf.law import Gaussian
from wgf.problem import Problem


def ornstein_uhlenbeck(
    dim: int = 2,
    matrix: list[list[float]] | None = None,
    centre: list[float] | None = None,
    seed: int = 0,
    horizon: float = 0.9,
) -> Problem:
    """The flow of Entropy() + Potential(Quadratic(A, b)) from N(0, I); it ends in N(b, A⁻¹).

    By default A has a random orthogonal eigenbasis and eigenvalues uniform in [0.5, 2], and b ~ N(0, I): the setting of
    Mokrov et al. (NeurIPS 2021) and Fan et al. (ICML 2022, arXiv 2112.02424) with the spectrum fixed.

    Args: dim, d ≥ 1; matrix, A (d, d), symmetric positive definite; centre, b (d,); seed of what is drawn (A and b
    from streams of their own, so that giving one leaves the other); horizon, a time above 0.
    Raises: InputError for an argument outside these ranges.
    """
    checks.at_least("dim", dim, 1)
    A = _random_matrix(dim, seed) if matrix is None else checks.spd("matrix", doubles("matrix", matrix), dim)
    b = _random_centre(dim, seed) if centre is None else checks.vector("centre", doubles("centre", centre), dim)
    initial = Gaussian.standard(dim, dtype=torch.float64)
    return Problem(
        Entropy() + Potential(Quadratic(A, b)),
        initial,
        checks.positive("horizon", horizon),
        exact=lambda t: exact_gaussian(A, b, initial.mean, initial.covariance, t),
        observables=MOMENTS,
        title=f"Ornstein–Uhlenbeck in dimension {dim}",
    )


def exact_gaussian(
    A: Float[Tensor, "d d"], b: Float[Tensor, " d"], m0: Float[Tensor, " d"], S0: Float[Tensor, "d d"], t: float
) -> Gaussian:
    """The law at time t ≥ 0 from N(m0, S0): mean b + e^{−At}(m0 − b), covariance A⁻¹ + e^{−At}(S0 − A⁻¹)e^{−At}.

    A must be symmetric positive definite; S0 any covariance, commuting with A or not. In the eigenbasis of A, where
    A⁻¹ − e^{−At}A⁻¹e^{−At} = (1 − e^{−2λt})/λ does not cancel.
    """
    rates, basis = torch.linalg.eigh(A)
    decay = torch.exp(-rates * time(t))
    mean = b + basis @ (decay * (basis.T @ (m0 - b)))
    inner = decay[:, None] * (basis.T @ S0 @ basis) * decay + torch.diag(-torch.expm1(-2 * rates * t) / rates)
    covariance = basis @ inner @ basis.T
    return Gaussian(mean, (covariance + covariance.T) / 2)


def _random_matrix(dim: int, seed: int) -> Tensor:
    generator = keys.generator(seed, 0)
    q, r = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator))
    q = q * r.diagonal().sign()  # Haar measure, and one answer whatever signs LAPACK chooses
    eigenvalues = 0.5 + 1.5 * torch.rand(dim, dtype=torch.float64, generator=generator)
    A = (q * eigenvalues) @ q.T
    return (A + A.T) / 2


def _random_centre(dim: int, seed: int) -> Tensor:
    return torch.randn(dim, dtype=torch.float64, generator=keys.generator(seed, 1))
