"""What a study found: checks, each a value against a bound, with the figures they are read beside."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from wgf.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Bound: TypeAlias = float | tuple[float | None, float | None]


@dataclass(frozen=True)
class Check:
    """One value against its bound: a number is an upper bound, a pair the interval (low, high), None an open end."""

    study: str
    quantity: str
    value: float
    bound: Bound
    holds: bool

    def row(self) -> dict[str, Any]:
        """{study, quantity, value, bound, holds} as JSON; a value that is NaN or infinite is written as null."""
        value = self.value if math.isfinite(self.value) else None
        bound = list(self.bound) if isinstance(self.bound, tuple) else self.bound
        return {"study": self.study, "quantity": self.quantity, "value": value, "bound": bound, "holds": self.holds}


def at_most(study: str, quantity: str, value: float, bound: float) -> Check:
    """value ≤ bound; NaN never holds. Raises: InputError for a bound that is not finite."""
    return Check(study, quantity, float(value), _finite(quantity, bound), bool(float(value) <= bound))


def at_least(study: str, quantity: str, value: float, bound: float) -> Check:
    """value ≥ bound, finite; NaN never holds. Raises: InputError for a bound that is not finite."""
    holds = math.isfinite(value) and float(value) >= bound
    return Check(study, quantity, float(value), (_finite(quantity, bound), None), holds)


def within(study: str, quantity: str, value: float, low: float, high: float) -> Check:
    """low ≤ value ≤ high; NaN never holds. Raises: InputError unless low ≤ high, both finite."""
    bound = (_finite(quantity, low), _finite(quantity, high))
    if low > high:
        raise InputError(f"the bounds of {quantity!r} must be in order, got low = {low!r} above high = {high!r}")
    return Check(study, quantity, float(value), bound, bool(low <= float(value) <= high))


@dataclass(frozen=True)
class Context:
    """A row to read beside the checks and never to judge by: published figures, sampling floors; quantity -> value."""

    label: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """The outcome of one study: its checks, rows of context for printing only, and a figure where there is one."""

    study: str
    checks: tuple[Check, ...]
    context: tuple[Context, ...] = ()
    figure: "Figure | None" = field(default=None, compare=False)

    @property
    def holds(self) -> bool:
        """Whether every check holds; a report without checks shows nothing and does not hold."""
        return bool(self.checks) and all(check.holds for check in self.checks)

    def rows(self) -> list[dict[str, Any]]:
        """The checks as JSON-able rows [{study, quantity, value, bound, holds}]."""
        return [check.row() for check in self.checks]


def gathered(reports: Report | Iterable[Report]) -> Report:
    """One report of a study that told its parts one by one: all checks, all rows of context, and the last figure."""
    parts = [reports] if isinstance(reports, Report) else list(reports)
    figures = [part.figure for part in parts if part.figure is not None]
    checks = tuple(check for part in parts for check in part.checks)
    context = tuple(row for part in parts for row in part.context)
    return Report(parts[0].study, checks, context, figures[-1] if figures else None)


def _finite(quantity: str, bound: float) -> float:
    if not math.isfinite(bound):
        raise InputError(f"a bound of {quantity!r} must be a finite number, got {bound!r}")
    return float(bound)
