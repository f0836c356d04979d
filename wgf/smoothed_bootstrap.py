"""Rows of data spread by Gaussian noise of their own shape, so that a model cannot learn them by heart."""

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError, Unknown
from wgf.law import Empirical, OfRows, moments


class SmoothedBootstrap(OfRows):
    """The law of m + (x_i − m + h·Σ^½ Z)/√(1 + h²), i uniform on the rows, Z ~ N(0, I): the shrunk smoothed bootstrap.

    Mean m and covariance Σ are those of the rows: noise alone would make the law wider by √(1 + h²) all round.
    What a map is trained on is drawn from it; the rows that choose its weights and certify its steps are rows as they
    are, and of them training sees the mean and covariance alone (where none are held, all that is drawn is smoothed).
    Take several times as many particles as rows: each has noise of its own. A flow that knows few rows too well has
    samples that are too narrow, and noise is the cure: it costs likelihood where it hides what is finer, h/√(1 + h²) of
    a standard deviation, but moves no mean or covariance.
    Silverman, Young, *The bootstrap: to smooth or not to smooth?*, Biometrika 74 (1987) 469–479, their shrunk version.
    Noise as a regulariser of learnt (conditional) densities: Rothfuss, Ferreira, Boehm, Walther, Ulrich, Asfour, Krause
    2019, arXiv 1907.08982.

    Args: x (n, d), rows, n ≥ 2; bandwidth, h > 0, in standard deviations of the rows in whatever direction.
    Raises: InputError for bad rows or another bandwidth.
    """

    def __init__(self, x: Float[Tensor, "n d"], bandwidth: float) -> None:
        self.x = checks.rows("the rows of a SmoothedBootstrap", x)
        self.bandwidth = checks.positive("the bandwidth of a SmoothedBootstrap", bandwidth)
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
        return SmoothedBootstrap(self.x.to(target), self.bandwidth)

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """The mean, and R with RRᵀ = Σ, rows of less than full rank included."""
        wide = self.x.detach().double()
        mean, covariance = moments(wide)
        values, vectors = torch.linalg.eigh(covariance)
        return mean.to(self.x), (vectors * values.clamp_min(0).sqrt()).to(self.x)

    def _spread(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        mean, root = self._moments
        noise = torch.randn(rows.shape, dtype=rows.dtype, device=rows.device, generator=generator)
        return mean + (rows - mean + self.bandwidth * noise @ root.T) / math.hypot(1, self.bandwidth)
