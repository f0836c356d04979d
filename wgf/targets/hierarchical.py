"""Bayesian logistic regression whose prior precision is unknown: the hierarchical posterior."""

import copy
import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from wgf import checks
from wgf.data import BreastCancer, Dataset
from wgf.errors import InputError
from wgf.functionals.base import Pointwise
from wgf.law import Gaussian
from wgf.problem import Problem
from wgf.targets.condensed import Condensed
from wgf.targets.design import design
from wgf.targets.laplace import at_mode, climb
from wgf.targets.likelihood import Likelihood, LogisticLikelihood
from wgf.targets.logistic import labelled
from wgf.targets.scored import Scored
from wgf.targets.whitened import Whitened


class HierarchicalPosterior(Scored):
    """log π(w, a) = ℓ(w) + (d_w/2) a − ½ eᵃ|w|² + shape·a − rate·eᵃ, up to a constant, at z = (w, a), a = log α.

    Prior w | α ~ N(0, α⁻¹ I) over all d_w weights, the intercept's among them; α ~ Gamma(shape, rate) with density
    ∝ α^{shape−1} e^{−rate·α}, so that its second parameter is a rate and E α = shape/rate. Of shape·a, (shape − 1) a is
    the Gamma's and a the Jacobian log dα/da; (d_w/2) a normalises the Gaussian.

    Args: X, the design matrix (N, d_w) with its intercept column; y, labels (N,), −1 or +1; shape, rate > 0.
    Called on z (n, d_w + 1), it returns (n,) in the dtype and on the device of z.
    Raises: InputError as `LogisticLikelihood`, and for a shape or rate that is not above 0.
    """

    def __init__(
        self, X: Float[Tensor, "N d"], y: Shaped[Tensor, " N"], shape: float = 1.0, rate: float = 0.01
    ) -> None:
        self.full = LogisticLikelihood(X, y)
        self.likelihood: Likelihood = self.full
        self.shape, self.rate = checks.positive("shape", shape), checks.positive("rate", rate)
        self.dim, self.rows = self.full.dim + 1, self.full.rows

    @property
    def power(self) -> float:
        """What multiplies a: d_w/2 + shape, the shape of α given w."""
        return 0.5 * self.full.dim + self.shape

    def value(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return self.likelihood.value(z[:, :-1]) + self._prior(z)

    def gradient(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self._score(z, self.likelihood.score(z[:, :-1]))

    def value_and_score(self, z: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        value, score = self.likelihood.value_and_score(z[:, :-1])
        return value + self._prior(z), self._score(z, score)

    def sampled_gradient(self, rows: int, generator: torch.Generator) -> Pointwise:
        """The score with N/m Σ over m = `rows` rows of the data, drawn without replacement, for its sum: unbiased."""
        score = self.likelihood.sampled_score(rows, generator)
        return lambda z: self._score(z, score(z[:, :-1]))

    def hessian(self, z: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
        """∇² log π(z); not negative definite everywhere, for small w and large a form a funnel."""
        w, alpha = z[:-1], z[-1].exp()
        found = z.new_zeros(self.dim, self.dim)
        found[:-1, :-1] = -self.likelihood.information(w) - alpha * torch.eye(len(w)).to(z)
        found[:-1, -1] = found[-1, :-1] = -alpha * w
        found[-1, -1] = -alpha * (0.5 * w @ w + self.rate)
        return found

    def laplace(self, iterations: int = 500) -> Gaussian:
        """N(z*, (−∇² log π(z*))⁻¹) at a mode z*, in float64: Newton in w and the best a by turns, from w = 0, a = 0.

        Raises: InputError if the Newton decrement of both together is not below 1e-20 after `iterations` turns.
        """
        checks.at_least("iterations", iterations, 1)
        z, decrement = self.full.signed.new_zeros(self.dim, dtype=torch.float64), math.inf
        for _ in range(iterations):
            information, score = -self.hessian(z), self.gradient(z[None])[0]
            definite = not int(torch.linalg.cholesky_ex(information).info)
            decrement = float(score @ torch.linalg.solve(information, score)) if definite else math.inf
            if decrement < 1e-20:
                return at_mode(z, information)
            step = torch.zeros_like(z)
            step[:-1] = torch.linalg.solve(information[:-1, :-1], score[:-1])
            z = climb(self.value, z, step, float(score @ step))
            z[-1] = math.log(self.power / float(0.5 * z[:-1] @ z[:-1] + self.rate))
        raise InputError(f"no mode of this posterior was found in {iterations} turns (decrement {decrement:.2g})")

    def condensed(
        self, law: Gaussian, sample: int = 4096, leverage: float = 0.01, seed: int = 0
    ) -> "HierarchicalPosterior":
        """The same posterior with its likelihood on few rows, about `law` on z: see `Condensed`."""
        found = copy.copy(self)
        weights = Gaussian(law.mean[:-1], law.covariance[:-1, :-1])
        found.likelihood = Condensed(self.full, weights, sample, leverage, seed)
        return found

    def predict(
        self, z: Float[Tensor, "n d"], X: Float[Tensor, "M d_w"], weights: Float[Tensor, " n"] | None = None
    ) -> Float[Tensor, " M"]:
        """P(+1 | x_i) averaged over the particles, by weights that sum to 1 where given; X as the design matrix."""
        return self.full.predict(z[:, :-1], X, weights)

    def _prior(self, z: Tensor) -> Tensor:
        a = z[:, -1]
        return self.power * a - a.exp() * (0.5 * z[:, :-1].square().sum(-1) + self.rate)

    def _score(self, z: Tensor, likelihood: Tensor) -> Tensor:
        w, a = z[:, :-1], z[:, -1]
        slope = self.power - a.exp() * (0.5 * w.square().sum(-1) + self.rate)
        return torch.cat([likelihood - a.exp()[:, None] * w, slope[:, None]], 1)


def hierarchical_logistic(
    data: Dataset = BreastCancer(),
    shape: float = 1.0,
    rate: float = 0.01,
    spread: float = 2.0,
    horizon: float = 6.0,
) -> Problem:
    """The flow of KL to the hierarchical posterior, in the coordinates that whiten its Laplace approximation.

    Features standardised, intercept last and under the same prior. d = p + 2: p + 1 weights and log α. ρ₀ is
    N(0, spread² I): the Laplace approximation with its standard deviations `spread` times as large.

    Args: data, a set with two classes; shape, rate > 0 of α's Gamma; spread > 0; horizon, a time above 0.
    Raises: InputError for data without two classes or with a constant feature, and as `data.load`.
    """
    table, y = labelled(data, "hierarchical_logistic")
    target = HierarchicalPosterior(design(table.X, table.names), y, shape, rate)
    title = f"Hierarchical logistic regression on {type(data).__name__}: {target.rows} rows, {target.dim - 1} weights"
    return Whitened(target, target.laplace()).flow(checks.positive("spread", spread), horizon, title)
