"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import PackageError


@contextmanager
def folder_in_one_step(path: Path, *, replace: bool) -> Iterator[Path]:
    """A folder to fill beside ``path``; it takes the name ``path`` when the block ends well, and vanishes otherwise."""
    if path.exists() and not replace:
        raise PackageError(f"{path} exists already. Choose another place, or replace it on purpose.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.part-", dir=path.parent))
    except OSError as error:
        raise PackageError(f"Cannot write to {path.parent}: {error.strerror}. Choose a folder you own.") from error
    try:
        partial.chmod(0o755)
        yield partial
        _move_into_place(partial, path)
    except OSError as error:
        raise PackageError(f"Writing {path} failed: {error.strerror}. Nothing was left behind.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_into_place(partial: Path, path: Path) -> None:
    if not path.exists():
        partial.rename(path)
        return
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)
