"""JSON lines in a ring of two files: never larger than agreed, whole lines alone, the newest kept."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import StoreError

LOG = "log.jsonl"
"""What the daemon logs, in its state folder."""
OLDER = ".1"
"""What the name of the older of the two files ends with."""


class JsonRing:
    """Appends to ``path``; once that holds half of ``limit_byte`` it becomes ``path.1`` and a new one begins.

    ``header`` gives the first line of each file, so that either can be read without the other. A process that dies
    loses the line in hand at most, a turn what ``path.1`` held before: the newest half of ``limit_byte`` is kept.
    """

    def __init__(self, path: Path, limit_byte: int, header: Callable[[], Mapping[str, Any]] | None = None) -> None:
        self.path = path
        self.older = path.with_name(path.name + OLDER)
        self._half_byte = max(limit_byte // 2, 1)
        self._header = header
        self._fresh = True
        try:
            self._file = path.open("ab")
            _drop_torn_line(path, self._file)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}. Check the folder's owner.") from error

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line; raises ``StoreError`` where the disk refuses."""
        line = encode(entry)
        try:
            if self._file.tell() and self._file.tell() + len(line) > self._half_byte:
                self._turn()
            if self._header is not None and (self._fresh or not self._file.tell()):
                self._file.write(encode(self._header()))
            self._fresh = False
            self._file.write(line)
            self._file.flush()
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path} cannot be written: {error}. Free space; older lines are kept.") from error

    def restate(self) -> None:
        """Begin the next line with the header again: what it says has changed."""
        self._fresh = True

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _turn(self) -> None:
        with suppress(FileNotFoundError):  # gone already where the disk refused the new file the last time
            os.replace(self.path, self.older)
        full, self._file = self._file, self.path.open("ab")
        full.close()


def _drop_torn_line(path: Path, file: BinaryIO) -> None:
    """Cut off what a process that died has not written to its end, or the next line would be spoilt, too."""
    whole = path.read_bytes().rfind(b"\n") + 1
    if whole < file.tell():
        file.truncate(whole)
        file.seek(whole)


class RingHandler(logging.Handler):
    """Log records as JSON lines in a ring; a disk that refuses loses lines, never the program."""

    def __init__(self, ring: JsonRing, clock: Callable[[], float]) -> None:
        super().__init__()
        self._ring = ring
        self._clock = clock

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        entry: dict[str, Any] = {
            "unix_s": round(self._clock(), 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            entry["error"] = repr(record.exc_info[1])
        with suppress(StoreError):
            self._ring.append(entry)

    def close(self) -> None:
        """Release the file."""
        self._ring.close()
        super().close()


def encode(entry: Mapping[str, Any]) -> bytes:
    """Return one strict JSON line; ``ValueError`` for a number that is not finite."""
    return json.dumps(entry, allow_nan=False, separators=(",", ":"), default=str).encode() + b"\n"


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file; a torn last line is left out. Raises ``StoreError`` for what is no such file."""
    try:
        raw = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    for number, line in enumerate(raw, start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            if number == len(raw) and not line.endswith(b"\n"):
                return
            raise StoreError(f"{path} line {number} is no JSON. It was changed, or is no such file.") from error
        if not isinstance(entry, dict):
            raise StoreError(f"{path} line {number} is no JSON object. It was changed, or is no such file.")
        yield entry
