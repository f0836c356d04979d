"""Snapshots of cell populations from the WGF_DATA folder."""

from dataclasses import dataclass

import torch

from wgf.data import folder
from wgf.data.table import Dataset, Table, numbered
from wgf.errors import InputError

SINGLE_CELL = (
    "cytobridge_emt",
    "cytobridge_simulation_gene_data",
    "tigon_bifurcation",
    "tigon_emt",
    "tigon_simulation",
)


@dataclass(frozen=True)
class SingleCell(Dataset):
    """Cells in a latent space, X float32, with the index of the time they were seen at as their label y.

    Raises: InputError for a name not in `SINGLE_CELL`.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in SINGLE_CELL:
            raise InputError(f"SingleCell has the sets {', '.join(SINGLE_CELL)}, got {self.name!r}")

    def load(self) -> Table:
        raw = folder.arrays(f"single_cell/{self.name}.npz", ("X", "t"))
        X = torch.from_numpy(raw["X"])
        return Table(X, torch.from_numpy(raw["t"]).long(), numbered("latent", X.shape[1]))
