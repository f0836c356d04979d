"""From what was typed to a spec: a problem's name or a TOML file, with flags that override it."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wgf import registry, spec
from wgf.components import Table, as_table, kind_of
from wgf.errors import SpecError
from wgf.steppers import Stepper

TABLES = (".csv", ".npz", ".parquet")
"""The endings of files that are data, not specs."""
FIVE = {"tau": 5.0, "steps": 5}
"""Steps that learn a density, where nothing is said of them: several do as well at any size."""


def assemble(
    target: str,
    stepper: str | None = None,
    tau: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    particles: int | None = None,
    settings: Iterable[str] = (),
    method: str | None = None,
    settled: float | None = None,
    device: str | None = None,
) -> Table:
    """The spec of `target`, a problem, a .toml file or a table of data, under the flags; checked only when it is built.

    A table, FILE.csv, .npz or .parquet, stands for the density of its rows, learnt by JKO-Flow in five steps.

    A tau or a number of steps replaces the file's whole schedule, and another stepper or method all of the file's.
    Raises: SpecError for both a stepper and a method.
    """
    if stepper is not None and method is not None:
        raise SpecError(f"--stepper {stepper} and --method {method} both say how to step; keep one of them")
    raw, settings = _said(target), list(settings)
    scheduled = any(setting.lstrip().startswith(("schedule", "taus", "tau", "steps")) for setting in settings)
    if target.lower().endswith(TABLES):
        method = "jko-flow" if stepper is None and method is None else method
        if tau is None and steps is None and not scheduled:
            raw |= FIVE
    if stepper is not None and as_table(raw.get("stepper", {}), "stepper").get("type") != stepper:
        raw["stepper"] = {"type": stepper}
    if method is not None and as_table(raw.get("method", {}), "method").get("type") != method:
        raw["method"] = {"type": method}
    for given, other in ((stepper, "method"), (method, "stepper")):
        if given is not None:
            raw.pop(other, None)
    if tau is not None or steps is not None:
        raw = {key: value for key, value in raw.items() if key not in ("tau", "steps", "taus", "schedule")}
    plain = {"tau": tau, "steps": steps, "settled": settled, "seed": seed, "dtype": dtype, "device": device}
    raw |= {key: value for key, value in plain.items() if value is not None}
    for setting in settings:
        override(raw, setting)
    if particles is not None:
        put(raw, _particles(raw), particles, f"--particles {particles}")
    return raw


def _said(target: str) -> Table:
    if target.endswith(".toml"):
        return spec.read(Path(target))
    if target.lower().endswith(TABLES):
        return {"problem": {"type": "density", "data": {"type": "file", "path": str(Path(target).resolve())}}}
    return {"problem": {"type": target}}


def override(raw: Table, setting: str) -> None:
    """Apply KEY=VALUE to a spec: a dotted key is a path from its root, a bare one an argument of the problem."""
    key, equals, value = setting.partition("=")
    key = key.strip()
    if not (equals and key and all(key.split("."))):
        raise SpecError(f"--set {setting!r} should read KEY=VALUE, such as dim=12 or stepper.map.width=128")
    path = key.split(".") if "." in key else ["problem", key]
    if path[0] not in spec.ROOT:
        raise SpecError(f"--set {setting}: a dotted key starts at the root of the spec; did you mean problem.{key}?")
    put(raw, path, literal(value.strip()), f"--set {setting}")


def put(raw: Table, path: list[str], value: Any, typed: str) -> None:
    """Set the entry of a nested table at `path`, tables on the way made where there are none."""
    table = raw
    for depth, key in enumerate(path[:-1], start=1):
        inner = table.get(key, {})
        if not isinstance(inner, (Mapping, str)):
            raise SpecError(f"{typed}: {'.'.join(path[:depth])} is not a table, so it has no {path[depth]}")
        table[key] = as_table(inner, key)
        table = table[key]
    table[path[-1]] = value


def literal(text: str) -> Any:
    """A value as TOML or JSON would read it, and otherwise the text itself."""
    try:
        found = tomllib.loads(f"value = {text}")
        if list(found) == ["value"]:
            return found["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return json.loads(text)
    except ValueError:
        return text


def _particles(raw: Table) -> list[str]:
    """Where the stepper, or the one inside it, counts its particles."""
    if "method" in raw:
        if "particles" not in registry.parameters(spec.method(as_table(raw["method"], "method"))):
            raise SpecError("--particles: the method has no number of particles")
        return ["method", "particles"]
    path, base, table = ["stepper"], Stepper, raw.get("stepper", {})
    while True:
        place = ".".join(path)
        table = as_table(table, place)
        kind = kind_of(base, table, place)
        arguments = registry.parameters(kind)
        if "particles" in arguments:
            return [*path, "particles"]
        if "inner" not in arguments:
            raise SpecError(f"--particles: {place} is {registry.a(kind)}, which has no number of particles")
        path, base, table = [*path, "inner"], arguments["inner"].annotation, table.get("inner", {})
