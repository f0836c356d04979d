"""Benches run one after the other: a crash is a failed row of its bench, and the others still run."""

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.status import Status

from wgf import registry
from wgf.errors import InputError

BENCHES = "wgf.benches"
"""The entry points that name the benches: functions of `quick` that return a sequence of rows, each with a method
row(), or yield such sequences as they are done; where one has `files`, name → text, these are left too."""

log = logging.getLogger("wgf.benches")
"""Where benches say how far they are."""


@dataclass(frozen=True)
class Outcome:
    """What a bench left: rows {bench, peer, ratio, ours_s, peer_s, error, bound, holds}, files, or a crash."""

    bench: str
    rows: list[dict[str, Any]]
    files: Mapping[str, str] = field(default_factory=dict)
    crash: str | None = field(default=None, compare=False)


def chosen(names: Sequence[str]) -> list[str]:
    """The benches to run, all of them by default. Raises: SpecError for a name that is none."""
    known = registry.declared(BENCHES)
    for name in names:
        registry.named(known, name, "BENCH", "a bench")
    return list(names) or list(known)


def conduct(names: Sequence[str], quick: bool) -> Iterator[Outcome]:
    """Each bench's outcome, one for every sequence of rows that it yields, as soon as it is there."""
    for name in names:
        try:
            made, found = 0, registry.loaded(BENCHES, name, "BENCH", "a bench")(quick)
            for part in found if isinstance(found, Iterator) else [found]:
                rows = [row.row() for row in part]
                made += len(rows)
                if rows:
                    yield Outcome(name, rows, getattr(part, "files", {}))
            if not made:
                yield Outcome(name, [_failed(name, "made no comparison")])
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            row = _failed(name, f"crashed: {type(error).__name__}: {reason}")
            refused = isinstance(error, InputError)  # said in full already
            yield Outcome(name, [row], crash=None if refused else traceback.format_exc())


class Progress(logging.Handler):
    """What benches say of their progress, the last of it beside a spinner on standard error; a context."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(logging.INFO)
        self._status = Status("", console=console or Console(stderr=True))
        self._level = log.level

    def emit(self, record: logging.LogRecord) -> None:
        self._status.update(record.getMessage().replace("[", "\\["))

    def __enter__(self) -> "Progress":
        self._level = log.level
        log.setLevel(logging.INFO)
        log.addHandler(self)
        self._status.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._status.stop()
        log.removeHandler(self)
        log.setLevel(self._level)


def _failed(bench: str, peer: str) -> dict[str, Any]:
    empty = dict.fromkeys(("ratio", "ours_s", "peer_s", "error", "bound"))
    return {"bench": bench, "peer": peer, **empty, "holds": False}
