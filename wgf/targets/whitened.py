"""Targets in the coordinates in which a Gaussian is standard: flows that every direction enters at its own scale."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.functionals import KL
from wgf.functionals.base import Pointwise
from wgf.law import Gaussian
from wgf.problem import Problem
from wgf.targets.scored import Scored


class Whitened(Scored):
    """y ↦ log π(m + L y), LLᵀ = S: the target in the coordinates y = L⁻¹(z − m) that whiten N(m, S).

    The Wasserstein flow in y is the flow in z preconditioned by S: another path to the same limit. Values and scores
    as those of `target`, the Jacobian of the affine change being constant.

    Args: target, a log-density on z; law, N(m, S), as from `laplace`.
    """

    def __init__(self, target: Scored, law: Gaussian) -> None:
        self.target, self.dim, self.mean = target, law.dim, law.mean
        self.factor = torch.linalg.cholesky(law.covariance)

    def coordinates(self, y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """z = m + L y."""
        return self.mean.to(y) + y @ self.factor.T.to(y)

    def value(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return self.target.value(self.coordinates(z))

    def gradient(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.target.gradient(self.coordinates(z)) @ self.factor.to(z)

    def value_and_score(self, z: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        value, score = self.target.value_and_score(self.coordinates(z))
        return value, score @ self.factor.to(z)

    def sampled_gradient(self, rows: int, generator: torch.Generator) -> Pointwise:
        """As that of the target."""
        score = self.target.sampled_gradient(rows, generator)
        return lambda y: score(self.coordinates(y)) @ self.factor.to(y)

    def flow(self, spread: float = 2.0, horizon: float = 6.0, title: str = "") -> Problem:
        """The flow of KL to this target from N(0, spread² I), in float64.

        Where the target is nearly the law that whitens it, every rate is nearly 1: by t = 6 a variance is within e⁻¹²
        of its limit, relative to where it started.
        """
        initial = Gaussian.standard(self.dim, spread, dtype=torch.float64)
        return Problem(KL(self), initial, checks.positive("horizon", horizon), title=title)
