"""Races against peers: a process each, turns taken one after the other, and no time without a right answer."""

import logging
import math
import os
import statistics
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from validation._runner import Contestant, Runner
from wgf.errors import InputError

__all__ = ["Contestant", "Result", "Row", "Rows", "Truth", "allowance", "compete", "race", "versus"]

log = logging.getLogger("wgf.benches")
"""Where a race says how far it is."""


@dataclass(frozen=True)
class Row:
    """Ours against one peer: ratio = peer_s / ours_s of median seconds, which holds where it is `bound` or more.

    bound None: a row to read, not to judge by. error: ours, against the truth of the case. Where the peer is an
    allowance, as in `allowance`, peer_s is what is allowed, and bound is 1.
    """

    bench: str
    peer: str
    ratio: float | None
    ours_s: float | None
    peer_s: float | None
    error: float | None
    bound: float | None
    holds: bool
    note: str = ""

    def row(self) -> dict[str, Any]:
        """As JSON: numbers that are not finite become null, and a note is there only where something is to say."""
        found = {key: None if _lost(value) else value for key, value in asdict(self).items()}
        if not self.note:
            del found["note"]
        return found


class Rows(list[Row]):
    """Rows, with files that a bench leaves besides: name → text."""

    def __init__(self, rows: Iterable[Row] = (), files: Mapping[str, str] | None = None) -> None:
        super().__init__(rows)
        self.files = dict(files or {})


@dataclass(frozen=True)
class Truth:
    """What a right answer is: |answer[rows] − values| ≤ tolerance · scale, number by number; rows None: all of them."""

    values: np.ndarray
    scale: np.ndarray | float
    rows: np.ndarray | None = None

    def error(self, answer: np.ndarray) -> float:
        """max |answer − values| / scale: NaN where an answer is, infinite where the shape is another."""
        if self.rows is not None and len(answer) > int(np.max(self.rows, initial=-1)):
            answer = answer[self.rows]
        if answer.shape != self.values.shape:
            return math.inf
        off = np.abs(np.asarray(answer, dtype=np.float64) - self.values)
        scale = np.broadcast_to(np.asarray(self.scale, dtype=np.float64), off.shape)
        return float(np.max(np.where(off == 0, 0.0, off / np.where(scale > 0, scale, np.finfo(float).tiny)), initial=0))


@dataclass(frozen=True)
class Result:
    """A contestant's median seconds, its error, its peak memory in bytes, and why it failed, if it did.

    first_s: seconds to build and to answer for the first time, imports and compilers included.
    """

    seconds: float
    error: float
    peak: int
    first_s: float
    note: str = ""


def race(
    bench: str,
    label: str,
    ours: str | Contestant,
    peers: Mapping[str, str | Contestant],
    case: Mapping[str, Any],
    *,
    truth: str | Truth | tuple[Any, ...],
    tolerance: float,
    bounds: Mapping[str, float] | float | None = None,
    rounds: int = 5,
    threads: int | None = None,
    timeout: float = 600.0,
) -> list[Row]:
    """A row for each peer, "label: name", whose bound is `bounds` or bounds[name]; the rest as in `compete`.

    A peer that fails leaves a row that does not hold; where ours fails, none does.
    """
    results = compete(
        {"ours": ours, **peers}, case, truth=truth, tolerance=tolerance, rounds=rounds, threads=threads, timeout=timeout
    )
    least = bounds if isinstance(bounds, Mapping) else dict.fromkeys(peers, bounds)
    return [versus(bench, f"{label}: {name}", results["ours"], results[name], least.get(name)) for name in peers]


