"""Where a subcommand's results go: refused before any work where they cannot lie there, and written whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from ..durable import write_whole
from ..errors import StoreError


class Folder(click.Path):
    """A folder that is there or can be made: neither it nor what it lies in is a file."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.Path``."""
        if not str(value):
            self.fail("It is empty. Name a folder, or . for this one.", param, ctx)
        folder: Path = super().convert(value, param, ctx)  # type: ignore[assignment]
        for path in (folder, *folder.parents):
            if path.exists() and not path.is_dir():
                self.fail(f"{path} is a file, and a folder is needed. Name another.", param, ctx)
        return folder


class OutFile(click.Path):
    """A file that can be written: not a folder, not below a file, and where one may write.

    ``endings``: what its name may end in, where that decides what is written. A folder that is missing is made by
    ``make_room``; nothing is left behind by looking.
    """

    def __init__(self, *endings: str) -> None:
        super().__init__(path_type=Path)
        self.endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See ``click.Path``. Raises ``StoreError`` where one may not write."""
        if not str(value):
            self.fail("It is empty. Name a file.", param, ctx)
        path: Path = super().convert(value, param, ctx)  # type: ignore[assignment]
        if path.is_dir():
            self.fail(f"{path} is a folder, and a file is needed. Name one in it.", param, ctx)
        lies_in = _first_there(path)
        if not lies_in.is_dir():
            self.fail(f"{lies_in} is a file, and nothing can lie in it. Name another.", param, ctx)
        if self.endings and path.suffix.lower() not in self.endings:
            self.fail(f"{path} does not end in {' or '.join(self.endings)}. Name it so.", param, ctx)
        if path.exists() and not os.access(path, os.W_OK):
            raise StoreError(f"{path} cannot be written: it is read-only. Name another file.")
        return path if path.exists() else writable(path)


def writable(path: Path) -> Path:
    """``path``, file or folder, if it can be written where it is to lie. Makes nothing. Raises ``StoreError``."""
    try:
        with tempfile.TemporaryFile(dir=path if path.is_dir() else _first_there(path)):
            return path
    except OSError as error:
        raise _unwritable(path, error) from error


def make_room(path: Path) -> Path:
    """``path``, with the folder that it lies in made where it is missing. Raises ``StoreError``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def write_out(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; a pipe or a device, such as /dev/stdout, as it comes. Raises ``StoreError``."""
    make_room(path)
    try:
        if path.exists() and (path.is_symlink() or not path.is_file()):
            path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        else:
            write_whole(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def _first_there(path: Path) -> Path:
    return next(folder for folder in path.absolute().parents if folder.exists())


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path} cannot be written: {error.strerror}. Name another place, or make room.")
