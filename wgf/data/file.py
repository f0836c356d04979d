"""A table in a file of your own: .csv, .npz or .parquet, and refused where it is not numbers throughout."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wgf.data import _csv, _npz, _parquet
from wgf.data.reading import Labels, Wanted, first_repeated, number
from wgf.data.table import Dataset, Table, signed
from wgf.errors import InputError

_READERS = {".csv": _csv.read, ".npz": _npz.read, ".parquet": _parquet.read}


@dataclass(frozen=True)
class File(Dataset):
    """The numbers in a file of your own, X (N, p) float64, with the names of its columns.

    .csv: comma, semicolon or tab between cells, with a header or without (then x1 … xp). .npz: the array `x` or `X`, or
    the only one with two axes; its columns are x1 … xp, or what the array `names` says. .parquet: through pyarrow.

    Two labels become −1 and +1, and more 0 … K−1, in the order of numbers or of the alphabet; numbers that are not all
    whole are a response, float64. Columns that are not asked for may hold anything.

    Args: path; label, the column (in .npz also an array of length N) that becomes y; columns, those that become X, in
    this order, all but the label by default.
    Raises: InputError naming the column and the first line (or row, from 1) with what is missing, infinite, text or
    ragged; for an unknown, doubled or unnamed column, an empty, truncated or absent file, another suffix, no pyarrow.
    """

    path: str
    label: str | None = None
    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.columns is None:
            return
        columns = (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)
        object.__setattr__(self, "columns", columns)  # specs are values, and lists have no hash
        twice = self.label if self.label in columns else first_repeated(columns)
        if not columns or twice is not None:
            said = f"{twice!r} twice" if columns else "none"
            raise InputError(f"columns must be distinct names, the label not among them, got {said}")

    def load(self) -> Table:
        file = Path(self.path)
        read = _READERS.get(file.suffix.lower())
        if read is None:
            raise InputError(f"{file} must end in {', '.join(_READERS)}")
        if not file.is_file():
            raise InputError(f"{file} is not a file; a relative path starts from {Path.cwd()}")
        found = read(file, Wanted(self.label, None if self.columns is None else tuple(self.columns)))
        y = None if found.labels is None else _codes(found.labels, f"{file}, column {self.label!r}")
        return Table(torch.from_numpy(found.X), y, found.names)


def _codes(labels: Labels, where: str) -> Tensor:
    """Classes in order, −1 and +1 where there are two; numbers as they are where not all are whole."""
    values = _as_numbers(labels)
    if values.dtype.kind == "f" and not (values == values.round()).all():
        return torch.from_numpy(values.astype(np.float64))
    kinds, codes = np.unique(values, return_inverse=True)
    if len(kinds) < 2:
        raise InputError(f"{where}: every label is {kinds[0]}; labels must tell rows apart")
    index = torch.from_numpy(codes).long()
    return signed(index == 1) if len(kinds) == 2 else index


def _as_numbers(labels: Labels) -> NDArray:
    """Text that reads as numbers throughout is numbers, so that 10 comes after 9."""
    values = np.asarray(labels)
    if values.dtype.kind != "U":
        return values
    try:
        return np.array([number(value) for value in values.tolist()])
    except ValueError:
        return values
