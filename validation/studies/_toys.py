"""How near samples come to the toy laws in the plane: shares of modes, radii of circles, MMD² along a flow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.stats import rice
from torch import Tensor

from validation.metrics import Estimate
from wgf import Law, keys
from wgf.kernels import Gaussian as GaussianKernel
from wgf.kernels import Radial
from wgf.two_sample import mmd2_unbiased

BANDWIDTHS = (3.0, 0.3, 0.03)
KERNEL: Radial = GaussianKernel(3.0) + GaussianKernel(0.3) + GaussianKernel(0.03)
"""Σ exp(−|z|²/2σ²), σ = 3 (the distance of modes), 0.3 and 0.03: at one scale alone MMD² is blind to the others."""


@dataclass(frozen=True)
class Coverage:
    """Of n samples against k modes of equal mass: the share of all rows within three noise standard deviations of each
    centre, and the share that is nearer to it than to any other, both (k,).
    """

    close: Float[Tensor, " k"]
    nearest: Float[Tensor, " k"]

    @property
    def covered(self) -> int:
        """How many modes have between half and one and a half times 1/k (of 25: 2 % to 6 %) close to them."""
        k = len(self.close)
        return int(((self.close >= 0.5 / k) & (self.close <= 1.5 / k)).sum())

    @property
    def within(self) -> float:
        """The share of all rows that is close to some centre; 1 − e^{−9/2} = 0.989 of exact samples."""
        return float(self.close.sum())


def coverage(x: Float[Tensor, "n 2"], centres: Float[Tensor, "k 2"], noise: float) -> Coverage:
    """That of the rows of x, in float64."""
    distance, mode = torch.cdist(x.double(), centres.double()).min(1)
    close = mode[distance <= 3 * noise]
    return Coverage(*(torch.bincount(found, minlength=len(centres)) / len(x) for found in (close, mode)))


def radial_share(r: Float[Tensor, " n"], radii: Sequence[float], noise: float) -> Float[Tensor, " n"]:
    """P(|x| ≤ r) of the even mixture of circles seen through noise: |x| has Rice's law on each."""
    shares = [rice.cdf(r.double().numpy() / noise, radius / noise) for radius in radii]
    return torch.from_numpy(sum(shares) / len(shares))


def radial_distance(x: Float[Tensor, "n 2"], radii: Sequence[float], noise: float) -> float:
    """Kolmogorov–Smirnov's distance of |x| to that law: 0.87/√n on average of n exact samples."""
    r, n = x.double().norm(dim=1).sort().values, len(x)
    below, steps = radial_share(r, radii, noise), torch.arange(n + 1, dtype=torch.float64) / n
    return float(torch.maximum(steps[1:] - below, below - steps[:-1]).max())


def discrepancies(laws: Sequence[Law], target: Law, seed: int, rows: int = 1000, blocks: int = 10) -> list[Estimate]:
    """The unbiased MMD² of each law to the target with `KERNEL`, a mean over blocks of rows, and its standard error."""
    found = []
    for k, law in enumerate(laws):
        generators = [keys.generator(seed, k, side) for side in (0, 1)]
        x, y = (side.sample(rows * blocks, g).double() for side, g in zip((law, target), generators, strict=True))
        pairs = zip(x.chunk(blocks), y.chunk(blocks), strict=True)
        values = torch.tensor([float(mmd2_unbiased(KERNEL, *pair)) for pair in pairs], dtype=torch.float64)
        found.append(Estimate(float(values.mean()), float(values.std()) / math.sqrt(blocks)))
    return found
