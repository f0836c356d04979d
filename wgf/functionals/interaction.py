"""Pairwise interaction ½∬W(x−y)ρ(x)ρ(y)."""

from jaxtyping import Float
from torch import Tensor

from wgf.functionals.base import HasVariation, OnSamples, OnShards, Term, Variation
from wgf.kernels import Radial, kernel_sum, kernel_sum_gradient
from wgf.kernels.radial import a_kernel
from wgf.law import Cloud


class Interaction(Term, OnSamples, HasVariation, OnShards):
    """F(ρ) = ½ ∬ W(x − y) ρ(dx) ρ(dy), with δF/δρ = W∗ρ; the half makes the flow ∂_tρ = ∇·(ρ ∇W∗ρ).

    Evaluated at the empirical law of the cloud, all n² pairs, the diagonal W(0) included: the velocity of particle i
    is exactly −n ∂F/∂x_i. On a minibatch of n rows the energy's expectation is thus (1−1/n) F + W(0)/2n. For a singular
    W, such as −Log(), coincident points and so the diagonal count as zero.

    Args: W, a radial kernel, e.g. 0.5 * Power(4), -1.0 * Gaussian(0.3) or -Smoothed(Log(), 0.01); engine and tolerance
    of the sums, as in `kernels.kernel_sum`.
    """

    def __init__(self, W: Radial, engine: str = "auto", tolerance: float | None = None) -> None:
        self.W, self.engine, self.tolerance = a_kernel("Interaction", W), engine, tolerance

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        x = cloud.x
        return 0.5 * kernel_sum(self.W, x, cloud.whole, engine=self.engine, tolerance=self.tolerance, strict=False)

    def first_variation(self, cloud: Cloud) -> Variation:
        y = cloud.whole.detach()

        def value(x: Tensor) -> Tensor:
            return kernel_sum(self.W, x, y.to(x), engine=self.engine, tolerance=self.tolerance, strict=False)

        def gradient(x: Tensor) -> Tensor:
            return kernel_sum_gradient(self.W, x, y.to(x), engine=self.engine, tolerance=self.tolerance, strict=False)

        return Variation(value, gradient)
