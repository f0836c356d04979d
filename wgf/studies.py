"""Studies run one after the other, part by part: a crash is a failed check of its study, and the others still run."""

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wgf import registry
from wgf.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDIES = "wgf.studies"
"""The entry points that name the studies: functions of `quick` that return a report with rows(), context and figure, or
yield one for each of their parts."""


@dataclass(frozen=True)
class Outcome:
    """What a study left: rows {study, quantity, value, bound, holds}, context to print, a figure, or a crash."""

    study: str
    rows: list[dict[str, Any]]
    context: Sequence[Any] = ()
    figure: "Figure | None" = None
    crash: str | None = field(default=None, compare=False)


def chosen(names: Sequence[str]) -> list[str]:
    """The studies to run, all of them by default. Raises: SpecError for a name that is none."""
    known = registry.declared(STUDIES)
    for name in names:
        registry.named(known, name, "STUDY", "a study")
    return list(names) or list(known)


def conduct(names: Sequence[str], quick: bool) -> Iterator[Outcome]:
    """The outcome of each study, or of each of its parts, as soon as it is there: what a crash comes after is kept."""
    for name in names:
        made = 0
        try:
            found = registry.loaded(STUDIES, name, "STUDY", "a study")(quick)
            for report in found if isinstance(found, Iterator) else (found,):
                rows = report.rows()
                made += len(rows)
                yield Outcome(name, rows, report.context, report.figure)
            if not made:
                yield Outcome(name, [_failed(name, "made no check")])
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            row = _failed(name, f"crashed: {type(error).__name__}: {reason}")
            refused = isinstance(error, InputError)  # said in full already: missing data, say
            yield Outcome(name, [row], crash=None if refused else traceback.format_exc())


def _failed(study: str, quantity: str) -> dict[str, Any]:
    return {"study": study, "quantity": quantity, "value": None, "bound": None, "holds": False}
