"""Packets as files in a folder, for another bus to carry. A file appears whole or not at all."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ...errors import LinkError
from ...wire.packets import MAX_PACKET_BYTE

SUFFIX = ".packet"
LOOK_S = 0.05


class FolderLink:
    """Writes numbered files to ``outbox`` and takes files from ``inbox`` in the order of their names."""

    def __init__(self, outbox: Path, inbox: Path) -> None:
        self._outbox = outbox
        self._inbox = inbox
        try:
            for folder in (outbox, inbox):
                folder.mkdir(parents=True, exist_ok=True)
            self._next = 1 + max((_number(path) for path in outbox.glob(f"*{SUFFIX}")), default=-1)
        except OSError as error:
            raise LinkError(
                f"Cannot use {outbox} and {inbox}: {error}. Choose folders that you may write to."
            ) from error

    def send(self, packet: bytes) -> None:
        """Put ``packet`` into the outbox under the next number."""
        path = self._outbox / f"{self._next:012d}{SUFFIX}"
        part = path.with_suffix(".part")
        try:
            part.write_bytes(packet)
            os.replace(part, path)
        except OSError as error:
            raise LinkError(f"Cannot write {path}: {error}. Free space, or choose another folder.") from error
        self._next += 1

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """Take the first file out of the inbox; what is too long for a packet is cut, and refused later."""
        until_s = time.monotonic() + timeout_s
        while (packet := self._take()) is None and time.monotonic() < until_s:
            time.sleep(LOOK_S)
        return packet

    def _take(self) -> bytes | None:
        for path in sorted(self._inbox.glob(f"*{SUFFIX}")):
            try:
                with path.open("rb") as file:
                    packet = file.read(MAX_PACKET_BYTE + 1)
                path.unlink()
            except FileNotFoundError:  # another reader was faster
                continue
            except OSError as error:
                raise LinkError(f"Cannot take {path}: {error}. Make the folder readable and writable.") from error
            return packet
        return None

    def close(self) -> None:
        """Nothing to give back."""


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else -1
