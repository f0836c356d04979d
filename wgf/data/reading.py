"""What the readers of tables share: which columns are wanted, what a number is, and how one that is none is refused."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wgf.errors import InputError
from wgf.registry import nearest

Labels: TypeAlias = Sequence[str] | NDArray

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""Cells that say that there is no value, in lower case."""


class Found(NamedTuple):
    """Features (N, p) float64, labels (N,) as they stand in the file, and the names of the features."""

    X: NDArray[np.float64]
    labels: Labels | None
    names: tuple[str, ...]


class Chosen(NamedTuple):
    """The columns that are features and the one that is the label, by index and by name."""

    features: list[int]
    label: int | None
    names: tuple[str, ...]


class Wanted(NamedTuple):
    """The column that holds labels, and those that hold features: all others where they are not named."""

    label: str | None
    columns: tuple[str, ...] | None

    def among(self, names: Sequence[str], file: Path) -> Chosen:
        """Where they are among the names. Raises: InputError for unknown, doubled and unnamed columns."""
        twice = first_repeated(names)
        if twice is not None:
            raise InputError(f"{file} has more than one column {twice!r}; give each a name of its own")
        label = None if self.label is None else _index(self.label, names, file)
        if self.columns is None:
            features = [k for k in range(len(names)) if k != label]
        else:
            features = [_index(name, names, file) for name in self.columns]
        unnamed = next((k for k in features if not names[k]), None)
        if unnamed is not None:
            raise InputError(f"column {unnamed + 1} of {file} has no name; give it one, or leave it out by `columns`")
        if not features:
            raise InputError(f"{file} has no column but the label {self.label!r}")
        return Chosen(features, label, tuple(names[k] for k in features))


def first_repeated(names: Sequence[str]) -> str | None:
    """The first name that stands twice, unnamed columns aside."""
    return next((name for k, name in enumerate(names) if name and name in names[:k]), None)


def number(cell: str) -> float:
    """A cell as a finite number. Raises: ValueError, also for digits grouped by _, which Python alone reads as one."""
    value = float(cell)
    if not math.isfinite(value) or "_" in cell:
        raise ValueError(cell)
    return value


def is_number(cell: str) -> bool:
    """Whether `number` reads it."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def is_missing(cell: str) -> bool:
    """Whether it says that there is no value."""
    return cell.strip().lower() in MISSING


def is_infinite(cell: str) -> bool:
    """Whether it is a number too large to be one, or says inf."""
    try:
        return math.isinf(float(cell))
    except ValueError:
        return False


def refuse(file: Path, place: str, column: str, cell: str) -> NoReturn:
    """Raise InputError for a cell that is no number, saying why: missing, infinite or text."""
    where = f"{file}, {place}, column {column!r}"
    if is_missing(cell):
        said = f"is {cell.strip()}" if cell.strip() else "is empty"
        raise InputError(f"{where}: the value is missing (the cell {said}); fill in or drop rows with missing values")
    if is_infinite(cell):
        raise InputError(f"{where}: {cell.strip()} is infinite; every value must be finite")
    raise InputError(
        f"{where}: {cell.strip()!r} is not a number; leave this column out by naming in `columns` those to read, or"
        " code its categories as numbers"
    )


def finite(file: Path, names: Sequence[str], X: NDArray[np.float64]) -> NDArray[np.float64]:
    """X (N, p) if all of it is finite. Raises: InputError with row (from 1) and column of the first that is not."""
    bad = ~np.isfinite(X)
    if bad.any():
        row, k = np.argwhere(bad)[0]
        refuse(file, f"row {row + 1}", names[k], str(X[row, k]))
    return X


def _index(name: str, names: Sequence[str], file: Path) -> int:
    if name not in names:
        raise InputError(f"{file} has no column {name!r}; {nearest(name, [known for known in names if known])}")
    return list(names).index(name)
