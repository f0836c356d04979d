"""Bayesian logistic regression as a target: its unnormalised log-posterior with everything in closed form."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from wgf import checks
from wgf.data import BreastCancer, Dataset, Table
from wgf.errors import InputError
from wgf.functionals import KL
from wgf.functionals.base import Pointwise
from wgf.law import Gaussian
from wgf.problem import Problem
from wgf.targets.design import design
from wgf.targets.laplace import at_mode, climb
from wgf.targets.likelihood import LogisticLikelihood
from wgf.targets.scored import Scored


class LogisticPosterior(Scored):
    """log π(w) = Σ_i log σ(s_i x_iᵀw) − |w|²/2c², up to a constant: prior N(0, c² I), likelihood P(s|x, w) = σ(s xᵀw).

    On n particles and N rows it costs one (n, N) matrix product, and one more where a gradient is wanted: value and
    score are then found together, block by block, so that the graph holds (n, d) numbers and never (n, N).

    Args: X, the design matrix (N, d) with its intercept column if there is to be one (`design`); y, labels (N,), −1 or
    +1; prior_scale, c, a standard deviation above 0.
    Called on w (n, d), it returns (n,) in the dtype and on the device of w.
    Raises: InputError for shapes that do not fit or labels other than −1 and +1.
    """

    def __init__(self, X: Float[Tensor, "N d"], y: Shaped[Tensor, " N"], prior_scale: float = 1.0) -> None:
        self.likelihood = LogisticLikelihood(X, y)
        self.prior_scale = checks.positive("prior_scale", prior_scale)
        self.rows, self.dim = self.likelihood.rows, self.likelihood.dim

    def value(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return self.likelihood.value(z) - 0.5 * z.square().sum(-1) / self.prior_scale**2

    def gradient(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The score ∇log π(w) = Σ_i σ(−s_i x_iᵀw) s_i x_i − w/c², differentiable in w."""
        return self.likelihood.score(z) - z / self.prior_scale**2

    def value_and_score(self, z: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        value, score = self.likelihood.value_and_score(z)
        precision = self.prior_scale**-2
        return value - 0.5 * precision * z.square().sum(-1), score - precision * z

    def sampled_gradient(self, rows: int, generator: torch.Generator) -> Pointwise:
        """The score with N/m Σ over m = `rows` rows of the data, drawn without replacement, for its sum: unbiased."""
        score, precision = self.likelihood.sampled_score(rows, generator), self.prior_scale**-2
        return lambda w: score(w) - precision * w

    def hessian(self, w: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
        """∇²log π(w) = −Σ_i σ(m_i)σ(−m_i) x_i x_iᵀ − I/c², m_i = s_i x_iᵀw: negative definite everywhere."""
        return -self.likelihood.information(w) - torch.eye(self.dim).to(w) / self.prior_scale**2

    def predict(self, w: Float[Tensor, "n d"], X: Float[Tensor, "M d"]) -> Float[Tensor, " M"]:
        """P(+1 | x_i) averaged over the particles; X as the design matrix."""
        return self.likelihood.predict(w, X)

    def laplace(self, iterations: int = 100) -> Gaussian:
        """N(w*, (−∇²log π(w*))⁻¹) at the mode w*, in float64, by Newton with step halving from 0.

        Raises: InputError if the Newton decrement is not below 1e-20 after `iterations`.
        """
        checks.at_least("iterations", iterations, 1)
        w = self.likelihood.signed.new_zeros(self.dim, dtype=torch.float64)
        for _ in range(iterations):
            score, information = self.gradient(w[None])[0], -self.hessian(w)
            step = torch.linalg.solve(information, score)
            if float(decrement := score @ step) < 1e-20:
                return at_mode(w, information)
            w = climb(self.value, w, step, float(decrement))
        raise InputError(f"Newton did not find this posterior's mode in {iterations} steps (decrement {decrement:.2g})")


def logistic_regression(data: Dataset = BreastCancer(), prior_scale: float = 1.0, horizon: float = 4.0) -> Problem:
    """The flow of KL to the posterior of logistic regression, from its prior N(0, c² I), in dimension d = p + 1.

    Features standardised, intercept last. F is KL up to the log-evidence. Where the data say nothing of a direction its
    rate is that of the prior, 1/c²: by t = 4c² a variance is within e⁻⁸ of the posterior's.

    Args: data, a set with two classes; prior_scale, c > 0; horizon, a time above 0.
    Raises: InputError for data without two classes or with a constant feature, and as `data.load`.
    """
    target = posterior(data, prior_scale)
    return Problem(
        KL(target),
        Gaussian.standard(target.dim, prior_scale, dtype=torch.float64),
        checks.positive("horizon", horizon),
        title=f"Logistic regression on {type(data).__name__}: {target.rows} rows, {target.dim} weights",
    )


def posterior(data: Dataset, prior_scale: float = 1.0) -> LogisticPosterior:
    """The posterior of logistic regression on `data`, features standardised and the intercept last."""
    table, y = labelled(data, "logistic_regression")
    return LogisticPosterior(design(table.X, table.names), y, prior_scale)


def labelled(data: Dataset, problem: str) -> tuple[Table, Tensor]:
    """The rows of a data set and their labels. Raises: InputError for labels other than −1 and +1."""
    table = data.load()
    if table.y is None or set(table.y.unique().tolist()) != {-1, 1}:
        raise InputError(f"{problem} needs labels −1 and +1, and {type(data).__name__} has others or none")
    return table, table.y
