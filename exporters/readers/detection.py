"""What a detection set is to everything that trains or measures, and the checks that every reader of one shares.

A reader collects ``Labelled`` pictures and hands them to ``assemble``, which refuses what cannot be true.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One picture as a reader found it; ``rows`` hold left, top, right, bottom in pixels, unchecked."""

    image: Path
    source: Path
    """The file that the labels come from, for messages."""
    rows: Sequence[Sequence[float]]
    labels: Sequence[int]
    ignored: Sequence[Sequence[float]] = ()
    size_px: tuple[int, int] | None = None
    """(rows, columns), where the labels say; read from the picture otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectionSet:
    """Pictures with boxes. Per picture i: ``boxes[i]`` (n, 4) float32, left top right bottom in pixels within the
    picture; ``labels[i]`` (n,) int64, index into ``classes``; ``ignored[i]`` (m, 4), regions that do not count.

    ``images[i]`` is a path, or the decoded (bands, rows, columns) uint8.
    """

    name: str
    images: tuple[Path | NDArray[np.uint8], ...]
    boxes: tuple[NDArray[np.float32], ...]
    labels: tuple[NDArray[np.int64], ...]
    classes: tuple[str, ...]
    ignored: tuple[NDArray[np.float32], ...]
    bands: int = 3
    grey_as_rgb: bool = False
    """Whether a picture of one band stands for three equal ones; otherwise it is refused."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def count(self) -> int:
        """How many boxes there are."""
        return sum(len(boxes) for boxes in self.boxes)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """(bands, rows, columns) uint8 of one picture; DatasetError where it cannot be decoded or has other bands."""
        image = self.images[index]
        return decode(image, self.bands, self.grey_as_rgb) if isinstance(image, Path) else image

    def take(self, index: Iterable[int], name: str) -> DetectionSet:
        """The pictures at ``index``, under another name."""
        chosen = [int(i) for i in index]
        return replace(
            self,
            name=name,
            images=tuple(self.images[i] for i in chosen),
            boxes=tuple(self.boxes[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
            ignored=tuple(self.ignored[i] for i in chosen),
        )

    def loaded(self) -> DetectionSet:
        """The same with every picture decoded in memory."""
        return replace(self, images=tuple(self.pixels(i) for i in range(len(self))))


def assemble(
    name: str,
    pictures: Iterable[Labelled],
    classes: Sequence[str],
    *,
    lenient: bool = False,
    bands: int = 3,
    grey_as_rgb: bool = False,
) -> DetectionSet:
    """A checked set of what a reader found, in its order.

    A box whose centre lies in the picture is clipped to it. Anything else (centre outside, no area, not a number,
    class that is not listed) raises DatasetError with file and box; ``lenient`` drops such boxes and logs how many.
    A picture without boxes is allowed, a set without any is not. So is a set of which pictures are missing.
    """
    found = list(pictures)
    _check_whole(name, found)
    boxes, labels, dropped = [], [], 0
    for picture in found:
        kept, kinds, lost = _checked(picture, len(classes), lenient)
        boxes.append(kept)
        labels.append(kinds)
        dropped += lost
    if dropped:
        log.warning("%s: %d boxes outside their picture, empty or of an unlisted class were dropped", name, dropped)
    if not sum(map(len, boxes)):
        raise DatasetError(f"{name} has {len(found)} pictures and not one box. Check that its labels were fetched.")
    ignored = tuple(np.asarray(p.ignored, dtype=np.float32).reshape(-1, 4) for p in found)
    images = tuple(p.image for p in found)
    return DetectionSet(name, images, tuple(boxes), tuple(labels), tuple(classes), ignored, bands, grey_as_rgb)


def _check_whole(name: str, found: Sequence[Labelled]) -> None:
    if not found:
        raise DatasetError(f"{name} lists no pictures. Check the folder and the name of the split.")
    missing = [picture.image for picture in found if not picture.image.is_file()]
    if missing:
        raise DatasetError(
            f"{name} lists {len(found)} pictures, of which {len(missing)} are missing, the first {missing[0]}. "
            "Finish the download."
        )


def _checked(picture: Labelled, classes: int, lenient: bool) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    rows = np.asarray(picture.rows, dtype=np.float64).reshape(-1, 4)
    labels = np.asarray(picture.labels, dtype=np.int64)
    if not len(rows):
        return np.zeros((0, 4), np.float32), labels, 0
    size = picture.size_px or image_size_px(picture.image)
    fault = _faults(rows, labels, size, classes)
    wrong = np.flatnonzero([bool(text) for text in fault])
    if len(wrong) and not lenient:
        first = int(wrong[0])
        raise DatasetError(f"{picture.source}: box {first + 1} of {picture.image.name} {fault[first]}")
    good = np.array([not text for text in fault])
    limits = np.array([size[1], size[0], size[1], size[0]], dtype=np.float64)
    return np.clip(rows[good], 0.0, limits).astype(np.float32), labels[good], len(wrong)


def _faults(rows: NDArray[Any], labels: NDArray[Any], size_px: tuple[int, int], classes: int) -> list[str]:
    """What is wrong with each box; empty where nothing is."""
    faults = []
    height, width = size_px
    for (left, top, right, bottom), label in zip(rows.tolist(), labels.tolist(), strict=True):
        where = f"({left:g}, {top:g}, {right:g}, {bottom:g})"
        middle = 0.5 * (left + right), 0.5 * (top + bottom)
        if not np.isfinite([left, top, right, bottom]).all():
            faults.append(f"is not a number: {where}. Correct it.")
        elif not 0 <= label < classes:
            faults.append(f"has class {label}, but {classes} classes are listed. Correct one of them.")
        elif right <= left or bottom <= top:
            faults.append(f"is empty: {where}. Remove it, or read with lenient=True.")
        elif not (0.0 <= middle[0] <= width and 0.0 <= middle[1] <= height):
            faults.append(
                f"lies outside the picture of {width} x {height} px: {where}. Correct it, or read with lenient=True."
            )
        else:
            faults.append("")
    return faults


def image_size_px(path: Path) -> tuple[int, int]:
    """(rows, columns) of a picture, from its header."""
    with _opened(path) as image:
        return int(image.height), int(image.width)


def decode(path: Path, bands: int = 3, grey_as_rgb: bool = False) -> NDArray[np.uint8]:
    """(bands, rows, columns) uint8; a fourth band of a picture with three and opacity is left out."""
    with _opened(path) as image:
        pixels: NDArray[Any] = image.read()
    if pixels.dtype != np.uint8:
        raise DatasetError(f"{path} holds {pixels.dtype}, uint8 is needed. Scale it to eight bits first.")
    if len(pixels) == 1 and bands == 3:
        if not grey_as_rgb:
            raise DatasetError(
                f"{path} is grey, three bands are expected. Give a colour picture, or read with grey_as_rgb=True."
            )
        pixels = np.repeat(pixels, 3, axis=0)
    if len(pixels) == bands + 1 and bands == 3:
        pixels = pixels[:3]
    if len(pixels) != bands:
        raise DatasetError(f"{path} holds {len(pixels)} bands, {bands} are expected. Choose the bands first.")
    return pixels.astype(np.uint8, copy=False)


class _opened:  # noqa: N801 - reads like open()
    """A picture that is open, with rasterio's complaints turned into DatasetError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        import warnings

        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

        self._quiet = warnings.catch_warnings()
        self._quiet.__enter__()
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            self._image = rasterio.open(self.path)
        except RasterioError as error:
            self._quiet.__exit__(None, None, None)
            raise DatasetError(f"{self.path} cannot be decoded: {error}. Fetch it again.") from error
        return self._image

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        from rasterio.errors import RasterioError

        self._image.close()
        self._quiet.__exit__(None, None, None)
        if isinstance(error, RasterioError):
            raise DatasetError(f"{self.path} cannot be decoded: {error}. Fetch it again.") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that hold something; DatasetError where it cannot be read."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"Cannot read {path}: {error}. Finish the download, or correct the folder.") from error


def numbers(path: Path, line: str, fields: Sequence[str], least: int) -> list[float]:
    """The leading numbers of a line; DatasetError names file and line where there are fewer than ``least``."""
    try:
        values = [float(text) for text in fields[:least]]
    except ValueError as error:
        raise DatasetError(f"{path}: line {line!r} needs {least} numbers: {error}. Correct it.") from error
    if len(values) < least:
        raise DatasetError(f"{path}: line {line!r} has {len(values)} of {least} numbers. Correct or fetch it again.")
    return values


def images_below(folder: Path) -> Iterator[Path]:
    """The pictures directly in a folder, by name."""
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}. Finish the download, or correct the path.")
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES)


def index_of(classes: Mapping[Any, int], key: Any, source: Path) -> int:
    """The index of a class by the name or number that a file uses."""
    if key not in classes:
        raise DatasetError(f"{source} has class {key!r}, which is none of {list(classes)}. Correct one of them.")
    return classes[key]
