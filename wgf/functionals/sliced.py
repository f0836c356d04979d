"""Sliced distances to a target: averages over directions of what sorting computes exactly on a line."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.functionals.base import HasVariation, OnSamples, Term, Variation
from wgf.functionals.quantiles import LineTransport
from wgf.kernels.radial import Radial
from wgf.kernels.slices import Slices, project, sliceable, sliced_sums
from wgf.kernels.sorting import order_rows, sort_rows_
from wgf.law import Cloud, Empirical, Law

BYTES = 2**27
"""What the projections worked on at a time may take, and what a term keeps of its target's."""

ARRAYS = 12
"""How many float64 arrays of the projections there are at most."""


class SlicedW2(Term, OnSamples, HasVariation):
    """F(ρ) = ½ SW₂²(ρ, π) = ½ mean over θ of W₂²(θ_#ρ, θ_#π), with ∇δF/δρ(x) = mean of θ (⟨x, θ⟩ − T_θ(⟨x, θ⟩)).

    T_θ is the monotone map that carries θ_#ρ to θ_#π, exact for any numbers of particles and of points of π. The flow
    is the sliced-Wasserstein flow; as E θθᵀ = I/d, it is slower by d than a flow of W₂: a mean tends to that of π as
    e^{−t/d}, and steps τ up to d are stable. Away from the particles the first variation is the Kantorovich potential,
    whose slope jumps from one gap between projections to the next.

    Cost O(p (n + m) log(n + m)) for p directions; energies and velocities are differentiable. Source: Bonneel et al.,
    *Sliced and Radon Wasserstein barycenters of measures*, JMIV 2015; Liutkus et al., *Sliced-Wasserstein flows*, ICML
    2019, arXiv 1806.08141, whose functional this is without its entropy.

    Args: target, a law or points (m, d); projections, how many directions; seed, of the directions and of the `rows`
    that are drawn of a law without points of its own; fresh, other directions for other particles, see
    `kernels.slices.Slices`. Raises: InputError for a target that is not finite or of another dimension.
    """

    def __init__(
        self, target: Law | Tensor, projections: int = 128, seed: int = 0, rows: int = 10_000, fresh: bool = False
    ) -> None:
        self.target, self.slices = _points(target, rows, seed), Slices(projections, seed, fresh)
        self._kept: dict[torch.device, Tensor] = {}

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        x = cloud.x.detach()
        energy, slope, theta = x.new_zeros(len(x), dtype=torch.float64), torch.zeros_like(x).double(), self._at(x)
        for some, v in self._blocks(theta, len(x)):
            u, order = order_rows(project(x, some))
            line = LineTransport(u, v)
            energy += torch.empty_like(u).scatter_(1, order, line.costs()).sum(0)
            slope += torch.empty_like(u).scatter_(1, order, u - line.images()).T @ some
        return _quadratic(cloud.x, energy / len(theta), slope / len(theta), theta)

    def first_variation(self, cloud: Cloud) -> Variation:
        particles = cloud.x.detach()
        theta = self._at(particles)

        def value(x: Tensor) -> Tensor:
            at = x.detach()
            potential, slope = x.new_zeros(len(x), dtype=torch.float64), torch.zeros_like(at).double()
            for some, v in self._blocks(theta, len(particles) + len(x)):
                line, s = LineTransport(sort_rows_(project(particles, some)), v), project(at, some)
                potential += line.potential(s).sum(0)
                slope += line.slope(s).T @ some
            return _quadratic(x, potential / len(theta), slope / len(theta), theta)

        def gradient(x: Tensor) -> Tensor:
            at, slope = x.detach(), torch.zeros_like(x).double()
            own = torch.equal(at, particles)
            for some, v in self._blocks(theta, len(particles) + len(x)):
                u, order = order_rows(project(particles, some))
                line = LineTransport(u, v)
                if own:
                    slope += torch.empty_like(u).scatter_(1, order, u - line.images()).T @ some
                else:
                    slope += line.slope(project(at, some)).T @ some
            return _linear(x, slope / len(theta), theta)

        return Variation(value, gradient)

    def _at(self, x: Tensor) -> Float[Tensor, "p d"]:
        checks.rows("the target", self.target, x.shape[1])
        return self.slices.at(x)

    def _blocks(self, theta: Float[Tensor, "p d"], points: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Directions, some at a time, with the sorted projections of the target on them."""
        at_once = max(1, BYTES // (8 * ARRAYS * (points + len(self.target))))
        kept = self._kept.get(theta.device)
        if kept is None and not self.slices.fresh and 8 * len(theta) * len(self.target) <= BYTES:
            kept = self._kept[theta.device] = sort_rows_(project(self.target.to(theta.device), theta))
        for start in range(0, len(theta), at_once):
            some = theta[start : start + at_once]
            yield (
                some,
                (
                    sort_rows_(project(self.target.to(theta.device), some))
                    if kept is None
                    else kept[start:][: len(some)]
                ),
            )


class SlicedMMD2(Term, OnSamples, HasVariation):
    """F(ρ) = mean over θ of MMD²(θ_#ρ, θ_#π) for a kernel on the line: the biased MMD² of k_Θ(z) = mean of k(⟨θ, z⟩).

    For k = Energy(), the negative distance kernel of Riesz MMD flows, F tends to c_d MMD²(ρ, π) with the kernel −|z| in
    R^d as directions are added, c_d = Γ(d/2) / (√π Γ((d+1)/2)), at the Monte-Carlo rate p^{−1/2}; but in
    O(p (n + m) log(n + m)). δF/δρ = 2 k_Θ∗(ρ − π). Energies are differentiable, velocities are closed forms.

    Source: Hertrich, Wald, Altekrüger, Hagemann, *Generative sliced MMD flows with Riesz kernels*, ICLR 2024, arXiv
    2305.11463.

    Args: kernel, a sum of multiples of Energy(1), Power(1) … Power(4), Laplace, Matern32 or Matern52; else as SlicedW2.
    Raises: Incompatible for another kernel; InputError for a target that is not finite or of another dimension.
    """

    def __init__(
        self,
        kernel: Radial,
        target: Law | Tensor,
        projections: int = 128,
        seed: int = 0,
        rows: int = 10_000,
        fresh: bool = False,
    ) -> None:
        self.kernel, self._pieces = kernel, sliceable(kernel)
        self.target, self.slices = _points(target, rows, seed), Slices(projections, seed, fresh)

    @property
    def name(self) -> str:
        return f"SlicedMMD2({self.kernel.name})"

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        x, n = cloud.x, len(cloud.x)
        z, w = self._both(x)
        potential = sliced_sums(self._pieces, self.slices.at(x), z, z, w, None)[0][:, 0]
        return potential[:n] - potential[n:].mean()

    def first_variation(self, cloud: Cloud) -> Variation:
        particles = cloud.x.detach()
        z, w = self._both(particles)
        theta = self.slices.at(particles)

        def value(x: Tensor) -> Tensor:
            return 2 * sliced_sums(self._pieces, theta, x, z.to(x), w.to(x), None)[0][:, 0]

        def gradient(x: Tensor) -> Tensor:
            if not x.requires_grad and torch.equal(x, particles):  # points over themselves need no search
                return 2 * sliced_sums(self._pieces, theta, z, z, None, w)[1][: len(x), 0]
            return 2 * sliced_sums(self._pieces, theta, x, z.to(x), None, w.to(x))[1][:, 0]

        return Variation(value, gradient)

    def _both(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n+m d"], Float[Tensor, "n+m 1"]]:
        """The particles and the target, with the weights of ρ − π."""
        target = checks.rows("the target", self.target, x.shape[1]).to(x)
        weights = [x.new_full((len(x), 1), 1 / len(x)), x.new_full((len(target), 1), -1 / len(target))]
        return torch.cat([x, target]), torch.cat(weights)


def _points(target: Law | Tensor, rows: int, seed: int) -> Float[Tensor, "m d"]:
    """The points of a target: its own where it has them, otherwise `rows` draws from `seed`."""
    if isinstance(target, Empirical):
        return target.x
    if isinstance(target, Law):
        generator = keys.generator(seed, 1, device=target.like.device)
        return target.sample(checks.at_least("rows", rows, 1), generator)
    return checks.rows("the target", target).detach()


def _linear(x: Tensor, slope: Tensor, theta: Tensor) -> Float[Tensor, "n d"]:
    """The slope at x, with its derivative mean θθᵀ: as long as no two projections change places, T_θ does not move."""
    if not x.requires_grad:
        return slope.to(x)
    away = x - x.detach()
    return slope.to(x) + away @ (theta.T @ theta / len(theta)).to(x)


def _quadratic(x: Tensor, value: Tensor, slope: Tensor, theta: Tensor) -> Float[Tensor, " n"]:
    """The value at x, with the derivatives that `_linear` has."""
    if not x.requires_grad:
        return value.to(x)
    away = x - x.detach()
    return value.to(x) + (away * (slope.to(x) + 0.5 * away @ (theta.T @ theta / len(theta)).to(x))).sum(-1)
