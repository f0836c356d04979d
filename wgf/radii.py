"""Particles against an exact law on a ball: how far out they are, about their mean."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.pearson import PearsonII


@dataclass(frozen=True)
class RadialErrors:
    """Of n particles, about their mean, in float64.

    radius: R̂/R − 1, R̂ = spread · √(mean |x − x̄|²) the moment radius; edge: largest |x − x̄| over R, minus 1;
    distance: Kolmogorov–Smirnov's, sup_r |share with |x − x̄| ≤ r − P(|x| ≤ r)|, of order 0.87/√n for exact samples;
    radius_floor: the standard error of R̂/R over n exact samples, √(Var s/n)/2E s with s = |x|²/R².
    """

    radius: float
    edge: float
    distance: float
    radius_floor: float


def radii(x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """|x_i − x̄|, ascending."""
    x = x.detach().double()
    return (x - x.mean(0)).norm(dim=1).sort().values


def radial_errors(x: Float[Tensor, "n d"], exact: PearsonII) -> RadialErrors:
    """Those of the particles."""
    r = radii(x)
    n, (a, b) = len(r), (exact.dim / 2, exact.power + 1)
    below = exact.radial_cdf(r)
    steps = torch.arange(n + 1, dtype=r.dtype, device=r.device) / n
    distance = torch.maximum(steps[1:] - below, below - steps[:-1]).max()
    moment = exact.spread * float(r.square().mean()) ** 0.5
    return RadialErrors(
        radius=moment / exact.radius - 1,
        edge=float(r[-1]) / exact.radius - 1,
        distance=float(distance),
        radius_floor=0.5 * (b / (a * (a + b + 1) * n)) ** 0.5,
    )
