"""Threads that put frames into the inbox: a camera behind a command, raw lines from a FIFO."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import FrameError
from .line_frames import blocks, write_block
from .sections import SourceSection

log = logging.getLogger(__name__)


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
        """Cut the lines of the FIFO into frames; when its writer closes it, wait for the next one."""
        while not self._stop.is_set():
            try:
                with open(self._section.stream, "rb") as source:
                    while source.peek(1):  # one stream after the other, until no writer is left
                        self._spool_one(source)
                self.fault = ""
            except (OSError, FrameError) as error:
                self._failed(f"{self._section.stream}: {error}")
            self._stop.wait(1.0)

    def _spool_one(self, source: BinaryIO) -> None:
        stamp = int(self._unix_s() * 1e6)
        for block in blocks(source, self._section.lines):
            name = f"lines-{stamp}-{block.first:08d}.tif"
            write_block(self._inbox / f".{name}", block)
            os.replace(self._inbox / f".{name}", self._inbox / name)

    def _failed(self, why: str) -> None:
        self.fault = why
        log.warning("%s", why)
