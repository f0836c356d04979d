"""The table of costs that engines are chosen by: `costs.toml` beside this file, or the one that WGF_COSTS names."""

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from wgf.errors import InputError

VARIABLE = "WGF_COSTS"
"""The environment variable that may name another table, as `wgf bench kernel-costs` writes one."""


@dataclass(frozen=True)
class Cost:
    """A row of the table: what an engine was measured to take, in seconds.

    start, a call; pair, a pair of points; point, a point and column through a Fourier sum or a sort; mode, a Fourier
    mode. least: below so many pairs an engine that compiles is not tried, for it would compile longer than it saves.
    """

    engine: str
    device: str
    dtype: str
    dim: int
    start: float
    pair: float = 0.0
    point: float = 0.0
    mode: float = 0.0
    least: int = 0


def read() -> tuple[Cost, ...]:
    """The rows. Raises: InputError for a file that cannot be read, and for a row that is none."""
    named = os.environ.get(VARIABLE)
    if not named:
        return parsed(files("wgf.kernels").joinpath("costs.toml").read_text(encoding="utf-8"), "costs.toml")
    try:
        return parsed(Path(named).read_text(encoding="utf-8"), f"{VARIABLE} = {named}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{VARIABLE} = {named} cannot be read: {getattr(error, 'strerror', error)}") from error


def parsed(text: str, source: str) -> tuple[Cost, ...]:
    """The rows of a table written as TOML, [[cost]] each. Raises: InputError, naming `source`, the row and the key."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source} is not TOML: {error}") from error
    rows = found.get("cost")
    if set(found) != {"cost"} or not isinstance(rows, list) or not rows:
        raise InputError(f"{source} must hold tables [[cost]], one or more, and nothing else")
    return tuple(_row(row, f"{source}: [[cost]] number {n + 1}") for n, row in enumerate(rows))


def _row(row: Any, where: str) -> Cost:
    if not isinstance(row, Mapping):
        raise InputError(f"{where} is not a table")
    known = {field.name: field for field in fields(Cost)}
    for key, value in row.items():
        if key not in known:
            raise InputError(f"{where}: {key!r} is not one of {', '.join(known)}")
        _fits(key, value, known[key].type, where)
    missing = [name for name, field in known.items() if field.default is MISSING and name not in row]
    if missing:
        raise InputError(f"{where} has no {', '.join(missing)}")
    return Cost(**row)


def _fits(key: str, value: Any, kind: Any, where: str) -> None:
    if kind is str:
        good, wanted = isinstance(value, str), "a text"
    elif isinstance(value, bool):
        good, wanted = False, "a number"
    elif kind is int:
        least = 1 if key == "dim" else 0
        good, wanted = isinstance(value, int) and value >= least, f"a whole number from {least} on"
    else:
        good = isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
        wanted = "a finite number of seconds, 0 or more"
    if not good:
        raise InputError(f"{where}: {key} must be {wanted}, got {value!r}")
