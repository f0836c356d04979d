"""Observers of a flow: a progress bar with the time left, metrics as JSON lines."""

import json
import math
from collections.abc import Mapping
from pathlib import Path as File
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from wgf.training import Progress

if TYPE_CHECKING:
    from wgf.flow import Path


class Observer:
    """Told of a flow's progress; does nothing by default. `inside` may stop a step's training by returning True."""

    def begin(self, path: "Path", steps: int) -> None:
        """The flow is about to take `steps` steps from the end of `path`."""

    def inside(self, progress: Progress) -> bool:
        """A step's training has come this far; return True to end it here."""
        return False

    def measures(self, path: "Path") -> Mapping[str, float]:
        """What to add to the measures of the last step of `path`; asked before any observer is told `after` it."""
        return {}

    def after(self, path: "Path") -> None:
        """A step was finished; it is the last one of `path`."""

    def end(self, path: "Path") -> None:
        """The flow has ended, by its last step, a stop rule or an error."""


class ProgressBar(Observer):
    """A bar on standard error: steps taken, time passed, time left."""

    def __init__(self, title: str = "flow", console: Console | None = None) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=console or Console(stderr=True),
        )
        self._task, self._title, self._done = self._bar.add_task(title, total=None, start=False, state=""), title, 0

    def begin(self, path: "Path", steps: int) -> None:
        self._done = 0
        self._bar.update(self._task, total=steps, completed=0)
        self._bar.start_task(self._task)
        self._bar.start()

    def inside(self, progress: Progress) -> bool:
        self._bar.update(self._task, completed=self._done + progress.iteration / progress.of)
        return False

    def after(self, path: "Path") -> None:
        self._done += 1
        value = path.energy[-1]
        state = f"t = {path.times[-1]:.3g}" + ("" if math.isnan(value) else f", F = {value:.4g}")
        self._bar.update(self._task, completed=self._done, state=state)

    def end(self, path: "Path") -> None:
        self._bar.stop()


class Metrics(Observer):
    """One line of JSON a step in `file`: time, τ, energy by term, displacement, certificate, measures, seconds."""

    def __init__(self, file: File) -> None:
        self.file = File(file)

    def after(self, path: "Path") -> None:
        with self.file.open("a") as out:
            out.write(json.dumps(measured(path)) + "\n")


def measured(path: "Path") -> dict[str, object]:
    """What the last step of `path` measured, as JSON scalars (numbers that are not finite become null)."""
    info, k = path.infos[-1], len(path)
    row: dict[str, object] = {
        "step": k,
        "time": path.times[-1],
        "tau": path.times[-1] - path.times[-2],
        "energy": _finite(path.energy[-1]),
        "moved": _finite(info.moved),
        "seconds": _finite(info.seconds),
    }
    row |= {f"energy.{name}": _finite(value) for name, value in info.energy.items()}
    row |= {f"critic.{name}": _finite(value) for name, value in info.dual.items()}
    row |= {name: _finite(value) for name, value in info.measures.items()}
    if info.certificate is not None:
        row |= {
            "certificate": _finite(info.certificate.value),
            "certificate_se": _finite(info.certificate.standard_error),
        }
    return row


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
