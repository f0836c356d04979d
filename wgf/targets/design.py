"""Design matrices: standardised features with the intercept as the last column."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError

FLAT = 1e-10  # a column whose deviation is below this share of its size is constant up to rounding


@dataclass(frozen=True)
class Design:
    """X ↦ [(X − mean)/scale, 1], float64: fitted on training rows, it serves held-out rows too."""

    mean: Float[Tensor, " p"]
    scale: Float[Tensor, " p"]

    @classmethod
    def fit(cls, X: Float[Tensor, "N p"], names: Sequence[str] | None = None) -> "Design":
        """Mean and population (1/N) standard deviation of the columns.

        Raises: InputError for entries that are not finite, and for constant columns, by name.
        """
        raw = checks.rows("the features", X).double()
        mean, scale = raw.mean(0), raw.std(0, correction=0)
        flat = (scale <= FLAT * raw.abs().amax(0)).nonzero()[:, 0].tolist()
        if flat:
            called = ", ".join(str(i) if names is None else str(names[i]) for i in flat)
            raise InputError(f"features must vary between rows to be standardised; constant: {called}; drop them")
        return cls(mean, scale)

    def __call__(self, X: Float[Tensor, "N p"]) -> Float[Tensor, "N q"]:
        """The design matrix, (N, p + 1). Raises: InputError for another number of columns."""
        raw = checks.rows("the features", X, len(self.mean)).double()
        return torch.cat([(raw - self.mean) / self.scale, raw.new_ones(len(raw), 1)], 1)


def design(X: Float[Tensor, "N p"], names: Sequence[str] | None = None) -> Float[Tensor, "N q"]:
    """[(X − mean)/std, 1] with population standard deviations, the intercept last: (N, p + 1), float64."""
    return Design.fit(X, names)(X)