def compete(
    contestants: Mapping[str, str | Contestant],
    case: Mapping[str, Any],
    *,
    truth: str | Truth | tuple[Any, ...],
    tolerance: float,
    rounds: int = 5,
    threads: int | None = None,
    timeout: float = 600.0,
) -> dict[str, Result]:
    """Each contestant's result: all are built and answer once, then run in turns, `rounds` times, one at a time.

    A contestant is "package.module:factory", factory(case) → thunk, thunk() → array, or a Contestant. It has a process
    of its own with `threads` threads (as many as there are cores), said before it starts, and a JSON-able `case`.
    `truth`: a Truth, its fields as a tuple, or "package.module:function" of the case that returns such a tuple, called
    in a process of its own. An error above `tolerance` is a failure, as are a crash and more than `timeout` seconds for
    one answer; the others go on.

    Raises: InputError for no rounds; RuntimeError where there is no truth.
    """
    if rounds < 1:
        raise InputError(f"a race takes 1 round or more, got {rounds}")
    cores = threads or os.cpu_count() or 1
    known = _truth(truth, case, cores, timeout)
    with ExitStack() as stack:
        lanes: dict[str, _Lane] = {}
        for name, entry in contestants.items():
            contestant = Contestant(entry) if isinstance(entry, str) else entry
            log.info("%s is built, and answers", name)
            runner = stack.enter_context(Runner(contestant, case, cores, timeout))
            lanes[name] = _Lane(runner)
            lanes[name].check(known, tolerance if contestant.tolerance is None else contestant.tolerance)
        for turn in range(rounds):
            for name, lane in lanes.items():
                log.info("%s, round %d of %d", name, turn + 1, rounds)
                lane.runner.turn()
        return {name: lane.result() for name, lane in lanes.items()}


def versus(bench: str, peer: str, ours: Result, theirs: Result, bound: float | None = None) -> Row:
    """The row of two results."""
    ratio = theirs.seconds / ours.seconds
    notes = [f"{who} {result.note}" for who, result in (("ours", ours), ("the peer", theirs)) if result.note]
    holds = not notes and (bound is None or ratio >= bound)
    return Row(bench, peer, ratio, ours.seconds, theirs.seconds, ours.error, bound, holds, "; ".join(notes))


def allowance(
    bench: str, peer: str, allowed: float, spent: float, error: float | None = None, *, seconds: bool = True
) -> Row:
    """A row whose peer is what may be spent: ratio = allowed / spent, bound 1; no seconds where it is no time."""
    ratio = allowed / spent if spent else math.inf
    return Row(bench, peer, ratio, spent if seconds else None, allowed if seconds else None, error, 1.0, ratio >= 1)


class _Lane:
    """A runner with what the truth said of its answer."""

    def __init__(self, runner: Runner) -> None:
        self.runner, self.error = runner, math.nan

    def check(self, truth: Truth, tolerance: float) -> None:
        """Take its first answer; a wrong one puts it out."""
        answer = self.runner.answer()
        if answer is None:
            return
        self.error = truth.error(answer)
        if math.isinf(self.error) and answer.shape != truth.values.shape:
            self.runner.note = f"gave an answer of shape {answer.shape}, not {truth.values.shape}"
        elif not self.error <= tolerance:
            self.runner.note = f"gave a wrong answer: its error is {self.error:.2g}, at most {tolerance:.2g} is allowed"

    def result(self) -> Result:
        """Its median; not a number where it failed."""
        runner = self.runner
        peak = runner.peak()
        seconds = math.nan if runner.note or not runner.times else statistics.median(runner.times)
        return Result(seconds, self.error, peak, runner.first_s, runner.note)


def _truth(truth: str | Truth | tuple[Any, ...], case: Mapping[str, Any], threads: int, timeout: float) -> Truth:
    if isinstance(truth, Truth):
        return truth
    if isinstance(truth, str):
        log.info("the truth is computed")
        with Runner(Contestant(truth), case, threads, timeout, thunk=False) as runner:
            found = runner.answer()
            if found is None:
                raise RuntimeError(f"the truth {runner.note}")
            return Truth(*found)
    return Truth(*truth)


def _lost(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
