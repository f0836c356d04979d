"""Posteriors whose moments or draws are published: what samplers are compared with. From the WGF_DATA folder."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from wgf.data import folder
from wgf.data.table import Dataset, Table, numbered, signed
from wgf.errors import InputError

POSTERIORS = ("kidiq-kidscore_interaction", "eight_schools-eight_schools_noncentered", "sblrc-blr")


class Reference(NamedTuple):
    """Published posterior moments: mean (d,), standard deviation (d,), standard error of the mean (d,), float64."""

    mean: Tensor
    sd: Tensor
    se: Tensor


@dataclass(frozen=True)
class GermanCredit(Dataset):
    """German credit, numeric: 1000 rows, 24 integer features, +1 where the raw label is 1 (300 rows) and −1 elsewhere.

    Its posterior with standardised features, an intercept last and the prior N(0, I) has published moments.
    """

    def load(self) -> Table:
        raw = folder.arrays(_GERMAN, ("X", "y"))
        X = torch.from_numpy(raw["X"]).double()
        return Table(X, signed(torch.from_numpy(raw["y"]) == 1), numbered("x", X.shape[1]))

    def reference(self) -> Reference:
        """The published moments of the logistic posterior, intercept last (inference-gym 0.0.5)."""
        fields = ("mean", "standard_deviation", "mean_standard_error")
        raw = folder.arrays(_GERMAN, tuple(f"logit_identity_{field}" for field in fields))
        return Reference(*(torch.from_numpy(value) for value in raw.values()))


@dataclass(frozen=True)
class ReferencePosterior(Dataset):
    """Gold-standard draws of posteriordb by name: 10 chains of 1000 draws of p parameters, float32.

    Raises: InputError for a name not in `POSTERIORS`.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in POSTERIORS:
            raise InputError(f"ReferencePosterior has {', '.join(POSTERIORS)}, got {self.name!r}")

    def load(self) -> Table:
        """The draws of all chains as rows, (10000, p), the chain as label y, the parameters as names."""
        raw = folder.arrays(self._file, ("draws", "names"))
        chains, length, p = raw["draws"].shape
        chain = torch.arange(chains).repeat_interleave(length)
        return Table(torch.from_numpy(raw["draws"].reshape(-1, p)), chain, tuple(str(name) for name in raw["names"]))

    def draws(self) -> Float[Tensor, "chains draws p"]:
        """The draws by chain, so that their own Monte-Carlo error can be estimated."""
        return torch.from_numpy(folder.arrays(self._file, ("draws",))["draws"])

    def observations(self) -> dict[str, Shaped[Tensor, "..."]]:
        """What the posterior is conditioned on, by the names of its model (y, X, sigma, …)."""
        prefix = "data_"
        return {
            field.removeprefix(prefix): torch.from_numpy(value)
            for field, value in folder.arrays(self._file).items()
            if field.startswith(prefix)
        }

    @property
    def _file(self) -> str:
        return f"reference_posteriors/posteriordb_{self.name}.npz"


_GERMAN = "reference_posteriors/german_credit_numeric_blr.npz"
