"""Tabular benchmarks from the WGF_DATA folder."""

from dataclasses import dataclass

import numpy as np
import torch

from wgf.data import folder
from wgf.data.table import Dataset, Table, numbered, signed
from wgf.errors import InputError

RAETSCH = ("banana", "diabetis", "german", "image", "ringnorm", "splice", "twonorm", "waveform")


@dataclass(frozen=True)
class Raetsch(Dataset):
    """A pool of the Rätsch benchmark by name, distinct rows only (the sizes of the published tables), labels ±1.

    X is float32; splice codes the four bases as 1 … 4. Raises: InputError for a name not in `RAETSCH`.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in RAETSCH:
            raise InputError(f"Raetsch has the pools {', '.join(RAETSCH)}, got {self.name!r}")

    def load(self) -> Table:
        raw = folder.arrays(f"raetsch/{self.name}.npz", ("X", "y", "unique"))
        X, y = (torch.from_numpy(raw[field][raw["unique"]]) for field in ("X", "y"))
        return Table(X, y.long(), numbered("x", X.shape[1]))


@dataclass(frozen=True)
class Covertype(Dataset):
    """581,012 forest cells, 54 features (10 numeric, 4 wilderness areas, 40 soils), +1 for lodgepole pine and −1 else.

    X is float32, 125 MB. The first 15,120 rows are balanced between classes: shuffle before taking a part.
    """

    def load(self) -> Table:
        raw = folder.arrays("covertype/covtype.npz", ("quant_T", "wilderness", "soil", "cover_type"))
        quantities, areas, soils = (torch.from_numpy(raw[field]) for field in ("quant_T", "wilderness", "soil"))
        X = torch.zeros(len(areas), 54)
        X[:, :10] = quantities.T
        X.scatter_(1, 10 + areas.long()[:, None], 1.0)
        X.scatter_(1, 14 + soils.long()[:, None], 1.0)
        names = numbered("quantity", 10) + numbered("wilderness", 4) + numbered("soil", 40)
        return Table(X, signed(torch.from_numpy(raw["cover_type"]) == 2), names)


@dataclass(frozen=True)
class Miniboone(Dataset):
    """MINIBOONE as preprocessed for MAF and standardised by its train and validation rows: 43 features, no labels.

    These 6,932 rows are its validation and test rows, the 29,556 training rows could not be had: say so next to every
    figure. X is float32.
    """

    def load(self) -> Table:
        raw = folder.arrays("miniboone/miniboone_val_test.npz", ("val", "test"))
        X = torch.from_numpy(np.concatenate([raw["val"], raw["test"]]))
        return Table(X, None, numbered("x", X.shape[1]))
