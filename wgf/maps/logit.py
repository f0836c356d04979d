"""A cube taken to the whole space: a fixed map for columns that are bounded, such as pixels."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.maps.base import Static, Transport, half_square


class Logit(Static):
    """T(x) = log((x − a)/(b − x)), coordinate by coordinate, from the cube (a, b)^d to R^d.

    T⁻¹(y) = a + (b − a)/(1 + e⁻ʸ) and log|det ∇T| = Σ log((b − a)/((x − a)(b − x))), both exact; nothing is trained.
    Where ρ is a law on R^d, Pushforward(ρ, Inverse(T)) has all its mass in the cube. For images: Dinh, Sohl-Dickstein,
    Bengio, *Real NVP*, ICLR 2017, arXiv 1605.08803, §4.1.

    Args: dim, d; low, a, and high, b, the ends of every coordinate, a < b.
    Raises: InputError for ends that are not finite or not in order, and for points outside the cube.
    """

    def __init__(self, dim: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.low, self.high = checks.finite("low", low), checks.finite("high", high)
        if not self.low < self.high:
            raise InputError(f"a Logit needs low < high, got {low!r} and {high!r}")

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        below, above = self._gaps(x)
        return below.log() - above.log()

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        y = self.move(x)
        return Transport(y, half_square(y - x), self._slopes(x).log().sum(1) if logdet else None)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        return self.move(x), torch.diag_embed(self._slopes(x))

    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        share = torch.sigmoid(y)
        low, high = (share.new_tensor(end) for end in (self.low, self.high))
        x = (self.low + (self.high - self.low) * share).clamp(torch.nextafter(low, high), torch.nextafter(high, low))
        if not logdet:
            return x, None
        slopes = torch.nn.functional.logsigmoid(y) + torch.nn.functional.logsigmoid(-y)
        return x, (slopes + math.log(self.high - self.low)).sum(1)

    def _gaps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        below, above = x - self.low, self.high - x
        outside = ~((below > 0) & (above > 0)).all(1)
        if outside.any():
            row = int(outside.nonzero()[0])
            raise InputError(
                f"a Logit takes points of ({self.low:g}, {self.high:g})^{self.dim}, got row {row} with entries from"
                f" {float(x[row].min()):g} to {float(x[row].max()):g}"
            )
        return below, above

    def _slopes(self, x: Tensor) -> Tensor:
        below, above = self._gaps(x)
        return (self.high - self.low) / (below * above)
