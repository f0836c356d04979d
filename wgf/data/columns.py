"""Whether the columns of a table can be modelled at all: they vary, none repeats another, there are rows enough."""

import torch

from wgf.data.table import Table
from wgf.errors import InputError

ROWS = 10
"""Rows that each column needs at least."""

SAME = 1e-12
"""How near to 1 a correlation is that of two columns that say the same."""

TIED = 1e-12
"""The smallest eigenvalue of a correlation matrix at which a combination of columns counts as constant."""


def check_columns(table: Table) -> Table:
    """Return the table if a density on R^p can be learnt from it.

    A constant column, or one that is a·(another) + b (|correlation| > 1 − 1e-12), puts all mass on a plane, where there
    is no density; with fewer than 10 rows a column not even a covariance is known.
    Raises: InputError with the names of the columns, or with the number of rows that would do.
    """
    X = table.X.double()
    flat = [name for name, column in zip(table.names, X.T, strict=True) if bool((column == column[0]).all())]
    if flat and len(table) > 1:
        raise InputError(
            f"{_listed(flat)} {'is' if len(flat) == 1 else 'are'} constant: there is no density across; leave"
            f" {'it' if len(flat) == 1 else 'them'} out"
        )
    rows, columns = X.shape
    if rows < ROWS * columns:
        raise InputError(
            f"{rows} rows are too few for the {columns} columns {_listed(table.names)}: take at least {ROWS * columns}"
            f" rows{f', or {rows // ROWS} columns' if rows >= ROWS else ''}"
        )
    pair = _copies(X)
    if pair is not None:
        one, other = (table.names[k] for k in pair)
        raise InputError(f"the columns {one!r} and {other!r} are the same up to scale and shift: leave one of them out")
    tied = _tied(X)
    if tied:
        names = _listed([table.names[k] for k in tied])
        raise InputError(f"the columns {names} are tied by a linear equation: leave one of them out")
    return table


def _tied(X: torch.Tensor) -> list[int]:
    """Columns of which a combination is constant: those of the correlation matrix's null vector, if there is one."""
    unit = X - X.mean(0)
    unit = unit / unit.norm(dim=0)
    values, vectors = torch.linalg.eigh(unit.T @ unit)
    return (vectors[:, 0].abs() > 1e-3).nonzero()[:, 0].tolist() if values[0] < TIED else []


def _copies(X: torch.Tensor) -> tuple[int, int] | None:
    """The first two columns whose correlation is ±1."""
    unit = X - X.mean(0)
    unit = unit / unit.norm(dim=0)
    same = ((unit.T @ unit).abs() > 1 - SAME).triu(1).nonzero()
    return (int(same[0, 0]), int(same[0, 1])) if len(same) else None


def _listed(names: list[str] | tuple[str, ...], few: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:few])
    return f"{shown} and {len(names) - few} more" if len(names) > few else shown
