"""Mollified entropies (blob method): entropies of K_ε∗ρ that particles can see."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.errors import InputError
from wgf.functionals.base import HasVariation, OnSamples, OnShards, Term, Variation
from wgf.functionals.entropy import Entropy, PowerEntropy
from wgf.functionals.interaction import Interaction
from wgf.kernels import Radial, kernel_sums
from wgf.kernels.radial import a_kernel
from wgf.law import Cloud


class Blob(Term, OnSamples, HasVariation, OnShards):
    """F_ε(ρ) = ∫ f(K_ε∗ρ) dρ for an entropy ∫f(ρ) dρ, a functional of its own that tends to it as ε → 0.

    δF_ε/δρ = f(K_ε∗ρ) + K_ε∗(f′(K_ε∗ρ) ρ). Source: Carrillo, Craig, Patacchini, *A blob method for diffusion*,
    Calc. Var. 2019, arXiv 1709.09195, eqs. (10)–(12). The bias grows as (ε/R)², R the width of the cloud (as
    (ε/R)⁴ for the energy of m = 1, whose second-order term ½∫Δρ vanishes).

    For m = 2 it is the interaction of kernel 2 K_ε, one pass over the pairs a velocity. Otherwise a velocity takes two:
    one for K_ε∗ρ at the particles, one for K_ε∗ρ and both gradients where it is asked for.

    Args: entropy, Entropy() or PowerEntropy(m); kernel, a mollifier of unit mass such as kernels.Mollifier(ε); engine
    and tolerance of the sums, as in `kernels.kernel_sum`. Raises: InputError for a kernel with K(0) ≤ 0.
    """

    def __init__(
        self, entropy: Entropy | PowerEntropy, kernel: Radial, engine: str = "auto", tolerance: float | None = None
    ) -> None:
        self.entropy, self.kernel = entropy, a_kernel("Blob", kernel)
        if not float(kernel.value(torch.zeros((), dtype=torch.float64), 1)) > 0:
            raise InputError(f"Blob needs a kernel with K(0) > 0, such as kernels.Mollifier(0.1), got {kernel.name}")
        self.engine, self.tolerance = engine, tolerance

    @property
    def name(self) -> str:
        return f"Blob({self.entropy.name})"

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        y = cloud.whole
        density, _ = self._sums(cloud.x, y, torch.full_like(y[:, 0], 1 / len(y)), None)
        return self.entropy.per_mass(self._above(density, y))

    def first_variation(self, cloud: Cloud) -> Variation:
        if isinstance(self.entropy, PowerEntropy) and self.entropy.m == 2:
            return Interaction(2.0 * self.kernel, self.engine, self.tolerance).first_variation(cloud)
        y = cloud.whole.detach()
        even = torch.full_like(y[:, 0], 1 / len(y))
        own = cloud.joined(self._sums(cloud.x.detach(), y, even, None)[0])
        columns = torch.stack([even, self.entropy.per_mass_derivative(self._above(own, y)) * even], 1)

        def value(x: Tensor) -> Tensor:
            density, pulled = self._sums(x, y, columns, None)[0].unbind(1)
            return self.entropy.per_mass(_positive(density)) + pulled

        def gradient(x: Tensor) -> Tensor:
            density, slopes = self._sums(x, y, even, columns)
            near, pulled = slopes.unbind(1)
            return self.entropy.per_mass_derivative(_positive(density))[:, None] * near + pulled

        return Variation(value, gradient)

    def _sums(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor | None) -> tuple[Tensor, Tensor]:
        slopes = None if b is None else b.to(x)
        return kernel_sums(
            self.kernel, x, y.to(x), a.to(x), slopes, engine=self.engine, tolerance=self.tolerance, strict=False
        )

    def _above(self, density: Tensor, x: Tensor) -> Tensor:
        """K_ε∗ρ at the cloud's own particles is at least K_ε(0)/n: a Fourier sum's error must not take it below."""
        least = self.kernel.value(x.new_zeros(()), x.shape[1]) / len(x)
        return torch.maximum(density, least)


def _positive(density: Tensor) -> Tensor:
    """Away from all particles K_ε∗ρ underflows, and a Fourier sum may even be negative."""
    return density.clamp_min(torch.finfo(density.dtype).tiny ** 0.5)
