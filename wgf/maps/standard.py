"""Columns brought to mean zero and variance one: a fixed map, fitted in closed form."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.maps.base import Static, Transport, half_square


class Standard(Static):
    """T(x) = (x − m)/s, coordinate by coordinate, with log|det ∇T| = −Σ log s and T⁻¹(y) = m + s y, all exact.

    m, `mean`, and s, `scale`, are buffers, no weights: nothing is trained, and `reset` keeps them. Where ρ is the law
    of the standardised rows, Pushforward(ρ, Inverse(T)) is that of the rows in their own units, with its density.

    Args: mean (d,); scale (d,), above zero, both in units of x.
    Raises: InputError for entries that are not finite, a scale that is not positive, or shapes that differ.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float[Tensor, " d"], scale: Float[Tensor, " d"]) -> None:
        super().__init__()
        mean = checks.vector("the mean of a Standard map", mean)
        scale = checks.vector("the scale of a Standard map", scale, mean.numel(), mean).to(mean)
        if not (scale > 0).all():
            raise InputError(f"the scale of a Standard map must be positive, got {scale.tolist()}")
        self.dim = mean.numel()
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("scale", scale.detach().clone())

    @classmethod
    def fit(cls, x: Float[Tensor, "n d"]) -> "Standard":
        """The map that takes these rows to mean 0 and (biased, 1/n) variance 1.

        Its statistics are computed in float64 and kept in the dtype of the rows, on their device.
        Raises: InputError for rows that are not finite, or columns that are constant.
        """
        x = checks.rows("the rows of a Standard map", x)
        flat = (x == x[0]).all(0)
        if flat.any():
            raise InputError(f"column {int(flat.nonzero()[0]) + 1} of the rows is constant: it has no scale; drop it")
        wide = x.detach().double()
        return cls(wide.mean(0), wide.std(0, correction=0)).to(x.dtype)

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return (x - self.mean) / self.scale

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        y = self.move(x)
        volume = -self._log_scale.expand(len(x)) if logdet else None
        return Transport(y, half_square(y - x), volume)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        return self.move(x), torch.diag(1 / self.scale).expand(len(x), self.dim, self.dim)

    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        return self.mean + self.scale * y, self._log_scale.expand(len(y)) if logdet else None

    @property
    def _log_scale(self) -> Float[Tensor, ""]:
        return self.scale.log().sum()
