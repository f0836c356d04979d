"""Rows of data spread by Gaussian noise of their own shape, so that a model cannot learn them by heart."""

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError, Unknown
from wgf.law import Empirical, OfRows


class SmoothedBootstrap(OfRows):
    """The law of x_i + h·Σ^½ Z, i uniform on the rows, Z ~ N(0, I), Σ their covariance: the smoothed bootstrap.

    Shrunk, of m + (x_i − m + h·Σ^½ Z)/√(1 + h²), m their mean: then mean and covariance are those of the rows (to a
    share of 1/n, as Σ is unbiased), where noise alone makes the law wider by √(1 + h²) all round.
    What a map is trained on is drawn from it; the rows that choose its weights and certify its steps are rows as they
    are, and of them training sees the mean and covariance alone (where none are held, all that is drawn is smoothed).
    Take several times as many particles as rows: each has noise of its own. A flow that knows few rows too well has
    samples that are too narrow, and noise is the cure: it costs likelihood where it hides what is finer.
    Silverman, Young, *The bootstrap: to smooth or not to smooth?*, Biometrika 74 (1987) 469–479, who have both.
    Noise as a regulariser of learnt (conditional) densities: Rothfuss, Ferreira, Boehm, Walther, Ulrich, Asfour, Krause
    2019, arXiv 1907.08982.

    Args: x (n, d), rows, n ≥ 2; bandwidth, h > 0, in standard deviations of the rows in whatever direction; shrunk.
    Raises: InputError for bad rows or another bandwidth.
    """

    def __init__(self, x: Float[Tensor, "n d"], bandwidth: float, shrunk: bool = False) -> None:
        self.x = checks.rows("the rows of a SmoothedBootstrap", x)
        self.bandwidth = checks.positive("the bandwidth of a SmoothedBootstrap", bandwidth)
        self.shrunk = shrunk
        if len(self.x) < 2:
            raise InputError("a SmoothedBootstrap needs at least 2 rows, for a covariance, got 1")

    @property
    def like(self) -> Tensor:
        return self.x

    @property
    def has_density(self) -> bool:
        return False

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        return self._spread(Empirical(self.x).sample(n, generator), generator)

    def disjoint(self, sizes: Sequence[int], generator: torch.Generator) -> Float[Tensor, "n d"]:
        """sizes[0] rows, then sizes[1], …, and last smoothed samples, all from rows of their own.

        The last part has all rows that the others leave, each as often as another: the others have as many as they
        want, or where these were more than half of all, as those of `Empirical`.
        """
        judging, n = sum(sizes[:-1]), len(self.x)
        if 2 * judging > n:
            rows = Empirical(self.x).disjoint(sizes, generator)
            return torch.cat([rows[:judging], self._spread(rows[judging:], generator)])
        rows = self.x[torch.randperm(n, generator=generator, device=self.x.device)]
        left = rows[judging:]
        rounds = range(max(1, -(-sizes[-1] // len(left))))
        orders = [torch.randperm(len(left), generator=generator, device=left.device) for _ in rounds]
        chosen = left[torch.cat(orders)[: sizes[-1]]]
        return torch.cat([rows[:judging], self._spread(chosen, generator)])

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        raise Unknown("the density of smoothed rows is a sum over all of them, and not that of their law: learn one")

    def to(self, target: torch.dtype | torch.device | str) -> "SmoothedBootstrap":
        return SmoothedBootstrap(self.x.to(target), self.bandwidth, self.shrunk)

    @cached_property
    def _root(self) -> Tensor:
        """R with RRᵀ = Σ, rows of less than full rank included."""
        wide = self.x.detach().double()
        values, vectors = torch.linalg.eigh(torch.cov(wide.T).reshape(wide.shape[1], -1))
        return (vectors * values.clamp_min(0).sqrt()).to(self.x)

    def _spread(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        noise = torch.randn(rows.shape, dtype=rows.dtype, device=rows.device, generator=generator)
        spread = rows + self.bandwidth * noise @ self._root.T
        return torch.lerp(self.x.mean(0), spread, 1 / math.hypot(1, self.bandwidth)) if self.shrunk else spread
