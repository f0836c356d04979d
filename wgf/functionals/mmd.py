"""The squared maximum mean discrepancy to a target, as a functional that flows."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.errors import InputError
from wgf.functionals.base import HasVariation, OnSamples, OnShards, Term, Variation
from wgf.kernels import Bandwidth, Radial, kernel_sum, kernel_sum_gradient
from wgf.kernels.radial import a_kernel
from wgf.law import Cloud, Empirical, Law


class MMD2(Term, OnSamples, HasVariation, OnShards):
    """F(ρ) = MMD²(ρ, π) = E k(X, X′) − 2 E k(X, Y) + E k(Y, Y′), with δF/δρ = 2(k∗ρ − k∗π).

    Evaluated at the empirical laws of both, diagonals included: the biased estimator, never negative but by rounding,
    and the velocity of particle i is exactly −n ∂F/∂x_i. With −|z| (`kernels.Energy()`) it is the energy distance. Both
    sums are one, over x ∪ y with signed weights. Sources: Arbel et al., *Maximum mean discrepancy gradient flow*,
    NeurIPS 2019, arXiv 1906.04370 (with ½ MMD²); Gretton et al., JMLR 2012.

    Args: kernel, positive definite, or conditionally so as Energy is, or a rule that the target's points choose it by,
    as Median(); target, points (m, d) or a law, of which `rows`
    are drawn with `seed` where it has no points of its own; engine and tolerance of the sums, as in
    `kernels.kernel_sum`. Raises: InputError for points that are not finite or of another dimension than the particles.
    """

    def __init__(
        self,
        kernel: Radial | Bandwidth,
        target: Law | Tensor,
        rows: int = 10_000,
        seed: int = 0,
        engine: str = "auto",
        tolerance: float | None = None,
    ) -> None:
        self.target = points_of(target, rows, seed)
        chosen = kernel.kernel(self.target) if isinstance(kernel, Bandwidth) else kernel
        self.kernel, self.engine, self.tolerance = a_kernel("MMD2", chosen), engine, tolerance
        self._own: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @property
    def name(self) -> str:
        return f"MMD2({self.kernel.name})"

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        x = cloud.x
        y = self._target(x)
        return self._sum(kernel_sum, x, cloud.whole, y, 2.0) + self._constant(y)

    def first_variation(self, cloud: Cloud) -> Variation:
        particles = cloud.whole.detach()

        def value(x: Tensor) -> Tensor:
            return 2 * self._sum(kernel_sum, x, particles.to(x), self._target(x), 1.0)

        def gradient(x: Tensor) -> Tensor:
            return 2 * self._sum(kernel_sum_gradient, x, particles.to(x), self._target(x), 1.0)

        return Variation(value, gradient)

    def _sum(self, sums: Callable[..., Tensor], at: Tensor, x: Tensor, y: Tensor, share: float) -> Tensor:
        """k∗ρ − share · k∗π, or its gradient."""
        weights = torch.cat([x.new_full((len(x),), 1 / len(x)), x.new_full((len(y),), -share / len(y))])
        points = torch.cat([x, y])
        return sums(self.kernel, at, points, weights, engine=self.engine, tolerance=self.tolerance, strict=False)

    def _target(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.target.shape[1]:
            raise InputError(
                f"the target of MMD2 has {self.target.shape[1]} columns, but the particles have {x.shape[1]}"
            )
        return self.target.to(x)

    def _constant(self, y: Tensor) -> Tensor:
        """E k(Y, Y′), summed once for each dtype and device."""
        key = (y.dtype, y.device)
        if key not in self._own:
            with torch.no_grad():
                own = kernel_sum(self.kernel, y, y, engine=self.engine, tolerance=self.tolerance)
            self._own[key] = own.double().mean().to(y)
        return self._own[key]


def points_of(target: Law | Tensor, rows: int, seed: int) -> Float[Tensor, "m d"]:
    """A target's own points, or `rows` of a law that has none, drawn with `seed`."""
    if isinstance(target, Empirical):
        return target.x
    if isinstance(target, Law):
        checks.at_least("rows", rows, 1)
        return target.sample(rows, keys.generator(seed, device=target.like.device))
    return checks.rows("the target", target)
