"""Files to send and files that grow: nothing is written outside one folder, whatever a sender calls it."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ..durable import sync_folder
from ..errors import LinkError, StoreError
from ..faults import fault
from .checksum import CRC_32, checksum
from .pdus import TransactionId

CHUNK_BYTE = 1 << 20
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ +~-]{0,99}")
_MAX_PARTS = 6


def safe_relative(name: str) -> Path | None:
    """``name`` as a path below a folder, or None where it could lead out of it or is no plain name.

    >>> safe_relative("chips/slot-3.png").as_posix()
    'chips/slot-3.png'
    >>> [safe_relative(bad) for bad in ("", "/etc/passwd", "../x", "a/../../x", "a\\\\b", ".hidden", "a//b")]
    [None, None, None, None, None, None, None]
    """
    parts = name.split("/")
    if len(parts) > _MAX_PARTS or not all(_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts):
        return None
    return Path(*parts)


class FileSource:
    """A file that is sent. Its size and checksum are taken once; a file that has changed since is refused.

    It is open only while it is read: hundreds may wait for a pass.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._mark = _mark(path.stat())
            self.size_byte = self._mark[1]
            self.checksum = checksum(CRC_32, _chunks(path))
        except OSError as error:
            raise LinkError(f"Cannot send {path}: {error}. Give a file that can be read.") from error

    def read(self, offset: int, size_byte: int) -> bytes:
        """A stretch of the file. Raises LinkError where it has gone, or is not the same any more."""
        try:
            with self.path.open("rb", buffering=0) as file:
                if _mark(os.fstat(file.fileno())) == self._mark:
                    return os.pread(file.fileno(), size_byte, offset)
        except OSError as error:
            raise LinkError(f"Cannot send the rest of {self.path}: {error}. Offer it again.") from error
        raise LinkError(f"{self.path} has changed while it was sent. Offer it again.")


def _mark(found: os.stat_result) -> tuple[int, int, int]:
    """What changes when a file is replaced or written to."""
    return found.st_ino, found.st_size, found.st_mtime_ns


class FileSink:
    """A file that is received: it grows beside its place and moves there when it is whole.

    ``before_move`` is called when all of it is durable and before it moves, so that the map of it can be made durable
    too: then a crash in between is seen, after the restart, for what it was.
    """

    def __init__(
        self, folder: Path, transaction: TransactionId, before_move: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._before_move = before_move
        self._tag = f"{transaction.source}-{transaction.sequence}"
        self._part = folder / ".incoming" / f"{self._tag}.part"
        self._descriptor: int | None = None
        self.kept_as: Path | None = None

    @property
    def begun(self) -> bool:
        """Something of the file is here, and has not moved."""
        return self._part.exists()

    def write(self, offset: int, data: bytes) -> None:
        """Keep a stretch; raises StoreError where the disk refuses."""
        try:
            fault("cfdp.receive.before_write")
            if os.pwrite(self._open(), data, offset) != len(data):
                raise StoreError(f"Cannot write {self._part}: the disk takes only part of it. Free some space.")
        except OSError as error:
            raise self._refused(error) from error

    def sync(self) -> None:
        """Make durable what was written, so that a map of it may be kept; raises StoreError."""
        if self._descriptor is None:
            return
        try:
            fault("cfdp.sync.before_fsync")
            os.fsync(self._descriptor)
            fault("cfdp.sync.after_fsync")
        except OSError as error:
            raise self._refused(error) from error

    def checksum(self, kind: int, size_byte: int, name: str) -> int:
        """The checksum of what is kept here, or was moved to its place before a reboot."""
        path = self._part
        if not path.exists() and (moved := self._moved(name)) is not None:
            path = moved
        return checksum(kind, _chunks(path, size_byte)) if path.exists() else checksum(kind, [])

    def keep(self, name: str, size_byte: int) -> bool:
        """Move the file to ``name`` below the folder, durably.

        A name that is taken by another content gets the transaction's number; the same content is not kept twice.
        """
        relative = safe_relative(name)
        if relative is None:
            return False
        try:
            if not self._part.exists() and (moved := self._moved(name)) is not None:
                self.kept_as = moved
                return True
            os.ftruncate(self._open(), size_byte)
            self.sync()
            self._before_move()
            target = self._target(relative)
            target.parent.mkdir(parents=True, exist_ok=True)
            fault("cfdp.keep.before_rename")
            os.replace(self._part, target)
            sync_folder(target.parent)
            fault("cfdp.keep.after_rename")
        except OSError as error:
            raise StoreError(f"Cannot keep {name}: {error}. Free space, or choose another folder.") from error
        self.kept_as = target
        self.close()
        return True

    def discard(self) -> None:
        """Remove what has come so far; raises StoreError."""
        self.close()
        try:
            self._part.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Close the file; it stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _refused(self, error: OSError) -> StoreError:
        return StoreError(f"Cannot write {self._part}: {error}. Free space, or choose another folder.")

    def _open(self) -> int:
        if self._descriptor is None:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT, 0o644)
        return self._descriptor

    def _target(self, relative: Path) -> Path:
        target = self._folder / relative
        taken = target.exists() and not (target.is_file() and filecmp.cmp(target, self._part, shallow=False))
        return self._tagged(target) if taken else target

    def _moved(self, name: str) -> Path | None:
        relative = safe_relative(name)
        if relative is None:
            return None
        target = self._folder / relative
        return next((path for path in (self._tagged(target), target) if path.is_file()), None)

    def _tagged(self, target: Path) -> Path:
        return target.with_name(f"{target.stem}~{self._tag}{target.suffix}")


def _chunks(path: Path, size_byte: int | None = None) -> Iterator[bytes]:
    left = path.stat().st_size if size_byte is None else size_byte
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(CHUNK_BYTE, left))):
            left -= len(chunk)
            yield chunk
