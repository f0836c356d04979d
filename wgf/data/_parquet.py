"""Tables in .parquet files, through pyarrow, which is optional and imported only here."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wgf.data.reading import Found, Labels, Wanted, finite, is_missing, refuse
from wgf.errors import InputError


def read(file: Path, wanted: Wanted) -> Found:
    """The wanted columns: no other is read from the disk."""
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError(
            f"{file} is read by pyarrow, which is not installed: pip install 'wgf-toolkit[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(file) as archive:
            names = tuple(archive.schema_arrow.names)
            chosen = wanted.among(names, file)
            label = () if chosen.label is None else (names[chosen.label],)
            table = archive.read(columns=[*chosen.names, *label])
    except InputError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{file} is truncated, damaged, or no .parquet file: {error}") from error
    if not table.num_rows:
        raise InputError(f"{file} has no rows")
    X = np.stack([_numbers(file, name, table.column(name), arrow.types) for name in chosen.names], 1)
    return Found(X, _labels(file, label[0], table.column(label[0]), arrow.types) if label else None, chosen.names)


def _numbers(file: Path, name: str, column: Any, types: Any) -> NDArray[np.float64]:
    """One column (N,); a missing value is null or NaN."""
    if not _is_numeric(column.type, types):
        row = next((row for row, value in enumerate(column, 1) if value.is_valid), 1)
        value = column[row - 1].as_py()
        refuse(file, f"row {row}", name, "" if value is None else f"{value} (of type {column.type})")
    _refuse_null(file, name, column)
    return finite(file, (name,), column.to_numpy().astype(np.float64)[:, None])[:, 0]


def _labels(file: Path, name: str, column: Any, types: Any) -> Labels:
    _refuse_null(file, name, column)
    if _is_numeric(column.type, types):
        return _numbers(file, name, column, types)
    words = [str(word) for word in column.to_pylist()]
    missing = next((row for row, word in enumerate(words, 1) if is_missing(word)), None)
    if missing is not None:
        refuse(file, f"row {missing}", name, words[missing - 1])
    return words


def _refuse_null(file: Path, name: str, column: Any) -> None:
    if column.null_count:
        row = next(row for row, value in enumerate(column, 1) if not value.is_valid)
        refuse(file, f"row {row}", name, "null")


def _is_numeric(kind: Any, types: Any) -> bool:
    return any(test(kind) for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal))
