"""The bandwidth rule of Stein variational gradient descent: the median of distances over a root of log n."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.kernels.bandwidth import Bandwidth, Median
from wgf.kernels.families import Gaussian
from wgf.kernels.radial import Radial


@dataclass(frozen=True)
class MedianLog(Bandwidth):
    """A Gaussian kernel of bandwidth h, 2h² = med²/ln(n + 1), of n points x: then n exp(−med²/2h²) ≈ 1.

    So the others together push a particle about as hard as it weighs itself. med is the median of the distances between
    different rows among at most `rows` of them, as in `Median`. A single point, which no other pushes, has h = 1.
    Source: Liu & Wang, NeurIPS 2016, section 5, whose h is our 2h²; n + 1 is theirs, in the code of their experiments.
    """

    rows: int = 1_000

    def __post_init__(self) -> None:
        checks.at_least("rows", self.rows, 2)

    @property
    def name(self) -> str:
        return f"MedianLog(rows={self.rows})"

    def kernel(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"] | None = None) -> Radial:
        n = len(x) + (0 if y is None else len(y))
        if n == 1:
            return Gaussian(1.0)
        factor = 1 / math.sqrt(2 * math.log(n + 1))
        return Median(Gaussian, factor, self.rows).kernel(x, y)
