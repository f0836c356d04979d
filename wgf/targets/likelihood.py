"""The likelihood of logistic regression, over all rows of the data or over weighted ones."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import logsigmoid

from wgf import checks
from wgf.errors import InputError
from wgf.functionals.base import Pointwise

BYTES = 64 * 2**20  # what one block of margins (particles × rows) may take


class Likelihood(ABC):
    """ℓ(w) with its score and information, on weights w (n, d), in the dtype and on the device of w."""

    dim: int
    rows: int

    @abstractmethod
    def value(self, w: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """ℓ(w_i)."""

    @abstractmethod
    def score(self, w: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """∇ℓ(w_i), differentiable in w."""

    @abstractmethod
    def value_and_score(self, w: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Both from one product of weights and rows."""

    @abstractmethod
    def sampled_score(self, rows: int, generator: torch.Generator) -> Pointwise:
        """An unbiased estimate of the score from so many rows, drawn without replacement."""

    @abstractmethod
    def information(self, w: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
        """−∇²ℓ(w)."""


class LogisticLikelihood(Likelihood):
    """ℓ(w) = Σ_i c_i log σ(s_i x_iᵀw), from P(s|x, w) = σ(s xᵀw); c_i = 1 where no weights are given.

    On n particles and N rows it costs one (n, N) matrix product, and one more where a score is wanted, in blocks.

    Args: X, the design matrix (N, d); y, labels (N,), −1 or +1; weights, c (N,).
    Raises: InputError for shapes that do not fit or labels other than −1 and +1.
    """

    def __init__(
        self, X: Float[Tensor, "N d"], y: Shaped[Tensor, " N"], weights: Float[Tensor, " N"] | None = None
    ) -> None:
        rows = checks.rows("X", X)
        if y.shape != (len(rows),) or not ((y == 1) | (y == -1)).all():
            seen = y.unique()[:5].tolist()
            raise InputError(f"y must be {len(rows)} labels −1 or +1, got shape {tuple(y.shape)} with values {seen}")
        self.rows, self.dim = rows.shape
        self.signed = rows * y.to(rows)[:, None]
        """s_i x_i (N, d): margins are one product."""
        ones = rows.new_ones(len(rows))
        self.weights = ones if weights is None else checks.vector("the weights of rows", weights, len(rows), rows)
        self._cast: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def value(self, w: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        S, c = self._data(w)
        return torch.cat([logsigmoid(part @ S.T) @ c for part in _blocks(w, len(S))])

    def score(self, w: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self._score(w, *self._data(w))

    def value_and_score(self, w: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        S, c = self._data(w)
        values, scores, weighted = [], [], S * c[:, None]
        for part in _blocks(w, len(S)):
            margin = part @ S.T
            values.append(logsigmoid(margin) @ c)
            scores.append(margin.neg_().sigmoid_() @ weighted)
        return torch.cat(values), torch.cat(scores)

    def sampled_score(self, rows: int, generator: torch.Generator) -> Pointwise:
        order = torch.randperm(self.rows, generator=generator, device=generator.device)
        kept = order[: checks.at_least("rows", rows, 1)]
        scale = self.rows / len(kept)

        def score(w: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
            S, c = (part[kept.to(w.device)] for part in self._data(w))
            return self._score(w, S, scale * c)

        return score

    def information(self, w: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
        """Σ_i c_i σ(m_i)σ(−m_i) x_i x_iᵀ, m_i = s_i x_iᵀw."""
        S, c = self._data(w)
        margin = S @ w
        return (S.T * (c * torch.sigmoid(margin) * torch.sigmoid(-margin))) @ S

    def predict(
        self, w: Float[Tensor, "n d"], X: Float[Tensor, "M d"], weights: Float[Tensor, " n"] | None = None
    ) -> Float[Tensor, " M"]:
        """P(+1 | x_i) averaged over the particles, by weights that sum to 1 where given; X as the design matrix."""
        even = w.new_full((len(w),), 1 / len(w)) if weights is None else weights
        return torch.cat(
            [torch.sigmoid(part @ w.T) @ even for part in _blocks(checks.rows("X", X, self.dim).to(w), len(w))]
        )

    def _score(self, w: Tensor, S: Tensor, c: Tensor) -> Tensor:
        weighted = S * c[:, None]
        return torch.cat([torch.sigmoid(-(part @ S.T)) @ weighted for part in _blocks(w, len(S))])

    def _data(self, w: Tensor) -> tuple[Tensor, Tensor]:
        key = (w.dtype, w.device)
        if key not in self._cast:
            self._cast[key] = self.signed.to(w), self.weights.to(w)
        return self._cast[key]


def _blocks(rows: Tensor, width: int) -> Iterator[Tensor]:
    yield from rows.split(max(1, BYTES // (width * rows.element_size())))
