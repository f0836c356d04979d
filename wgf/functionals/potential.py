"""External potentials ∫V dρ, and the quadratic one."""

from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.functionals.base import HasVariation, OnSamples, Pointwise, Term, Variation
from wgf.law import Cloud, Like


class Quadratic:
    """The quadratic potential V(x) = ½ (x − b)ᵀ A (x − b), with ∇V = A(x − b) in closed form.

    Args: matrix, A (d, d), symmetric positive definite; centre, b (d,), zero by default.
    """

    def __init__(self, matrix: Like, centre: Like | None = None) -> None:
        self.matrix = checks.spd("the matrix of a Quadratic potential", matrix)
        zero = self.matrix.new_zeros(len(self.matrix))
        self.centre = zero if centre is None else checks.vector("the centre", centre, len(zero), zero).to(zero)

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return 0.5 * ((x - self.centre.to(x)) * self.gradient(x)).sum(-1)

    def gradient(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """A (x − b)."""
        return (x - self.centre.to(x)) @ self.matrix.to(x)


class Potential(Term, OnSamples, HasVariation):
    """F(ρ) = ∫ V dρ, with δF/δρ = V.

    Args: V, (n, d) -> (n,), differentiable by autograd, in the units of F; gradient, ∇V (n, d) -> (n, d), where it is
    known in closed form (by default V.gradient, if V has one, and autograd otherwise).
    """

    def __init__(self, V: Pointwise, gradient: Pointwise | None = None) -> None:
        self.V = V
        self.gradient = gradient if gradient is not None else getattr(V, "gradient", None)

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        return self.V(cloud.x)

    def first_variation(self, cloud: Cloud) -> Variation:
        return Variation(self.V, self.gradient)
