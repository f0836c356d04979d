"""The process of one contestant of a race: builds its thunk, answers once, then runs when it is told to."""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

AT_LEAST = 0.05
"""Seconds that a turn lasts at the least: a quicker thunk is repeated, and its mean taken."""


def serve(connection: Connection) -> None:
    """Take {factory, case, thunk} as JSON; send what it answers, then a time for each "go", and at "end" the peak."""
    told = json.loads(connection.recv_bytes())
    entry, case = told["factory"], told["case"]
    try:
        started = time.perf_counter()
        made = resolved(entry)(case)
        if not told["thunk"]:
            connection.send(("answer", tuple(None if part is None else np.asarray(part) for part in made), 0.0))
            return
        answer = np.asarray(made())
        connection.send(("answer", answer, time.perf_counter() - started))
        while connection.recv_bytes() == b"go":
            connection.send(("seconds", _turn(made)))
        connection.send(("peak", _peak()))
    except Exception as error:
        connection.send(("failed", f"{type(error).__name__}: {error}"))


def resolved(entry: str) -> Callable[..., Any]:
    """The object that package.module:name means."""
    module, _, name = entry.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _peak() -> int:
    """The most bytes this process has held; what its parent held before the two parted counts in getrusage alone."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def _turn(thunk: Callable[[], Any]) -> float:
    calls, started = 0, time.perf_counter()
    while True:
        thunk()
        calls += 1
        spent = time.perf_counter() - started
        if spent >= AT_LEAST:
            return spent / calls


if __name__ == "__main__":
    pipe = Connection(int(sys.argv[1]))
    os.dup2(2, 1)  # what peers print at import goes where their errors go
    serve(pipe)
