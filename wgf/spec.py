"""Specs: a run as plain nested tables, checked against the constructors it names, and written out complete."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as File
from typing import Any, Literal

import tomli_w
import torch

from wgf import checks, registry
from wgf.components import Reader, Table, as_table, kind_of, refuse_unknown, scalar
from wgf.errors import SpecError
from wgf.flow import Path, Stop
from wgf.problem import Problem
from wgf.schedule import Constant, Schedule
from wgf.steppers import Stepper
from wgf.stopping import Settled

PROBLEMS = "wgf.problems"
"""The entry points that name the problems."""
METHODS = "wgf.methods"
"""The entry points that name the published methods: functions that return a stepper."""
ROOT = ("seed", "dtype", "device", "tau", "steps", "taus", "schedule", "settled", "problem", "stepper", "method")
"""The keys of a spec."""
CPU = "cpu"
"""The device of a spec that says none."""
STEPS = 9
"""How many steps cover a problem's horizon where a spec gives neither their size nor their number."""


@dataclass(frozen=True)
class Experiment:
    """All that a run is: a problem, a stepper, step sizes, a seed, and a rule that may end it before the last step.

    `spec` says it in full, where it can be said.
    """

    problem: Problem
    stepper: Stepper
    taus: Sequence[float]
    seed: int = 0
    spec: Mapping[str, Any] | None = None
    stop: Stop | None = None

    def ended(self, path: Path) -> bool:
        """Whether `path` has nothing left to take: all steps, or a step after which the rule ended it."""
        return len(path) == len(self.taus) or (self.stop is not None and self.stop(path))


def build(raw: Mapping[str, Any]) -> Experiment:
    """The experiment that a spec describes; its `spec` is complete: every default written out, None left out.

    Keys: problem and stepper (or method), names or tables with a `type`; the steps as tau and steps, as taus, or as a
    schedule (by default 9 equal ones to the problem's horizon); settled, a displacement √E|x⁺ − x|² of a step below
    which it is the last; seed (0); dtype of the particles, "float32" or "float64"; device that they are on, "cpu",
    "cuda" or one of several, "cuda:1".
    Raises: SpecError, one sentence that names the key's full path, its value, and what is valid.
    """
    refuse_unknown(raw, ROOT, "")
    seed = scalar(int, raw.get("seed", 0), "seed")
    dtype = scalar(Literal["float32", "float64"], raw.get("dtype", "float32"), "dtype")
    device = _device(raw.get("device", CPU))
    problem_table, problem = _problem(raw)
    problem = replace(problem, initial=problem.initial.to(getattr(torch, dtype)).to(device))
    said, taus = _taus(raw, problem.horizon)
    mover, stepper = _stepper(raw, problem)
    if problem.learning is not None and not stepper.keeps_density:
        raise SpecError(
            f"{type(stepper).__name__} cannot learn a density, for its steps are no maps to go back through;"
            " take --method jko-flow or jko-iflow"
        )
    ending = {"settled": scalar(float, raw["settled"], "settled")} if "settled" in raw else {}
    stop = Settled(_positive("settled", ending["settled"])) if ending else None
    spec = {"seed": seed, "dtype": dtype, "device": device, **said, **ending, "problem": problem_table, **mover}
    return Experiment(problem, stepper, taus, seed, spec, stop)


def resolve(raw: Mapping[str, Any]) -> Table:
    """The complete spec that `raw` stands for: resolving it again changes nothing, and it builds the same run."""
    return dict(build(raw).spec or {})


