"""Mollified entropies (blob method): entropies of K_ε∗ρ that particles can see."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.functionals.base import HasVariation, OnSamples, Term, Variation
from wgf.functionals.entropy import Entropy, PowerEntropy
from wgf.kernels import Radial, kernel_sum, kernel_sum_gradient
from wgf.law import Cloud


class Blob(Term, OnSamples, HasVariation):
    """F_ε(ρ) = ∫ f(K_ε∗ρ) dρ for an entropy ∫f(ρ) dρ, a functional of its own that tends to it as ε → 0.

    δF_ε/δρ = f(K_ε∗ρ) + K_ε∗(f′(K_ε∗ρ) ρ). Source: Carrillo, Craig, Patacchini, *A blob method for diffusion*,
    Calc. Var. 2019, arXiv 1709.09195, eqs. (10)–(12). The bias grows as (ε/R)², R the width of the cloud (as
    (ε/R)⁴ for the energy of m = 1, whose second-order term ½∫Δρ vanishes).

    For m = 2 it is the interaction of kernel 2 K_ε. A velocity takes two passes over the pairs for K_ε∗ρ and one for
    both gradients.

    Args: entropy, Entropy() or PowerEntropy(m); kernel, a mollifier of unit mass such as kernels.Mollifier(ε); engine
    and tolerance of the sums, as in `kernels.kernel_sum`.
    """

    def __init__(
        self, entropy: Entropy | PowerEntropy, kernel: Radial, engine: str = "auto", tolerance: float | None = None
    ) -> None:
        self.entropy, self.kernel = entropy, kernel
        self.engine, self.tolerance = engine, tolerance

    @property
    def name(self) -> str:
        return f"Blob({self.entropy.name})"

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        density = self._sum(kernel_sum, cloud.x, cloud.x, None)
        return self.entropy.per_mass(self._above(density, cloud.x))

    def first_variation(self, cloud: Cloud) -> Variation:
        y = cloud.x.detach()
        even = torch.full_like(y[:, 0], 1 / len(y))
        weighed = self.entropy.per_mass_derivative(self._above(self._sum(kernel_sum, y, y, even), y)) * even
        columns = torch.stack([even, weighed], 1)

        def value(x: Tensor) -> Tensor:
            density, pulled = self._sum(kernel_sum, x, y, columns).unbind(1)
            return self.entropy.per_mass(_positive(density)) + pulled

        def gradient(x: Tensor) -> Tensor:
            density = _positive(self._sum(kernel_sum, x, y, even))
            near, pulled = self._sum(kernel_sum_gradient, x, y, columns).unbind(1)
            return self.entropy.per_mass_derivative(density)[:, None] * near + pulled

        return Variation(value, gradient)

    def _sum(self, sum: Callable[..., Tensor], x: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        w = None if weights is None else weights.to(x)
        return sum(self.kernel, x, y.to(x), w, engine=self.engine, tolerance=self.tolerance, strict=False)

    def _above(self, density: Tensor, x: Tensor) -> Tensor:
        """K_ε∗ρ at the cloud's own particles is at least K_ε(0)/n: a Fourier sum's error must not take it below."""
        least = self.kernel.value(x.new_zeros(()), x.shape[1]) / len(x)
        return torch.maximum(density, least)


def _positive(density: Tensor) -> Tensor:
    """Away from all particles K_ε∗ρ underflows, and a Fourier sum may even be negative."""
    return density.clamp_min(torch.finfo(density.dtype).tiny ** 0.5)
