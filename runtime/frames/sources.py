"""Where frames come from: named files, folders and lists of them, an inbox that fills, a camera behind a command.

A source hands out paths; ``open_any`` makes frames of them. Each is opened when its turn comes and not before.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..errors import FrameError
from ..plugins import find_plugin
from .envi import is_envi_header
from .growing import LineFrame
from .lines import MAGIC
from .raster import RasterFrame, open_frame
from .scenes import SUFFIXES
from .stack import Beside, Stack, open_stack

LINE_SUFFIX = ".lines"
ENDINGS = (*SUFFIXES, LINE_SUFFIX)
AnyFrame = RasterFrame | LineFrame | Stack


class FrameSource(Protocol):
    """Hands out what is there to be worked on."""

    def take(self) -> Sequence[Path]:
        """Files that are complete and have not been handed out before; none where nothing is new."""
        ...


def expand(given: Iterable[Path]) -> list[Path]:
    """Files as they are; folders as the images in them, by name; ``@LIST`` as the paths in a text file, one a line;
    ``NAME:ARGUMENT`` as what the source plug-in of that name gives until it has nothing new.

    Raises ``FrameError`` for an empty folder or a list that cannot be read. A file that is missing is the reader's to
    tell: the others go on.
    """
    return [path for item in given for path in _expand_one(item)]


def _expand_one(item: Path) -> Sequence[Path]:
    if item.is_dir():
        found = sorted(path for path in item.iterdir() if path.is_file() and _is_scene(path))
        if not found:
            raise FrameError(f"There are no scenes in {item}. Give a folder of {', '.join(ENDINGS)} files.")
        return found
    if not str(item).startswith("@"):
        return _from_plugin(item)
    listed = Path(str(item)[1:])
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FrameError(f"The list {listed} cannot be read: {error}. Give a text file with a path a line.") from error
    return [listed.parent / line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _is_scene(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS or is_envi_header(path)


def _from_plugin(item: Path) -> Sequence[Path]:
    name, colon, argument = str(item).partition(":")
    make = find_plugin("sources", name) if colon and not item.exists() else None
    if make is None:
        return [item]
    source: FrameSource = make(argument)
    found: list[Path] = []
    while new := source.take():
        found += new
    return found


def open_any(
    path: Path,
    *,
    band_names: Sequence[str] = (),
    value_range: tuple[float, float] | None = None,
    buffer_line: int = 2048,
    tile_dtype: str = "uint8",
    beside: Sequence[Beside] = (),
) -> AnyFrame:
    """Open an image or a line stream, whichever its first bytes say; a named pipe is a stream that a sensor writes.

    ``tile_dtype``: what its tiles are, ``uint8`` or ``float32`` (physical values); as the package's input asks.
    ``beside``: scenes that are laid over it.
    Raises ``FrameError``.
    """
    is_stream = path.is_fifo() or _is_stream(path)
    if beside and is_stream:
        raise FrameError(f"{path} is a line stream; other scenes cannot be laid over it. Store it as a GeoTIFF first.")
    if beside:
        return open_stack(path, beside, band_names=band_names, value_range=value_range, tile_dtype=tile_dtype)
    if not is_stream:
        return open_frame(path, band_names=band_names, value_range=value_range, tile_dtype=tile_dtype)
    source = path.open("rb", buffering=0)
    try:
        return LineFrame(source, buffer_line=buffer_line, owns_source=True, tile_dtype=tile_dtype)
    except FrameError as error:
        source.close()
        raise FrameError(f"{path}: {error}") from error


def _is_stream(path: Path) -> bool:
    try:
        with path.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except OSError:
        return False  # told by open_frame


@dataclass
class Inbox:
    """A folder that others put files into. One is handed out once it stops growing; one with known content never again.

    Writers that rename a finished file into place are seen at once if they use ``settled``; all others a look later.
    """

    folder: Path
    settled: Callable[[Path], bool] | None = None
    """Whether a file is complete; by default, size and time of change are those of the look before."""
    _before: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _known: set[bytes] = field(default_factory=set)
    _taken: set[tuple[Path, int, int]] = field(default_factory=set)
    duplicate: int = 0
    """Files left alone because their content had come under another name."""

    def take(self) -> list[Path]:
        """See ``FrameSource.take``. Raises ``FrameError`` if the folder cannot be read."""
        return [path for path, state in self._looked_at() if self._is_new(path, state)]

    def _looked_at(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        """Complete files with their size and time of change."""
        try:
            found = sorted(p for p in self.folder.iterdir() if p.suffix.lower() in ENDINGS and p.name[0] != ".")
            states = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found if path.is_file()}
        except OSError as error:
            raise FrameError(f"The inbox {self.folder} cannot be read: {error.strerror}. Check the path.") from error
        before, self._before = self._before, states
        for path, state in states.items():
            if before.get(path) == state if self.settled is None else self.settled(path):
                yield path, state

    def _is_new(self, path: Path, state: tuple[int, int]) -> bool:
        if (path, *state) in self._taken:
            return False
        self._taken.add((path, *state))
        digest = _digest(path)
        if digest in self._known:
            self.duplicate += 1
            return False
        self._known.add(digest)
        return True


@dataclass
class CommandCamera:
    """A camera that a command operates: each ``take`` runs it once, with ``{out}`` replaced by a new file's path.

    Such as ``libcamera-still -n -o {out}``; nothing goes through a shell.
    """

    command: str
    folder: Path
    timeout_s: float = 30.0
    suffix: str = ".jpg"
    shots: int = 0

    def take(self) -> list[Path]:
        """Take one picture. Raises ``FrameError`` if the command fails, hangs or writes nothing."""
        out = self.folder / f"shot-{self.shots:06}{self.suffix}"
        words = [word.replace("{out}", str(out)) for word in shlex.split(self.command)]
        try:
            subprocess.run(words, check=True, capture_output=True, timeout=self.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise FrameError(f"The camera gave no picture in {self.timeout_s:g} s. Check {words[0]}.") from error
        except subprocess.CalledProcessError as error:
            told = " ".join(error.stderr.decode("utf-8", "replace").split())[:200]
            raise FrameError(f"The camera's command ended with {error.returncode}: {told}. Check it.") from error
        except OSError as error:
            raise FrameError(f"The camera's command cannot run: {error}. Install {words[0]} or correct it.") from error
        if not out.is_file():
            raise FrameError(f"The camera's command wrote no {out}. It must write to the path given for {{out}}.")
        self.shots += 1
        return [out]


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.digest()
