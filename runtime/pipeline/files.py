"""Output files that appear whole or not at all (``runtime.durable``), and say so in one line where they cannot."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..durable import settle
from ..errors import StoreError

_PART = ".part"
SCRATCH = ".scratch.tif"
"""Endings of hidden files that are not finished, and of those that finished ones are made from."""


@contextmanager
def whole_file(target: Path) -> Iterator[TextIO]:
    """A text file that appears as ``target`` when the block ends well, and not at all otherwise."""
    with whole_path(target) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        yield file


@contextmanager
def whole_path(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``target`` when the block ends well. Raises ``StoreError``."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=_PART, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise _unwritable(target, error) from error
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(0o644)
        settle(unfinished, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def make_folder(out: Path) -> Path:
    """``out``, made where it is missing and proven to be writable. Raises ``StoreError``."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return out
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}. Choose another folder.") from error


def sweep(out: Path) -> None:
    """Take away what a run that was killed left unfinished in its output folder."""
    for path in [*out.glob(f".*{_PART}"), *out.glob(f".*{SCRATCH}")]:
        path.unlink(missing_ok=True)


def _unwritable(target: Path, error: OSError) -> StoreError:
    return StoreError(f"{target} cannot be written: {error.strerror}. Choose another folder or make room.")
