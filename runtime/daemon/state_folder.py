"""The folder that a daemon keeps everything in: made, tried, and held for one process alone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from ..errors import MissionError, StoreError


def make_state(state: Path) -> None:
    """Make the folder and see that it can be written. Raises ``StoreError``."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        probe = state / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"the state folder {state} cannot be written: {error.strerror}. Make it, or correct mission.state."
        ) from error


def hold(path: Path) -> IO[str]:
    """Hold the state folder for this process alone; the lock lasts as long as the file is open.

    Raises ``StoreError`` where the lock cannot be written, ``MissionError`` where another process has it.
    """
    try:
        file = path.open("w", encoding="ascii")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}. Give the folder and all in it to the user that runs this."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise MissionError(f"another daemon uses {path.parent}. Stop it, or give this one its own folder.") from error
    file.write(str(os.getpid()))
    file.flush()
    return file
