"""A potential flow around the optimal motion between two Gaussians: for data of few directions in many dimensions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import OTFlow, checks
from wgf.maps import PotentialFlow

FLOOR = 1e-3
"""The least factor by which noise is compressed."""


class AboutGaussian(PotentialFlow):
    """Φ = Φ₀ + the potential of an OTFlow, Φ₀ that of the optimal motion from N(0, σ²I) to N(c, S), S of the data.

    x(t) = (1 − t/T)x(0) + (t/T)(c + M x(0)), M = S^½/σ: without the network paths are straight and Hamilton–Jacobi
    holds. An OTFlow moves in the span of its features only, and would leave all other noise as it is. S is that of the
    `rank` first principal components, and isotropic in the others, with M at least `FLOOR`, that ∇Φ₀(T) exist.

    Args: network, an OTFlow(d), whose horizon, steps and scheme the motion has; data (n, d); spread, σ > 0; rank;
    start ≥ 0, the deviation of the network's last weights before training.
    """

    centre: Tensor
    directions: Tensor
    stretch: Tensor

    def __init__(
        self, network: OTFlow, data: Float[Tensor, "n d"], spread: float, rank: int, start: float = 0.0
    ) -> None:
        super().__init__(network.dim, network.end, network.steps, network.scheme)
        self.network, self.horizon, self.deviation = network, network.end, checks.not_negative("start", start)
        rank = min(checks.at_least("rank", rank, 1), network.dim)
        variances, vectors = torch.linalg.eigh(torch.cov(data.double().T))
        scales = variances.clamp_min(0).sqrt().flip(0) / checks.positive("spread", spread)
        others = scales[rank:].square().mean().sqrt() if rank < network.dim else scales[-1]
        self.register_buffer("centre", data.mean(0))
        self.register_buffer("directions", vectors.T.flip(0)[:rank].to(data))
        self.register_buffer("stretch", torch.cat([scales[:rank], others[None]]).clamp_min(FLOOR).to(data))

    def reset(self, generator: torch.Generator) -> None:
        self.network.reset(generator)
        weight = self.network.weight
        drawn = torch.randn(weight.shape, generator=generator, device=generator.device)
        with torch.no_grad():
            weight.copy_(self.deviation * drawn)

    def gradient(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d+1"]:
        v = self._bent(t, x - t / self.horizon * self.centre) + self.centre / self.horizon
        return self.network.gradient(t, x) + torch.cat([-v, 0.5 * v.square().sum(-1, keepdim=True)], 1)

    def divergences(self, times: Sequence[float], points: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "k n"]:
        others = self.dim - len(self.directions)
        added = [float(rates.sum() + (others - 1) * rates[-1]) for rates in map(self._rates, times)]
        found = self.network.divergences(times, points)
        return found + found.new_tensor(added)[:, None]

    def velocity_tangents(
        self, t: float, x: Float[Tensor, "n d"], dx: Float[Tensor, "k n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k n d"]]:
        _, dv = self.network.velocity_tangents(t, x, dx)
        return self.velocity(t, x), dv + self._bent(t, dx)

    def _bent(self, t: float, z: Tensor) -> Tensor:
        """(M − I)(T + t(M − I))⁻¹ z."""
        rates = self._rates(t)
        return rates[-1] * z + ((z @ self.directions.T) * (rates[:-1] - rates[-1])) @ self.directions

    def _rates(self, t: float) -> Tensor:
        """Its eigenvalues: along the principal components, and last the one of all other directions."""
        return (self.stretch - 1) / (self.horizon + t * (self.stretch - 1))
