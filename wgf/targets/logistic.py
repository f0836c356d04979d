"""Bayesian logistic regression as a target: its unnormalised log-posterior with everything in closed form."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import logsigmoid

from wgf import checks
from wgf.data import BreastCancer, Dataset
from wgf.errors import InputError
from wgf.functionals import KL
from wgf.functionals.base import Pointwise
from wgf.law import Gaussian
from wgf.problem import Problem
from wgf.targets.design import design

BYTES = 64 * 2**20  # what one block of margins (particles × rows) may take


class LogisticPosterior:
    """log π(w) = Σ_i log σ(s_i x_iᵀw) − |w|²/2c², up to a constant: prior N(0, c² I), likelihood P(s|x, w) = σ(s xᵀw).

    On n particles and N rows it costs one (n, N) matrix product, and one more where a gradient is wanted: value and
    score are then found together, block by block, so that the graph holds (n, d) numbers and never (n, N).

    Args: X, the design matrix (N, d) with its intercept column if there is to be one (`design`); y, labels (N,), −1 or
    +1; prior_scale, c, a standard deviation above 0.
    Called on w (n, d), it returns (n,) in the dtype and on the device of w.
    Raises: InputError for shapes that do not fit or labels other than −1 and +1.
    """

    def __init__(self, X: Float[Tensor, "N d"], y: Shaped[Tensor, " N"], prior_scale: float = 1.0) -> None:
        rows = checks.rows("X", X)
        if y.shape != (len(rows),) or not ((y == 1) | (y == -1)).all():
            seen = y.unique()[:5].tolist()
            raise InputError(f"y must be {len(rows)} labels −1 or +1, got shape {tuple(y.shape)} with values {seen}")
        self.prior_scale = checks.positive("prior_scale", prior_scale)
        self.rows, self.dim = rows.shape
        self._signed = rows * y.to(rows)[:, None]  # s_i x_i: margins are one product
        self._cast: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def __call__(self, w: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return _LogPosterior.apply(w, self) if w.requires_grad and torch.is_grad_enabled() else self._value(w)

    def gradient(self, w: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The score ∇log π(w) = Σ_i σ(−s_i x_iᵀw) s_i x_i − w/c², differentiable in w."""
        S = self._rows(w)
        return torch.cat([torch.sigmoid(-(part @ S.T)) @ S for part in _blocks(w, len(S))]) - w / self.prior_scale**2

    def sampled_gradient(self, rows: int, generator: torch.Generator) -> Pointwise:
        """The score with N/m Σ over m = `rows` rows of the data, drawn without replacement, for its sum: unbiased."""
        order = torch.randperm(self.rows, generator=generator, device=generator.device)
        kept = order[: checks.at_least("rows", rows, 1)]
        scale, precision = self.rows / len(kept), self.prior_scale**-2

        def score(w: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
            S = self._rows(w)[kept.to(w.device)]
            parts = [torch.sigmoid(-(part @ S.T)) @ S for part in _blocks(w, len(S))]
            return scale * torch.cat(parts) - precision * w

        return score

    def hessian(self, w: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
        """∇²log π(w) = −Σ_i σ(m_i)σ(−m_i) x_i x_iᵀ − I/c², m_i = s_i x_iᵀw: negative definite everywhere."""
        S = self._rows(w)
        margin = S @ w
        weight = torch.sigmoid(margin) * torch.sigmoid(-margin)
        return -(S.T * weight) @ S - torch.eye(self.dim).to(w) / self.prior_scale**2

    def predict(self, w: Float[Tensor, "n d"], X: Float[Tensor, "M d"]) -> Float[Tensor, " M"]:
        """P(+1 | x_i) averaged over the particles; X as the design matrix."""
        parts = [torch.sigmoid(part @ w.T).mean(1) for part in _blocks(checks.rows("X", X, self.dim).to(w), len(w))]
        return torch.cat(parts)

    def laplace(self, iterations: int = 100) -> Gaussian:
        """N(w*, (−∇²log π(w*))⁻¹) at the mode w*, in float64, by Newton with step halving from 0.

        Raises: InputError if the Newton decrement is not below 1e-20 after `iterations`.
        """
        checks.at_least("iterations", iterations, 1)
        w = self._signed.new_zeros(self.dim, dtype=torch.float64)
        for _ in range(iterations):
            score = self.gradient(w[None])[0]
            step = torch.linalg.solve(-self.hessian(w), score)
            if float(decrement := score @ step) < 1e-20:
                return Gaussian(w, _inverse(-self.hessian(w)))
            w = self._climb(w, step, float(decrement))
        raise InputError(f"Newton did not find this posterior's mode in {iterations} steps (decrement {decrement:.2g})")

    def _climb(self, w: Tensor, step: Tensor, decrement: float) -> Tensor:
        value, length = float(self(w[None])), 1.0
        slack = 1e-12 * (1 + abs(value))  # near the mode the gain is below the rounding of the value
        while float(self((w + length * step)[None])) < value + 0.25 * length * decrement - slack and length > 1e-10:
            length /= 2
        return w + length * step

    def _value_and_score(self, w: Tensor) -> tuple[Tensor, Tensor]:
        S, values, scores = self._rows(w), [], []
        for part in _blocks(w, len(S)):
            margin = part @ S.T
            values.append(logsigmoid(margin).sum(-1))
            scores.append(margin.neg_().sigmoid_() @ S)
        precision = self.prior_scale**-2
        return torch.cat(values) - 0.5 * precision * w.square().sum(-1), torch.cat(scores) - precision * w

    def _value(self, w: Tensor) -> Tensor:
        S = self._rows(w)
        likelihood = torch.cat([logsigmoid(part @ S.T).sum(-1) for part in _blocks(w, len(S))])
        return likelihood - 0.5 * w.square().sum(-1) / self.prior_scale**2

    def _rows(self, w: Tensor) -> Tensor:
        key = (w.dtype, w.device)
        if key not in self._cast:
            self._cast[key] = self._signed.to(w)
        return self._cast[key]


class _LogPosterior(torch.autograd.Function):
    """The value, with the score found beside it; differentiable twice, the second time through the closed score."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, posterior: LogisticPosterior) -> Tensor:
        value, score = posterior._value_and_score(w)
        ctx.posterior = posterior
        ctx.save_for_backward(w, score)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        w, score = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            score = ctx.posterior.gradient(w)
        return grads[0][:, None] * score, None


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
    table = data.load()
    if table.y is None or set(table.y.unique().tolist()) != {-1, 1}:
        raise InputError(f"logistic_regression needs labels −1 and +1, and {type(data).__name__} has others or none")
    return LogisticPosterior(design(table.X, table.names), table.y, prior_scale)


def _blocks(rows: Tensor, width: int) -> Iterator[Tensor]:
    yield from rows.split(max(1, BYTES // (width * rows.element_size())))


def _inverse(matrix: Tensor) -> Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix))
