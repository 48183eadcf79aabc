"""Which scenes of a long run are finished, so that the next run goes on instead of starting over."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StoreError

NAME = ".subsolar-infer.jsonl"


def job_key(path: Path, settings: Mapping[str, Any]) -> str:
    """Names a scene in its present state together with everything that decides its answers."""
    try:
        state = path.stat()
        facts: list[Any] = [str(path.resolve()), state.st_size, state.st_mtime_ns]
    except OSError:
        facts = [str(path.resolve())]
    return hashlib.sha256(json.dumps([facts, settings], sort_keys=True, default=str).encode()).hexdigest()[:32]


@dataclass
class Ledger:
    """One line of JSON for each finished scene. A torn last line, after a power cut, counts as not written."""

    path: Path
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, *, resume: bool) -> Ledger:
        """The ledger of an output folder; without ``resume`` it starts anew."""
        ledger = cls(folder / NAME)
        if resume and ledger.path.is_file():
            ledger.done = dict(_entries(ledger.path))
        else:
            ledger.path.unlink(missing_ok=True)
        return ledger

    def add(self, key: str, result: Mapping[str, Any]) -> None:
        """Note a finished scene; on disk when this returns. Raises ``StoreError``."""
        self.done[key] = dict(result)
        try:
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_in_newline(self.path):
                    file.write(b"\n")
                file.write(json.dumps({"key": key, "result": result}).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}. Make room.") from error


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for line in path.read_bytes().splitlines():
        try:
            entry = json.loads(line)
            found.append((str(entry["key"]), dict(entry["result"])))
        except (ValueError, KeyError, TypeError):  # noqa: PERF203 - a torn line is not a finished scene
            continue
    return found


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
