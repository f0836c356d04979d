"""A synthetic table in the manner of POWER, with its exact density: skewed, bounded, correlated, of several modes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from wgf import checks, keys
from wgf.data.table import Dataset, Table
from wgf.law import Gaussian, Law, Mixture, Pushforward
from wgf.maps.base import Map, Transport, half_square

NAMES = ("active power", "reactive power", "voltage", "current", "metered", "hour")

_WEIGHTS = (0.4, 0.4, 0.2)
_MEANS = (
    (-1.0, -0.8, 0.6, -1.0, -2.0, -1.2),
    (0.2, 0.3, 0.0, 0.2, 1.5, 0.0),
    (1.2, 0.4, -0.8, 1.2, 2.5, 1.3),
)
_LOADINGS = ((0.6, 0.0), (0.2, 0.5), (-0.3, -0.3), (0.6, 0.05), (0.4, 0.3), (0.0, 0.2))
_OWN = (0.15, 0.4, 0.5, 0.15, 0.5, 0.35)


@dataclass(frozen=True)
class Household(Dataset):
    """Independent rows in dimension 6 of a law that is drawn, like POWER's in kind and no part of it.

    x = T(z), z of the mixture .4, .4, .2 (night, day, evening) of N(m_c, ΛΛᵀ + diag s²), and T column by column:
    active power and current e^{z/2}, skewed and tied to each other; reactive power log(1 + e^z) and metered
    log(1 + e^{2z}), which pile up above zero, the second in two modes; voltage 240 + 3z; hour 24/(1 + e^{−z}), bounded.

    Args: rows ≥ 1; seed of the draws. Rows are float64, y is None. Raises: InputError for an argument outside these
    ranges.
    """

    rows: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("rows", self.rows, 1)
        checks.at_least("seed", self.seed, 0)

    def load(self) -> Table:
        return Table(self.law().sample(self.rows, keys.generator(self.seed)), None, NAMES)

    def law(self) -> Law:
        """The law itself, with its density."""
        loadings, own = (torch.tensor(rows, dtype=torch.float64) for rows in (_LOADINGS, _OWN))
        covariance = loadings @ loadings.T + own.square().diag()
        parts = [Gaussian(torch.tensor(mean, dtype=torch.float64), covariance) for mean in _MEANS]
        return Pushforward(Mixture(parts, list(_WEIGHTS)), _Columns())


class _Columns(Map):
    """T of `Household`: each column by a formula of its own, increasing."""

    dim = len(NAMES)

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        y = self._move(x)
        return Transport(y, half_square(y - x), self._log_slopes(x).sum(1) if logdet else None)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        return self._move(x), self._log_slopes(x).exp().diag_embed()

    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        active, reactive, voltage, current, metered, hour = y.unbind(1)
        back = [2 * active.log(), _unplus(reactive), (voltage - 240) / 3, 2 * current.log(), _unplus(metered) / 2]
        x = torch.stack([*back, (hour / 24).logit()], 1)
        return x, -self._log_slopes(x).sum(1) if logdet else None

    def _move(self, z: Tensor) -> Tensor:
        active, reactive, voltage, current, metered, hour = z.unbind(1)
        loads = [(active / 2).exp(), softplus(reactive), 240 + 3 * voltage, (current / 2).exp(), softplus(2 * metered)]
        return torch.stack([*loads, 24 * hour.sigmoid()], 1)

    def _log_slopes(self, z: Tensor) -> Tensor:
        """log T′_a(z_a)."""
        active, reactive, voltage, current, metered, hour = z.unbind(1)
        half, two, three, day = z.new_tensor([0.5, 2.0, 3.0, 24.0]).log()
        slopes = [half + active / 2, logsigmoid(reactive), three + 0 * voltage, half + current / 2]
        return torch.stack([*slopes, two + logsigmoid(2 * metered), day + logsigmoid(hour) + logsigmoid(-hour)], 1)


def _unplus(y: Tensor) -> Tensor:
    """The x with log(1 + e^x) = y > 0, without overflow."""
    return y + (-(-y).expm1()).log()
