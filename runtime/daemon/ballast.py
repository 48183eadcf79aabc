"""Room on the disk that is held against the day when there is none: without it a full disk cannot be worked empty.

A frame is removed once its tiles have ended, which has to be written down first, and a daemon that starts opens its
stores for writing. So some room is kept in a file of no worth, given up when the disk is full, and taken back later.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SIZE_BYTE = 4 << 20
LOW_BYTE = 1 << 20
"""With less than this left, the disk counts as full."""


def free_byte(folder: Path) -> int:
    """Return what this process may still write below ``folder``."""
    return shutil.disk_usage(folder).free


@dataclass
class Ballast:
    """One file in the state folder. Never raises: a disk that refuses must not keep the craft from flying."""

    path: Path
    size_byte: int = SIZE_BYTE
    free_byte: Callable[[Path], int] = free_byte
    doubt: str = ""
    """Says that the disk is full, empty where it is not."""

    def trim(self) -> bool:
        """Take or give up the room as the disk's fill asks for; true where it was given up just now."""
        try:
            free = self.free_byte(self.path.parent)
        except OSError:
            return False
        held = self.path.exists()
        self.doubt = "" if free >= LOW_BYTE else f"the disk is full: {free / 1e6:.1f} MB are left. Free some space."
        if free < LOW_BYTE:
            return self.drop()
        if not held and free >= 2 * self.size_byte:
            self._take()
        return False

    def drop(self) -> bool:
        """Give up the room; true where there was any."""
        with suppress(OSError):
            self.path.unlink()
            return True
        return False

    def _take(self) -> None:
        try:
            with self.path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.size_byte)
        except OSError:
            self.drop()
