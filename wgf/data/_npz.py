"""Tables in .npz files: one array with two axes, read without pickle."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wgf.data.reading import Found, Labels, Wanted, finite, is_missing, is_number, refuse
from wgf.data.table import numbered
from wgf.errors import InputError

_DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

Arrays: TypeAlias = dict[str, NDArray]


def read(file: Path, wanted: Wanted) -> Found:
    """The wanted columns, and the labels, which may also be an array (N,) of their own."""
    arrays = _arrays(file)
    table = _only_table(file, arrays)
    names = _names(file, arrays, table.shape[1])
    if wanted.label is not None and wanted.label not in names and arrays.get(wanted.label, table).ndim == 1:
        X, _, used = _columns(file, table, names, wanted._replace(label=None))
        return Found(X, _beside(file, arrays[wanted.label], wanted.label, len(X)), used)
    return _columns(file, table, names, wanted)


def _columns(file: Path, table: NDArray, names: tuple[str, ...], wanted: Wanted) -> Found:
    chosen = wanted.among(names, file)
    X = _numbers(file, table[:, chosen.features], chosen.names)
    if chosen.label is None:
        return Found(X, None, chosen.names)
    cells = table[:, chosen.label]
    return Found(X, _beside(file, cells, names[chosen.label], len(X)), chosen.names)


def _arrays(file: Path) -> Arrays:
    try:
        with zipfile.ZipFile(file):  # np.load would take an .npy file, and guess that others are pickles
            pass
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        raise InputError(f"{file} is truncated, damaged, or no .npz file of plain arrays: {error}") from error


def _only_table(file: Path, arrays: Arrays) -> NDArray:
    tables = [name for name, value in arrays.items() if value.ndim == 2]
    chosen = [name for name in ("x", "X") if name in arrays] or (tables if len(tables) == 1 else [])
    if not chosen:
        raise InputError(
            f"{file} must hold an array x or X, or only one with two axes, got"
            f" {', '.join(f'{name} {value.shape}' for name, value in arrays.items()) or 'none'}"
        )
    table = arrays[chosen[0]]
    if table.ndim != 2 or 0 in table.shape:
        raise InputError(f"{file}: the array {chosen[0]} must have shape (N, p), N and p at least 1, got {table.shape}")
    return table


def _names(file: Path, arrays: Arrays, count: int) -> tuple[str, ...]:
    names = arrays.get("names")
    if names is None:
        return numbered("x", count)
    if names.shape != (count,):
        raise InputError(f"{file}: the array names must have shape ({count},), one for each column, got {names.shape}")
    return tuple(str(name) for name in names)


def _numbers(file: Path, table: NDArray, names: tuple[str, ...]) -> NDArray[np.float64]:
    """The table in float64, its text read as numbers where it can be."""
    if table.dtype.kind == "U":
        for row, cells in enumerate(table.tolist(), 1):
            for name, cell in zip(names, cells, strict=True):
                if not is_number(cell):
                    refuse(file, f"row {row}", name, cell)
    elif table.dtype.kind not in "biuf":
        raise InputError(f"{file}: the table must hold real numbers, got {table.dtype} in column {names[0]!r}, row 1")
    return finite(file, names, table.astype(np.float64))


def _beside(file: Path, labels: NDArray, name: str, rows: int) -> Labels:
    """Labels (N,), numbers or text."""
    if labels.shape != (rows,) or labels.dtype.kind not in "biufU":
        raise InputError(
            f"{file}: the labels {name!r} must be {rows} numbers or words, got {labels.dtype} {labels.shape}"
        )
    if labels.dtype.kind != "U":
        finite(file, (name,), labels.astype(np.float64)[:, None])
        return labels
    words = labels.tolist()
    missing = next((row for row, word in enumerate(words, 1) if is_missing(word)), None)
    if missing is not None:
        refuse(file, f"row {missing}", name, words[missing - 1])
    return words
