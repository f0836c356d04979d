"""Gaussian mixtures as targets: ten unit Gaussians in a cube, from a wide start."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.functionals import KL
from wgf.law import Gaussian, Mixture
from wgf.problem import Problem

HALF_WIDTHS = ((128, 1.5), (64, 2.0), (15, 3.0), (1, 5.0))  # from this dimension on, of the cube of means


class UnitGaussians:
    """log π of the even mixture of N(μ_k, I), normalised: log π(x) = log (1/K) Σ_k (2π)^{−d/2} exp(−½|x − μ_k|²).

    Differences are taken before squares, so that components far from the origin keep their digits in float32.

    Args: means, (K, d). Called on x (n, d), it returns (n,) in the dtype and on the device of x.
    """

    def __init__(self, means: Float[Tensor, "k d"]) -> None:
        self.means = checks.rows("the means of UnitGaussians", means)

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        k, d = self.means.shape
        return torch.logsumexp(self._exponents(x), -1) - math.log(k) - 0.5 * d * math.log(2 * math.pi)

    def gradient(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """∇log π(x) = Σ_k r_k(x) μ_k − x, r_k the share of component k at x."""
        return torch.softmax(self._exponents(x), -1) @ self.means.to(x) - x

    def _exponents(self, x: Tensor) -> Tensor:
        return torch.stack([-0.5 * (x - mean).square().sum(-1) for mean in self.means.to(x)], -1)


def gaussian_mixture(dim: int, components: int = 10, half_width: float | None = None, seed: int = 0) -> Mixture:
    """An even mixture of unit-covariance Gaussians with means uniform in [−w, w]^d, in float64.

    By default w = 5 for d < 15, 3 for d < 64, 2 for d < 128 and 1.5 from there on: the setting of Fan et al.
    (arXiv 2112.02424) at its dimensions, continued between them.

    Args: dim, d ≥ 1; components ≥ 1; half_width, w, a length above 0; seed of the means.
    Raises: InputError for an argument outside these ranges.
    """
    means = _means(dim, components, half_width, seed)
    identity = torch.eye(dim, dtype=torch.float64)
    return Mixture([Gaussian(mean, identity) for mean in means])


def gaussian_mixture_flow(
    dim: int = 2, components: int = 10, half_width: float | None = None, seed: int = 0, horizon: float = 4.0
) -> Problem:
    """The flow of KL to `gaussian_mixture` from N(0, 16 I): F ≥ 0, with F = 0 at the target only.

    Args: as `gaussian_mixture`; horizon, a time above 0 (4 in the published runs).
    Raises: InputError for an argument outside these ranges.
    """
    target = UnitGaussians(_means(dim, components, half_width, seed))
    return Problem(
        KL(target),
        Gaussian.standard(dim, 4.0, dtype=torch.float64),
        checks.positive("horizon", horizon),
        title=f"Mixture of {components} Gaussians in dimension {dim}",
    )


def _means(dim: int, components: int, half_width: float | None, seed: int) -> Tensor:
    checks.at_least("dim", dim, 1)
    checks.at_least("components", components, 1)
    default = next(width for least, width in HALF_WIDTHS if dim >= least)
    width = default if half_width is None else checks.positive("half_width", half_width)
    unit = torch.rand(components, dim, dtype=torch.float64, generator=keys.generator(seed))
    return width * (2 * unit - 1)
