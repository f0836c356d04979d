"""The folder of data sets that the environment variable WGF_DATA names: read in place, never copied."""

import gzip
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wgf.errors import InputError

VARIABLE = "WGF_DATA"
_DAMAGE = (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)


def path(relative: str) -> Path:
    """The file `relative` in the folder. Raises: InputError naming the variable and the file if either is missing."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise InputError(f"{relative} is looked for in the folder that {VARIABLE} names: set that environment variable")
    file = Path(folder) / relative
    if not file.is_file():
        raise InputError(f"{relative} is not in the folder that the environment variable {VARIABLE} names ({folder})")
    return file


def arrays(relative: str, fields: Sequence[str] | None = None) -> dict[str, NDArray]:
    """The arrays `fields` (all by default) of an .npz file, read without pickle.

    Raises: InputError as `path`, and for a file that is truncated, not an .npz file, or lacks a field.
    """
    file = path(relative)
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {field: archive[field] for field in (archive.files if fields is None else fields)}
    except KeyError as error:
        raise InputError(f"{relative} in {VARIABLE} lacks an array: {error.args[0]}") from error
    except _DAMAGE as error:
        raise _damaged(relative, error) from error


def idx(relative: str) -> NDArray[np.uint8]:
    """The array of bytes in a gzipped idx file (the format of MNIST). Raises: InputError as `arrays`."""
    file = path(relative)
    try:
        raw = gzip.decompress(file.read_bytes())
        if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
            raise ValueError("it does not start as an idx file of bytes")
        shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)
    except _DAMAGE as error:
        raise _damaged(relative, error) from error


def _damaged(relative: str, error: Exception) -> InputError:
    return InputError(f"{relative} in {VARIABLE} is truncated or damaged ({error}): fetch it again")