def read(file: File) -> Table:
    """The spec in a TOML file. Raises: SpecError where it cannot be read."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"{file} is not valid TOML: {error}") from error


def here(said: Mapping[str, Any]) -> Table:
    """A spec to be read where its device need not be: on the CPU then."""
    try:
        return {**said, "device": _device(said.get("device", CPU))}
    except SpecError:
        return {**said, "device": CPU}


def write(spec: Mapping[str, Any]) -> str:
    """A spec as TOML."""
    return tomli_w.dumps(spec)


def _device(value: Any) -> str:
    if not (isinstance(value, str) and re.fullmatch(r"cpu|cuda(:(0|[1-9]\d*))?", value)):
        raise SpecError(f"device = {value!r} should be 'cpu', 'cuda', or one of several such as 'cuda:1'")
    if value != CPU and int(value.partition(":")[2] or 0) >= (count := torch.cuda.device_count()):
        raise SpecError(f"device = {value!r} is not to be had here: torch sees {count} CUDA devices")
    return value


def _problem(raw: Mapping[str, Any]) -> tuple[Table, Problem]:
    if "problem" not in raw:
        raise SpecError(f"problem is missing; choose from {', '.join(registry.declared(PROBLEMS))}")
    table = as_table(raw["problem"], "problem")
    if "type" not in table:
        raise SpecError(f"problem needs a type; choose from {', '.join(registry.declared(PROBLEMS))}")
    factory = registry.loaded(PROBLEMS, table["type"], "problem.type", "a problem")
    if not callable(factory) or registry.returned(factory) is not Problem:  # nothing else is called by its name
        raise SpecError(f"problem.type = {table['type']!r} is not a function annotated to return a Problem")
    said, problem = Reader().call(factory, table, "problem")
    return {"type": table["type"], **said}, problem


def method(table: Table) -> Callable[..., Stepper]:
    """The function that a table's `type` names. Raises: SpecError where it is none that returns a stepper."""
    if "type" not in table:
        raise SpecError(f"method needs a type; choose from {', '.join(registry.declared(METHODS))}")
    factory = registry.loaded(METHODS, table["type"], "method.type", "a method")
    kind = registry.returned(factory) if callable(factory) else None
    if not (isinstance(kind, type) and issubclass(kind, Stepper)):
        raise SpecError(f"method.type = {table['type']!r} is not a function annotated to return a Stepper")
    made: Callable[..., Stepper] = factory
    return made


def _stepper(raw: Mapping[str, Any], problem: Problem) -> tuple[Table, Stepper]:
    """How the spec says its stepper, written out: by itself, or by a method."""
    reader = Reader(problem.dim)
    if "method" not in raw:
        table = as_table(raw.get("stepper", {}), "stepper")
        table = _all_rows(kind_of(Stepper, table, "stepper"), table, problem)
        table, stepper = reader.component(Stepper, table, "stepper")
        return {"stepper": table}, stepper
    if "stepper" in raw:
        raise SpecError("the stepper is given twice, by stepper and by method; keep one of them")
    table = as_table(raw["method"], "method")
    factory = method(table)
    said, made = reader.call(factory, _all_rows(factory, table, problem), "method")
    return {"method": {"type": table["type"], **said}}, made


def _all_rows(factory: Callable[..., Any], table: Table, problem: Problem) -> Table:
    """`table` with as many particles as there are rows to learn from, where their number is not said."""
    if problem.learning is None or "particles" in table or "particles" not in registry.parameters(factory):
        return table
    return {**table, "particles": len(problem.learning.train)}


def _taus(raw: Mapping[str, Any], horizon: float) -> tuple[Table, Sequence[float]]:
    """How the spec says its step sizes, written out, and what they are."""
    ways = [key for key in ("taus", "schedule") if key in raw] + ["tau and steps"] * ("tau" in raw or "steps" in raw)
    if len(ways) > 1:
        raise SpecError(f"the step sizes are given twice, by {' and by '.join(ways)}; keep one of them")
    if "schedule" in raw:
        table, schedule = Reader().component(Schedule, raw["schedule"], "schedule")
        return {"schedule": table}, schedule
    if "taus" in raw:
        taus = scalar(list[float], raw["taus"], "taus")
        if not taus:
            raise SpecError("taus must list at least one step size, got []")
        for k, tau in enumerate(taus):
            _positive(f"taus[{k}]", tau)
        return {"taus": taus}, taus
    tau, steps = _constant(raw, horizon)
    return {"tau": tau, "steps": steps}, Constant(tau, steps)


def _constant(raw: Mapping[str, Any], horizon: float) -> tuple[float, int]:
    steps = scalar(int, raw["steps"], "steps") if "steps" in raw else None
    if steps is not None and steps < 1:
        raise SpecError(f"steps must be an integer of at least 1, got {steps}")
    if "tau" not in raw:
        return horizon / (steps or STEPS), steps or STEPS
    tau = _positive("tau", scalar(float, raw["tau"], "tau"))
    if steps is not None:
        return tau, steps
    steps = max(1, round(horizon / tau))
    if abs(steps * tau - horizon) > 1e-6 * horizon:
        raise SpecError(
            f"tau = {tau:g} does not divide the horizon {horizon:g} of this problem; give steps too, or take"
            f" tau = {horizon / steps:.6g} for {steps} steps"
        )
    return tau, steps


def _positive(path: str, tau: float) -> float:
    try:
        return checks.positive(path, tau)
    except ValueError as error:
        raise SpecError(str(error)) from error
