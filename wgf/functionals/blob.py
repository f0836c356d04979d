"""Mollified entropies (blob method): entropies of K_ε∗ρ that particles can see."""

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

    Args: entropy, Entropy() or PowerEntropy(m); kernel, a mollifier of unit mass such as kernels.Gaussian(ε).
    """

    def __init__(self, entropy: Entropy | PowerEntropy, kernel: Radial) -> None:
        self.entropy, self.kernel = entropy, kernel

    @property
    def name(self) -> str:
        return f"Blob({self.entropy.name})"

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        return self.entropy.per_mass(kernel_sum(self.kernel, cloud.x, cloud.x))

    def first_variation(self, cloud: Cloud) -> Variation:
        y = cloud.x.detach()
        weights = self.entropy.per_mass_derivative(kernel_sum(self.kernel, y, y)) / len(y)

        def value(x: Tensor) -> Tensor:
            near = self.entropy.per_mass(kernel_sum(self.kernel, x, y.to(x)))
            return near + kernel_sum(self.kernel, x, y.to(x), weights.to(x))

        def gradient(x: Tensor) -> Tensor:
            slope = self.entropy.per_mass_derivative(kernel_sum(self.kernel, x, y.to(x)))
            near = slope[:, None] * kernel_sum_gradient(self.kernel, x, y.to(x))
            return near + kernel_sum_gradient(self.kernel, x, y.to(x), weights.to(x))

        return Variation(value, gradient)
