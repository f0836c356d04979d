"""Rows of numbers in files: .csv, one row a line under an optional header, and .npz with one array."""

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.data import File
from wgf.data.table import numbered
from wgf.errors import InputError


def save_rows(file: Path, x: Float[Tensor, "n d"], names: list[str] | None = None) -> None:
    """Write rows as .csv with a header (x1 … xd by default), or as .npz with the array `x`."""
    _suffix(file)
    columns = x.detach().cpu().numpy()
    if file.suffix == ".npz":
        np.savez_compressed(file, x=columns)
    else:
        header = ",".join(names or [f"x{i}" for i in range(1, columns.shape[1] + 1)])
        np.savetxt(
            file,
            columns,
            delimiter=",",
            header=header,
            comments="",
            fmt="%.17g" if columns.dtype == np.float64 else "%.9g",
        )


def load_rows(file: Path, dim: int, names: Sequence[str] | None = None) -> Float[Tensor, "n d"]:
    """Rows of length `dim`, float64, from .csv, .npz or .parquet; by their `names` where the file has a header of them.

    Raises: InputError for a file that cannot be read, missing values, NaN, or another width.
    """
    if names is not None:
        return checks.rows(str(file), _by_name(file, names).double(), dim)
    _suffix(file)
    try:
        rows = _npz(file) if file.suffix == ".npz" else _csv(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} does not hold rows of numbers: {error}") from error
    return checks.rows(str(file), torch.from_numpy(np.asarray(rows, dtype=np.float64)), dim)


def _by_name(file: Path, names: Sequence[str]) -> Tensor:
    """The columns of these names; of a file without a header, all in their order."""
    try:
        return File(str(file), columns=list(names)).load().X
    except InputError as refused:
        try:
            whole = File(str(file)).load()
        except InputError:
            raise refused from None
        if whole.names != numbered("x", len(whole.names)):
            raise
        return whole.X


def _suffix(file: Path) -> None:
    if file.suffix not in (".csv", ".npz"):
        raise InputError(f"{file} must end in .csv or .npz")


def _npz(file: Path) -> np.ndarray:
    with np.load(file, allow_pickle=False) as archive:
        return archive["x" if "x" in archive.files or len(archive.files) != 1 else archive.files[0]]


def _csv(file: Path) -> np.ndarray:
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an empty file: said by the check of its rows
        return np.loadtxt(lines[_headed(lines) :], delimiter=",", ndmin=2)


def _headed(lines: list[str]) -> int:
    try:
        [float(cell) for cell in lines[0].split(",")] if lines else []
        return 0
    except ValueError:
        return 1
