"""A likelihood of very many rows on few of them: control variates about a centre."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.errors import InputError
from wgf.functionals.base import Pointwise
from wgf.law import Gaussian
from wgf.targets.likelihood import Likelihood, LogisticLikelihood


class Condensed(Likelihood):
    """ℓ̃(w) = Σ_{i∈K} c_i ℓ_i(w) + Σ_i T_i(w) − Σ_{i∈K} c_i T_i(w), T_i the Taylor polynomial of ℓ_i to second order.

    T_i is taken at the mean of `law`. K holds the rows whose margin x_iᵀw has a variance above `leverage` under `law`,
    with c_i = 1, and `sample` of the others, with c_i their number over `sample`: ℓ̃ has the mode and the information of
    ℓ at the centre, and errs only by what a sample makes of third derivatives of nearly linear terms. The sum of the
    last two terms is one quadratic, found once. Source: control variates for subsampled likelihoods, Bardenet, Doucet,
    Holmes 2017 (JMLR 18), §7.2; here with the sample fixed.

    Args: full, the likelihood of all rows; law, an approximation of the posterior of w; sample ≥ 1; leverage > 0;
    seed, of the sample. Raises: InputError for arguments outside these ranges or a law of another dimension.
    """

    def __init__(
        self, full: LogisticLikelihood, law: Gaussian, sample: int = 4096, leverage: float = 0.01, seed: int = 0
    ) -> None:
        if law.dim != full.dim:
            raise InputError(f"the law must have {full.dim} dimensions, one a weight, got {law.dim}")
        variance = ((full.signed @ law.covariance.to(full.signed)) * full.signed).sum(1)
        low = (variance <= checks.positive("leverage", leverage)).nonzero()[:, 0]
        drawn = low[
            torch.randperm(len(low), generator=keys.generator(seed)).to(low)[: checks.at_least("sample", sample, 1)]
        ]
        kept = torch.cat([(variance > leverage).nonzero()[:, 0], drawn])
        weights = full.weights[kept].clone()
        weights[len(kept) - len(drawn) :] *= len(low) / max(1, len(drawn))
        self.kept = LogisticLikelihood(full.signed[kept], torch.ones_like(kept), weights)
        self.rows, self.dim, self.centre = full.rows, full.dim, law.mean.to(full.signed)
        at = self.centre[None]
        self.constant = full.value(at) - self.kept.value(at)
        self.slope = (full.score(at) - self.kept.score(at))[0]
        self.curvature = full.information(self.centre) - self.kept.information(self.centre)

    def value(self, w: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return self.kept.value(w) + self._quadratic(w)

    def score(self, w: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.kept.score(w) + self._slope(w)

    def value_and_score(self, w: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        value, score = self.kept.value_and_score(w)
        return value + self._quadratic(w), score + self._slope(w)

    def sampled_score(self, rows: int, generator: torch.Generator) -> Pointwise:
        score = self.kept.sampled_score(rows, generator)
        return lambda w: score(w) + self._slope(w)

    def information(self, w: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
        return self.kept.information(w) + self.curvature.to(w)

    def _quadratic(self, w: Tensor) -> Tensor:
        change = w - self.centre.to(w)
        return (
            self.constant.to(w) + change @ self.slope.to(w) - 0.5 * ((change @ self.curvature.to(w)) * change).sum(-1)
        )

    def _slope(self, w: Tensor) -> Tensor:
        return self.slope.to(w) - (w - self.centre.to(w)) @ self.curvature.to(w)
