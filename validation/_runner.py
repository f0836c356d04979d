"""A contestant's process, seen from the race: told what to run, asked for an answer and for times, and ended."""

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("_contestant.py")  # as a file: the package would import torch first
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
PAUSE = 0.02  # seconds between turns, in which the threads of the last one go to sleep
SHOWN = 200  # characters of what a process said before it died


@dataclass(frozen=True)
class Contestant:
    """Who runs: factory, "package.module:name" of a function of the case that returns a thunk returning an array.

    settings are added to the case, environment to the process's; tolerance replaces that of the race.
    """

    factory: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    tolerance: float | None = None


class Runner:
    """The process of a contestant, a context that ends it; `note` says why it failed, and then it is out.

    thunk False: the factory is a function whose answer is a tuple, and nothing is timed.
    """

    def __init__(
        self, contestant: Contestant, case: Mapping[str, Any], threads: int, timeout: float, thunk: bool = True
    ) -> None:
        self.note, self.first_s, self.times = "", math.nan, list[float]()
        self._timeout, (self._pipe, theirs) = timeout, Pipe()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**_environment(threads), **contestant.environment},
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
        )
        theirs.close()
        told = {"factory": contestant.factory, "case": {**case, **contestant.settings}, "thunk": thunk}
        self._send(json.dumps(told).encode())

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._said.close()

    def answer(self) -> Any:
        """Its first answer, None where it failed."""
        message = self._receive("answer")
        if message is None:
            return None
        _, answer, self.first_s = message
        return answer

    def turn(self) -> None:
        """One timing, if it is still in the race."""
        if self.note:
            return
        time.sleep(PAUSE)
        self._send(b"go")
        message = self._receive("seconds")
        if message is not None:
            self.times.append(message[1])

    def peak(self) -> int:
        """Bytes that the process took at most; it is over then."""
        if self.note:
            return 0
        self._send(b"end")
        message = self._receive("peak")
        return 0 if message is None else int(message[1])

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # a dead one is told from what it does not answer
            self._pipe.send_bytes(message)

    def _receive(self, kind: str) -> tuple[Any, ...] | None:
        try:
            if not self._pipe.poll(self._timeout):
                self.note = f"took more than {self._timeout:g} s"
                return None
            message: tuple[Any, ...] = self._pipe.recv()
        except (EOFError, OSError):
            self.note = f"died with status {self._process.wait()}{self._last_words()}"
            return None
        if message[0] == kind:
            return message
        self.note = f"failed: {_short(message[1])}"
        return None

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f": {_short(lines[-1])}" if lines else ""


def _environment(threads: int) -> dict[str, str]:
    """Ours, with the threads said to every library, and the paths on which Python finds what we can import."""
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return {**os.environ, "PYTHONPATH": paths, **dict.fromkeys(THREADS, str(threads))}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
