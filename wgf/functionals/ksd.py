"""The squared kernel Stein discrepancy to a target known by its score, as a functional that flows."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import autodiff
from wgf.errors import InputError
from wgf.functionals.base import HasVariation, OnSamples, OnShards, Pointwise, Term, Variation
from wgf.functionals.potential import Potential
from wgf.functionals.stein import smooth_enough, stein_slopes, stein_sum
from wgf.kernels import Radial
from wgf.kernels.radial import a_kernel
from wgf.law import Cloud


class KSD2(Term, OnSamples, HasVariation, OnShards):
    """F(ρ) = KSD²(ρ, π) = E u(X, X′), u the Stein kernel of k and the score s = ∇log π; δF/δρ = 2 E u(·, X′).

    Zero where ρ = π; no constant of π is needed. At the empirical law of the particles it is the V-statistic, diagonal
    included, and the velocity of particle i is exactly −n ∂F/∂x_i: kernel Stein discrepancy descent (Korba et al., ICML
    2021, arXiv 2105.09994). Gradients are closed forms of the kernel and one vector-Jacobian product of the score. Sums
    run in float64, in blocks of matrix products.

    Args: kernel, twice differentiable at z = 0, as Gaussian, InverseMultiquadric (which detects all that fails to
    converge, Gorham & Mackey, ICML 2017) and Matern52 are; score, (n, d) -> (n, d), written in torch; a Potential V
    stands for π ∝ e^{−V}; `score_of(log_density)` is that of a log-density.
    Raises: Incompatible for a kernel that is not smooth enough; InputError for scores that are not (n, d).
    """

    def __init__(self, kernel: Radial, score: Pointwise | Potential) -> None:
        self.kernel = smooth_enough(a_kernel("KSD2", kernel))
        self.score = score_of(score) if isinstance(score, Potential) else score
        if not callable(self.score):
            raise InputError(
                f"KSD2 needs the score as a function of points, (n, d) -> (n, d), got {type(score).__name__}: particles"
                " move, and their scores with them"
            )

    @property
    def name(self) -> str:
        return f"KSD2({self.kernel.name})"

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        s = scores(self.score, cloud.x)
        return stein_sum(self.kernel, cloud.x, s, cloud.whole, cloud.joined(s))

    def first_variation(self, cloud: Cloud) -> Variation:
        y = cloud.whole.detach()
        score_y = cloud.joined(scores(self.score, cloud.x.detach()).detach())

        def value(x: Tensor) -> Tensor:
            return 2 * stein_sum(self.kernel, x, scores(self.score, x), y.to(x), score_y.to(x))

        def gradient(x: Tensor) -> Tensor:
            tracked = torch.is_grad_enabled() and x.requires_grad
            with torch.enable_grad():
                leaf = x if tracked else x.detach().requires_grad_()
                s = scores(self.score, leaf)
                even = x.new_full((len(y),), 2 / len(y))
                at = (leaf, s) if tracked else (leaf.detach(), s.detach())
                by_x, by_score = stein_slopes(self.kernel, *at, y.to(x), score_y.to(x), even)
                return (
                    by_x + torch.autograd.grad(s, leaf, by_score, create_graph=tracked)[0] if s.requires_grad else by_x
                )

        return Variation(value, gradient)


def score_of(log_density: Pointwise | Potential) -> Callable[[Tensor], Tensor]:
    """x ↦ ∇log π(x), by autograd; of a Potential V, −∇V, in closed form where V has one."""
    if isinstance(log_density, Potential):
        V = log_density
        return lambda x: -V.first_variation(Cloud(x)).gradient(x, x.requires_grad)
    return lambda x: autodiff.gradient(log_density, x, x.requires_grad)


def scores(score: Pointwise, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """s(x), checked for its shape."""
    s = score(x)
    if s.shape != x.shape:
        raise InputError(f"a score must give (n, d) for (n, d), {tuple(x.shape)} here; got {tuple(s.shape)}")
    return s.to(x)
