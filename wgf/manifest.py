"""The manifest of a run folder: the size and the sha256 of every file, so that damage is found before it is used."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wgf.errors import InputError

NAME = "manifest.json"
GROWING = "metrics.jsonl"
"""The one file that only grows: what lies past its listed size was left by an interruption and does not count."""


@dataclass
class Manifest:
    """The files of `folder` that a run has finished writing. A file counts from the moment the manifest lists it."""

    folder: Path
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def commit(self, written: Iterable[str], dropped: Iterable[str] = (), **about: Any) -> None:
        """List the files `written`, forget those `dropped`, and replace the manifest in one move."""
        self.files |= {name: fingerprint(self.folder / name) for name in written}
        self.files = {name: seen for name, seen in self.files.items() if name not in set(dropped)}
        self.about |= about
        part = self.folder / f"{NAME}.part"
        part.write_text(json.dumps({**self.about, "files": self.files}, indent=1) + "\n", encoding="utf-8")
        part.replace(self.folder / NAME)

    def check(self) -> None:
        """Raise InputError, naming the file, where one is missing, truncated or edited."""
        for name, listed in self.files.items():
            file = self.folder / name
            if not file.is_file():
                raise InputError(f"{file} is missing, though {NAME} lists it")
            size, found = file.stat().st_size, fingerprint(file, listed["bytes"] if name == GROWING else None)
            if found["bytes"] < listed["bytes"]:
                raise InputError(f"{file} is truncated: {size} bytes of {listed['bytes']}")
            if found != listed:
                raise InputError(f"{file} was edited after the run wrote it: its sha256 is not the one in {NAME}")


def read(folder: Path) -> Manifest:
    """The manifest of a run folder, unchecked. Raises: InputError where there is none that can be read."""
    file = folder / NAME
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        files = {
            str(name): {"bytes": int(seen["bytes"]), "sha256": str(seen["sha256"])}
            for name, seen in raw["files"].items()
        }
    except FileNotFoundError as error:
        raise InputError(f"{folder} is not a run folder: it has no {NAME}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged: it is not the manifest that a run writes") from error
    return Manifest(folder, files, {key: value for key, value in raw.items() if key != "files"})


def fingerprint(file: Path, first: int | None = None) -> dict[str, Any]:
    """The size and the sha256 of a file, or of its `first` bytes."""
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while block := stream.read(2**20 if first is None else min(2**20, first - size)):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}
