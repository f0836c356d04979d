"""Gaussian mixtures of one covariance, and laws of that form that cover a cloud with several centres."""

import warnings

import torch
from jaxtyping import Float
from scipy.cluster.vq import kmeans2
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.law import Gaussian, Law, Like, Mixture
from wgf.tree import Tree

SEEN = 20_000
"""Rows that centres are looked for on."""

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
        white = self.within.whiten(x)
        parts = [-0.5 * (white - centre).square().sum(-1) for centre in self._centres]
        peak = self.within.log_prob(torch.zeros_like(self.means[:1]))
        return torch.logsumexp(torch.stack(parts, -1) + self._shares.log(), -1) + peak

    def to(self, target: torch.dtype | torch.device | str) -> "PooledMixture":
        return PooledMixture(self.means.to(target), self.within.covariance.to(target), self.weights.to(target))


def pooled(x: Float[Tensor, "n d"], centres: int, ridge: float) -> Tree:
    """Means, covariance and weights of a `PooledMixture` fitted to the rows by k-means, `ridge` on the diagonal.

    The centres are those of 20,000 of the rows; every row then counts for the nearest.
    """
    seen = _some(x).double().cpu().numpy()
    with warnings.catch_warnings():  # of a centre that lost all its rows, which keeps a weight of one row below
        warnings.simplefilter("ignore", UserWarning)
        found, _ = kmeans2(seen, centres, minit="++", seed=0)
    means = torch.as_tensor(found).to(x)
    nearest = torch.cat([torch.cdist(part, means).argmin(1) for part in x.split(SEEN)])
    counts = torch.bincount(nearest, minlength=centres)
    sums = torch.zeros_like(means).index_add_(0, nearest, x)
    means = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], means)
    within = Gaussian.fit(x - means[nearest], ridge)
    return {"means": means, "within": within.covariance, "weights": counts.clamp_min(1).to(x)}


def cover(x: Float[Tensor, "n d"], gaussian: Gaussian, centres: int, ridge: float) -> Tree:
    """`pooled` of the rows, or nothing where `covering` with it would be no nearer to them than the Gaussian alone.

    By the mean log-density of 20,000 of the rows, which differs from −KL(ρ‖Γ) by what no Γ changes.
    """
    fitted, seen = pooled(x, centres, ridge), _some(x)
    nearer = covering(gaussian, fitted).log_prob(seen).mean() > gaussian.log_prob(seen).mean()
    return fitted if bool(nearer) else {}


def covering(gaussian: Gaussian, fitted: Tree) -> Mixture:
    """One tenth the Gaussian of all rows, and the rest a `PooledMixture` of what `pooled` found."""
    mixture = PooledMixture(fitted["means"], fitted["within"], fitted["weights"])
    return Mixture([gaussian, mixture], [WIDE, 1 - WIDE])


def _some(x: Tensor) -> Tensor:
    return x[:: -(-len(x) // SEEN)]
