"""Files that are there whole after a power cut, or as they were before: written beside, synchronised, renamed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace ``path`` by ``content``, or leave it as it is and raise ``OSError``."""
    with whole(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def whole(path: Path, before_rename: Callable[[], None] = lambda: None) -> Iterator[BinaryIO]:
    """A file that becomes ``path`` when the block ends well, and is gone otherwise. Raises ``OSError``.

    ``before_rename`` is where a fault point may strike: the content is durable, the name is not.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        settle(part, path, before_rename)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def settle(unfinished: Path, path: Path, before_rename: Callable[[], None] = lambda: None) -> None:
    """Make ``unfinished``, a closed file beside it, ``path``: content first, then the name. Raises ``OSError``.

    ``before_rename`` is where a fault point may strike: the content is durable, the name is not.
    """
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    before_rename()
    os.replace(unfinished, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a rename is one only then. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
