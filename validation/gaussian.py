"""Gaussians in closed form: their distances, and the exact JKO and midpoint steps of KL to a Gaussian."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.law import Gaussian


def bures_squared(first: Gaussian, second: Gaussian) -> Float[Tensor, ""]:
    """W₂² = |m₁ − m₂|² + tr(S₁ + S₂ − 2(S₁^½ S₂ S₁^½)^½), the *squared* 2-Wasserstein distance between Gaussians.

    Computed as |m₁ − m₂|² + |(T − I)L|², S₁ = LLᵀ and T = L⁻ᵀ(LᵀS₂L)^½L⁻¹ the optimal map: never negative, and with
    no cancellation of traces, so that distances far below the square root of rounding keep their digits.

    Raises: InputError for Gaussians of different dimension.
    """
    _same_space(first, second)
    L = torch.linalg.cholesky(first.covariance)
    values, vectors = torch.linalg.eigh(L.T @ second.covariance @ L)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    moved = torch.linalg.solve_triangular(L.T, root, upper=True)
    return (first.mean - second.mean).square().sum() + (moved - L).square().sum()


def symmetric_kl(first: Gaussian, second: Gaussian) -> Float[Tensor, ""]:
    """KL(p‖q) + KL(q‖p) = ½ Σ (λ_i − 1)²/λ_i + ½ δᵀ(S_p⁻¹ + S_q⁻¹)δ, λ the eigenvalues of S_p⁻¹S_q, δ = m_p − m_q.

    In nats. Raises: InputError for Gaussians of different dimension.
    """
    _same_space(first, second)
    L = torch.linalg.cholesky(first.covariance)
    half = torch.linalg.solve_triangular(L, second.covariance, upper=False)
    ratios = torch.linalg.eigvalsh(_symmetric(torch.linalg.solve_triangular(L, half.T, upper=False)))
    shift = first.whiten(second.mean[None]).square().sum() + second.whiten(first.mean[None]).square().sum()
    return 0.5 * ((ratios - 1).square() / ratios).sum() + 0.5 * shift


def jko_map(
    rho: Gaussian, A: Float[Tensor, "d d"], b: Float[Tensor, " d"], tau: float
) -> tuple[Float[Tensor, "d d"], Float[Tensor, " d"]]:
    """(T, m⁺): the JKO step of KL(·‖N(b, A⁻¹)) from N(m, S) is the optimal map x ↦ m⁺ + T(x − m).

    m⁺ = M⁻¹(m + τAb), M = I + τA, and T = P diag(½ + √(¼ + τ/k_i)) Pᵀ in the basis with PᵀMP = I, PᵀSP = diag(k_i), for
    any S, commuting with A or not. Derivation: optimality reads y + τ(A(y − b) − (S⁺)⁻¹(y − m⁺)) = x for y = T(x), so
    T⁻¹ = M − τ(S⁺)⁻¹ with S⁺ = TST; with T on both sides, TMT − T = τS⁻¹, a Riccati equation, which P makes diagonal:
    t_i² − t_i = τ/k_i. T is positive definite for the positive roots only. Cost O(d³), no iteration.

    Args: rho, N(m, S); A, symmetric, with I + τA positive definite (A = 0 is the heat equation); tau above 0.
    Raises: InputError for an argument outside these ranges or of another dimension.
    """
    P, k = _modes(rho, A, b, tau)
    return (P * (0.5 + (0.25 + tau / k).sqrt())) @ P.T, _mean_after(rho, A, b, tau)


def jko_step(rho: Gaussian, A: Float[Tensor, "d d"], b: Float[Tensor, " d"], tau: float) -> Gaussian:
    """argmin KL(·‖N(b, A⁻¹)) + W₂²(·, ρ)/2τ: one step of the flow, of order one in τ; arguments as `jko_map`.

    S⁺ = TST = P diag((½√k_i + √(¼k_i + τ))²) Pᵀ, which keeps its digits where S is nearly singular and T is large.
    """
    P, k = _modes(rho, A, b, tau)
    return Gaussian(_mean_after(rho, A, b, tau), _symmetric((P * (k.sqrt() / 2 + (k / 4 + tau).sqrt()).square()) @ P.T))


def _modes(rho: Gaussian, A: Tensor, b: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """P and k with Pᵀ(I + τA)P = I and PᵀSP = diag(k), after checking the arguments of a step."""
    checks.positive("tau", tau)
    checks.vector("b", b, rho.dim)
    if A.shape != (rho.dim, rho.dim):
        raise InputError(f"A must have shape ({rho.dim}, {rho.dim}), got {tuple(A.shape)}")
    L = torch.linalg.cholesky(checks.spd("I + τA", torch.eye(rho.dim).to(rho.mean) + tau * A.to(rho.mean)))
    half = torch.linalg.solve_triangular(L, rho.covariance, upper=False)
    k, vectors = torch.linalg.eigh(_symmetric(torch.linalg.solve_triangular(L, half.T, upper=False)))
    floor = torch.finfo(k.dtype).eps ** 2 * k[-1]  # rounding can turn a tiny eigenvalue of S negative
    return torch.linalg.solve_triangular(L.T, vectors, upper=True), k.clamp(min=float(floor))


def _mean_after(rho: Gaussian, A: Tensor, b: Tensor, tau: float) -> Tensor:
    A, b = A.to(rho.mean), b.to(rho.mean)
    return torch.linalg.solve(torch.eye(rho.dim).to(A) + tau * A, rho.mean + tau * A @ b)


def midpoint_step(rho: Gaussian, A: Float[Tensor, "d d"], b: Float[Tensor, " d"], tau: float) -> Gaussian:
    """The law of 2T(x) − x, T the JKO map of τ/2: N(2m⁺ − m, (2T − I)S(2T − I)), of order two in τ.

    Source: Legendre & Turinici, C. R. Math. 2017. Raises: InputError as `jko_map`, and where 2T − I is singular.
    """
    T, mean = jko_map(rho, A, b, tau / 2)
    linear = 2 * T - torch.eye(rho.dim).to(T)
    return Gaussian(2 * mean - rho.mean, _symmetric(linear @ rho.covariance @ linear))


def crank_nicolson_step(rho: Gaussian, A: Float[Tensor, "d d"], b: Float[Tensor, " d"], tau: float) -> Gaussian:
    """argmin ½F(·) + ½∫δF/δρ(ρ) d· + W₂²(·, ρ)/2τ, F = KL(·‖N(b, A⁻¹)) and ρ = N(m, S): of order one in τ.

    Half of the entropy and the frozen ½log ρ = −¼(x − m)ᵀS⁻¹(x − m) + … are the JKO step of ½(entropy + quadratic of
    matrix 2A − S⁻¹), which is that of the bracket with τ/2; the mean is m⁺ = K⁻¹((I/τ − ½S⁻¹)m + Ab), K = I/τ + A −
    ½S⁻¹. On a line s⁺ = (s + √(s² + 2κτ))/2κ, κ = τK = 1 + τa − τ/2s².

    Raises: InputError as `jko_step`, and where K is not positive definite: the step is unbounded below there.
    """
    checks.positive("tau", tau)
    A, b, eye = A.to(rho.mean), b.to(rho.mean), torch.eye(rho.dim).to(rho.mean)
    P, k = _modes(rho, _symmetric(2 * A - torch.linalg.inv(rho.covariance)), b, tau / 2)
    explicit = eye / tau - 0.5 * torch.linalg.inv(rho.covariance)
    mean = torch.linalg.solve(explicit + A, explicit @ rho.mean + A @ b)
    return Gaussian(mean, _symmetric((P * (k.sqrt() / 2 + (k / 4 + tau / 2).sqrt()).square()) @ P.T))


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2


def _same_space(first: Gaussian, second: Gaussian) -> None:
    if first.dim != second.dim:
        raise InputError(f"two Gaussians of one dimension are needed, got dimensions {first.dim} and {second.dim}")
    checks.alike("the second Gaussian", second.mean, "the first", first.mean)
