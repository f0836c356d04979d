"""Entropies ∫ρ log ρ and ∫ρ^m/(m−1): on densities, as noise, and as suprema over a critic (Fan et al. 2022, §3)."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from wgf import checks
from wgf.errors import InputError
from wgf.functionals.base import HasDual, HasNoise, OnAbsoluteDensity, OnDensity, Term
from wgf.functionals.dual import Dual, log_mean_exp
from wgf.law import Box, Cloud, Gaussian, moments
from wgf.pearson import PearsonII
from wgf.pooled import cover, covering
from wgf.tree import Tree

LEAST = -80.0
"""Raw outputs of a critic below this count as this: h = e^-80."""


class Entropy(Term, OnDensity, HasNoise, HasDual):
    """F(ρ) = ∫ρ log ρ, whose flow is the heat equation ∂_tρ = Δρ.

    On densities, E[log_base − logdet]; where the base density is unknown, −E[logdet], F up to one constant of the path.
    Dual (arXiv 2112.02424, eq. 14): with Γ the Gaussian fitted to the cloud,
    F = sup_h E_ρ[log h + log Γ] − E_Γ[h] + 1, at h* = ρ/Γ; here log h = u. With `tight`, Donsker and Varadhan's
    sup_u E_ρ[u + log Γ] − log E_Γ e^u, at every critic no smaller; but biased on batches.

    A cloud of several modes has next to no draws of its Gaussian near it once the dimension is high: log dρ/dΓ is then
    of the size of KL(ρ‖Γ), and no batch sees it. With `centres` > 1, Γ is nine tenths a mixture of so many Gaussians of
    one covariance, by k-means, and one tenth that Gaussian, where that is nearer to the cloud than the Gaussian. No Γ
    changes the supremum.

    Raises: InputError for centres < 1.
    """

    temperature = 1.0

    def __init__(self, tight: bool = False, centres: int = 1) -> None:
        self.tight, self.centres = tight, checks.at_least("centres", centres, 1)

    def density_energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        assert cloud.logdet is not None
        return -cloud.logdet if cloud.log_base is None else cloud.log_base - cloud.logdet

    def per_mass(self, density: Tensor) -> Tensor:
        """f with F(ρ) = ∫f(ρ) dρ: log ρ."""
        return density.log()

    def per_mass_derivative(self, density: Tensor) -> Tensor:
        """f′(ρ) = 1/ρ."""
        return 1 / density

    def reference(self, cloud: Cloud) -> Tree:
        mean, covariance = moments(cloud.x)
        scale = float(covariance.diagonal().mean())
        if not scale > 0:
            raise InputError("the dual of Entropy fits a Gaussian to the particles, but they all lie in one point")
        fitted = Gaussian(mean, covariance + 1e-6 * scale * torch.eye(len(mean)).to(mean))
        found = {"mean": fitted.mean, "covariance": fitted.covariance}
        return found if self.centres == 1 else {**found, **cover(cloud.x, fitted, self.centres, 1e-6 * scale)}

    def dual(self, reference: Tree) -> Dual:
        gaussian = Gaussian(reference["mean"], reference["covariance"])
        gamma = covering(gaussian, reference) if "means" in reference else gaussian
        dual = Dual(
            gamma,
            a=lambda u, x: u + gamma.log_prob(x),
            b=lambda u, z: u.exp(),
            head=torch.exp,
            const=1.0,
            felt=lambda u, x: u,
            derivatives=lambda u, v: (1.0, v.exp()),
            drift=gamma.score,
        )
        return replace(dual, b=lambda u, z: u, merge=log_mean_exp, const=0.0, derivatives=None) if self.tight else dual


class PowerEntropy(Term, OnAbsoluteDensity, HasDual):
    """F(ρ) = 1/(m−1) ∫ρ^m, m > 0, m ≠ 1, whose flow is the porous medium equation ∂_tρ = Δρ^m (m > 1).

    Dual (arXiv 2112.02424, §3.3): with Γ uniform on a box or a ball Ω that holds the support,
    F = sup_h |Ω|^{−(m−1)} (m/(m−1) E_ρ[h^{m−1}] − E_Γ[h^m]), m > 1, at h* = |Ω| ρ; here h = softplus(u).

    Args: m, the exponent; margin, by how much of its width Ω extends past the cloud on every side: the support
    must still lie in it after the step, which steppers check: `measures["outside, …"]`, a warning where it does not;
    ball, Ω the ball about the mean in place of the box: in d = 6 a box is 12 times its ball, and most draws of Γ would
    see nothing of a round cloud.
    Raises: InputError for m ≤ 0 or m = 1 (that one is Entropy()).
    """

    def __init__(self, m: float, margin: float = 0.25, ball: bool = False) -> None:
        if not m > 0 or m == 1:
            raise InputError(f"PowerEntropy needs m > 0 and m ≠ 1 (m = 1 is Entropy()), got {m!r}")
        if not margin > 0:
            raise InputError(f"the margin of a PowerEntropy must be above 0, got {margin!r}")
        self.m, self.margin, self.ball = float(m), float(margin), ball

    @property
    def name(self) -> str:
        return f"PowerEntropy({self.m:g})"

    def density_energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        return self.per_mass(cloud.log_density.exp())

    def per_mass(self, density: Tensor) -> Tensor:
        """f with F(ρ) = ∫f(ρ) dρ: ρ^{m−1}/(m−1)."""
        return density.pow(self.m - 1) / (self.m - 1)

    def per_mass_derivative(self, density: Tensor) -> Tensor:
        """f′(ρ) = ρ^{m−2}."""
        return density.pow(self.m - 2)

    def reference(self, cloud: Cloud) -> Tree:
        if self.ball:
            centre = cloud.x.mean(0)
            furthest = float((cloud.x - centre).norm(dim=1).max())
            if not furthest > 0:
                raise InputError(f"the dual of {self.name} needs a ball around the particles, but they are one point")
            return {"centre": centre, "radius": (1 + 2 * self.margin) * furthest}
        low, high = cloud.x.amin(0), cloud.x.amax(0)
        flat = (high <= low).nonzero()[:, 0].tolist()
        if flat:
            raise InputError(
                f"the dual of {self.name} needs a box around the particles, but they have no width in coordinate"
                f" {flat[0]}"
            )
        room = self.margin * (high - low)
        return {"low": low - room, "high": high + room}

    def dual(self, reference: Tree) -> Dual:
        if self.m < 1:
            raise InputError(f"the dual of {self.name} is known for m > 1 only")
        gamma, log_volume = self._omega(reference)
        m, scale = self.m, math.exp((1 - self.m) * log_volume)
        return Dual(
            gamma,
            a=lambda u, x: scale * m / (m - 1) * _above_zero(u).pow(m - 1),
            b=lambda u, z: scale * _above_zero(u).pow(m),
            head=_above_zero,
            support=gamma,
        )

    def _omega(self, reference: Tree) -> tuple[Box | PearsonII, float]:
        """The uniform law of Ω, and log |Ω|."""
        if self.ball:
            centre, radius = reference["centre"], reference["radius"]
            ball = PearsonII(len(centre), radius, 0.0, centre=centre)
            return ball, -ball.log_peak
        box = Box(reference["low"], reference["high"])
        return box, float(box.log_volume)


def _above_zero(u: Tensor) -> Tensor:
    """softplus(u), kept where float32 still tells it from zero: there a power below 1 has no slope."""
    return softplus(u.clamp_min(LEAST))
