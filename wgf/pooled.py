"""Gaussian mixtures of one covariance, and laws of that form that cover a cloud with several centres."""

import warnings

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.law import Gaussian, Law, Like, Mixture
from wgf.tree import Tree

SEEN = 20_000
"""Rows that centres are refined on, at most."""

NUMBERS = 2**23
"""Differences of rows and centres that are held at a time."""

TRIED, STARTS = 4000, 16
"""Rows on which k-means starts so many times: a single start merges modes more often than not."""

WIDE = 0.1
"""The share of a cover that is the one Gaussian of all rows: the density of a cloud over it stays bounded where that
over the Gaussian is."""


class PooledMixture(Law):
    """Σ_k w_k N(μ_k, S): one covariance S, factored once, so that the density costs one product and k distances a row.

    Args: means, (k, d); covariance S, (d, d), symmetric positive definite; weights (k,), positive, of any sum.
    Raises: InputError for weights that are not positive, and as Gaussian does.
    """

    def __init__(self, means: Float[Tensor, "k d"], covariance: Like, weights: Like) -> None:
        self.means = checks.rows("the means of a PooledMixture", means)
        self.within = Gaussian(torch.zeros_like(self.means[0]), covariance)
        self.weights = checks.vector("the weights of a PooledMixture", weights, len(self.means), self.means)
        if (self.weights <= 0).any():
            raise InputError(f"the weights of a PooledMixture must be positive, got {self.weights.tolist()}")
        self._shares = (self.weights / self.weights.sum()).to(self.means)
        self._centres = self.within.whiten(self.means)

    @property
    def like(self) -> Tensor:
        return self.means

    @property
    def has_density(self) -> bool:
        return True

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        which = torch.multinomial(self._shares, n, replacement=True, generator=generator)
        return self.means[which] + self.within.sample(n, generator)

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        peak = self.within.log_prob(torch.zeros_like(self.means[:1]))
        blocks = self.within.whiten(x).split(max(1, NUMBERS // self.means.numel()))
        return torch.cat([self._exponents(block) for block in blocks]) + peak

    def _exponents(self, white: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        apart = (white[:, None] - self._centres).square().sum(-1)
        return torch.logsumexp(self._shares.log() - 0.5 * apart, -1)

    def to(self, target: torch.dtype | torch.device | str) -> "PooledMixture":
        return PooledMixture(self.means.to(target), self.within.covariance.to(target), self.weights.to(target))


def pooled(x: Float[Tensor, "n d"], centres: int, ridge: float) -> Tree:
    """Means, covariance and weights of a `PooledMixture` fitted to the rows by k-means, `ridge` on the diagonal.

    The centres are the best of 16 starts on at most 4,000 rows, refined on at most 20,000, and no more than there are
    different rows; every row then counts for the nearest.
    """
    means = torch.as_tensor(_centres(_some(x, SEEN).double().cpu().numpy(), centres)).to(x)
    centres = len(means)
    nearest = torch.cat([torch.cdist(part, means).argmin(1) for part in x.split(SEEN)])
    counts = torch.bincount(nearest, minlength=centres)
    sums = torch.zeros_like(means).index_add_(0, nearest, x)
    means = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], means)
    within = Gaussian.fit(x - means[nearest], ridge)
    return {"means": means, "within": within.covariance, "weights": counts.clamp_min(1).to(x)}


def cover(x: Float[Tensor, "n d"], gaussian: Gaussian, centres: int, ridge: float) -> Tree:
    """`pooled` of the rows, or nothing where `covering` with it would be no nearer to them than the Gaussian alone.

    By the mean log-density of at most 20,000 of the rows, which differs from −KL(ρ‖Γ) by what no Γ changes.
    """
    fitted, seen = pooled(x, centres, ridge), _some(x, SEEN)
    nearer = covering(gaussian, fitted).log_prob(seen).mean() > gaussian.log_prob(seen).mean()
    return fitted if bool(nearer) else {}


def covering(gaussian: Gaussian, fitted: Tree) -> Mixture:
    """One tenth the Gaussian of all rows, and the rest a `PooledMixture` of what `pooled` found."""
    mixture = PooledMixture(fitted["means"], fitted["within"], fitted["weights"])
    return Mixture([gaussian, mixture], [WIDE, 1 - WIDE])


def _some(x: Tensor, most: int) -> Tensor:
    return x[:: -(-len(x) // most)]


def _centres(x: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Those of the start that leaves the least squared distance to the nearest."""
    few = x[:: -(-len(x) // TRIED)]
    count = min(count, len(np.unique(few, axis=0)))
    with warnings.catch_warnings():  # of a centre that lost all its rows, which keeps a weight of one row
        warnings.simplefilter("ignore", UserWarning)
        starts = [kmeans2(few, count, minit="++", seed=seed) for seed in range(STARTS)]
        best, _ = min(starts, key=lambda start: float(np.square(few - start[0][start[1]]).sum()))
        return kmeans2(x, best, minit="matrix")[0]
