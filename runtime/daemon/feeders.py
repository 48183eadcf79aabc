"""Threads that put frames into the inbox: a camera behind a command, raw lines from a FIFO."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from .sections import SourceSection

log = logging.getLogger(__name__)

CHUNK_BYTE = 1 << 16
LINES_SUFFIX = ".lines"


class Feeder:
    """Runs one of the two in the background; the loop never waits for it."""

    def __init__(self, section: SourceSection, inbox: Path, unix_s: Callable[[], float]) -> None:
        self._section = section
        self._inbox = inbox
        self._unix_s = unix_s
        self._stop = threading.Event()
        self.fault = ""
        """Why the last image did not come, empty where it did."""
        body = {"command": self._shoot, "stream": self._spool}.get(section.kind)
        self._thread = None if body is None else threading.Thread(target=body, name="feeder", daemon=True)

    def start(self) -> None:
        """Begin, where the mission asks for either."""
        if self._thread is not None:
            self._thread.start()

    def close(self) -> None:
        """End after the image in hand."""
        self._stop.set()

    def _shoot(self) -> None:
        """Run the command every ``period_s``; what it wrote gets its name in the inbox at once."""
        while not self._stop.is_set():
            name = f"frame-{int(self._unix_s() * 1e3)}.tif"
            partial = self._inbox / f".{name}"
            command = [part.replace("{out}", str(partial)) for part in self._section.command]
            try:
                subprocess.run(
                    command, check=True, timeout=self._section.timeout_s, stdin=subprocess.DEVNULL, capture_output=True
                )
                os.replace(partial, self._inbox / name)
                self.fault = ""
            except (OSError, subprocess.SubprocessError) as error:
                self._failed(f"{command[0]} gave no image: {error}")
                partial.unlink(missing_ok=True)
            self._stop.wait(self._section.period_s)

    def _spool(self) -> None:
        """Copy what comes from the FIFO, from its opening to its end, into one file."""
        while not self._stop.is_set():
            name = f"lines-{int(self._unix_s() * 1e3)}{LINES_SUFFIX}"
            partial = self._inbox / f".{name}"
            try:
                with open(self._section.stream, "rb") as source, partial.open("wb") as target:
                    while part := source.read(CHUNK_BYTE):
                        target.write(part)
                if partial.stat().st_size:
                    os.replace(partial, self._inbox / name)
                self.fault = ""
            except OSError as error:
                self._failed(f"{self._section.stream} cannot be read: {error}")
            partial.unlink(missing_ok=True)
            self._stop.wait(1.0)

    def _failed(self, why: str) -> None:
        self.fault = why
        log.warning("%s", why)
