"""Image pairs of two dates with masks of change, in the layouts of LEVIR-CD, WHU-CD, DSIFN and QL-CD.

Folders of a split (``train/A``) or one folder with lists (``train.txt``, ``list/train.txt``); the dates lie in A and B,
t1 and t2, or image1 and image2, the masks in label or mask. The first of each is the earlier date.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

UInt8Array = NDArray[np.uint8]
_DATES = (("A", "B"), ("t1", "t2"), ("image1", "image2"))
_MASKS = ("label", "mask", "OUT")
_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
_CHANGED = 128
"""Mask values from here on mean change; masks hold 0 and 255."""
_TIME_TAG, _TIME_FORMAT = "TIFFTAG_DATETIME", "%Y:%m:%d %H:%M:%S"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two dates of one place. ``earlier``, ``later``: (3, rows, cols) uint8; ``changed``: (rows, cols) bool."""

    name: str
    earlier: UInt8Array
    later: UInt8Array
    changed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    pixels: NDArray[Any]
    taken: datetime | None
    place: tuple[Any, ...] | None
    """Coordinate system and the six numbers of the transform, where the file has them."""


def read_pairs(root: Path, split: str) -> list[Pair]:
    """The pairs of a split (``train``, ``val``, ``test``), by name.

    Raises DatasetError for a date or mask that is missing, sizes or places that differ, and dates in the wrong order.
    """
    if not root.is_dir():
        raise DatasetError(f"There is no folder {root}. Give one in the layout of LEVIR-CD: A, B, label, train.txt.")
    folder, names = _listed(root, split)
    earlier, later = _dates(folder)
    mask = next((folder / name for name in _MASKS if (folder / name).is_dir()), None)
    if mask is None:
        raise DatasetError(f"{folder} has no masks. Put them into {folder / _MASKS[0]}.")
    return [_read(name, earlier, later, mask) for name in names]


def halved(pair: Pair) -> Pair:
    """The pair at half the detail: pixels averaged two by two, changed where at least two of four are."""
    rows, cols = (size // 2 * 2 for size in pair.changed.shape)

    def shrink(pixels: NDArray[Any]) -> NDArray[np.float64]:
        blocks = pixels[..., :rows, :cols].reshape(*pixels.shape[:-2], rows // 2, 2, cols // 2, 2)
        mean: NDArray[np.float64] = blocks.mean(axis=(-3, -1), dtype=np.float64)
        return mean

    earlier, later = (np.rint(shrink(date)).astype(np.uint8) for date in (pair.earlier, pair.later))
    return Pair(pair.name, earlier, later, shrink(pair.changed) >= 0.5)


def check_order(earlier: datetime | None, later: datetime | None, name: str) -> None:
    """DatasetError where both times are known and the first is not before the second; unknown times pass."""
    if earlier is not None and later is not None and not earlier < later:
        raise DatasetError(
            f"{name}: the first date ({earlier:%Y-%m-%d}) is not before the second ({later:%Y-%m-%d}). Swap the "
            "folders of the two dates: the network answers something else for swapped ones."
        )


def _listed(root: Path, split: str) -> tuple[Path, list[str]]:
    """The folder that holds the dates, and the names of the split's pairs."""
    for listing in (root / f"{split}.txt", root / "list" / f"{split}.txt"):
        if listing.is_file():
            names = listing.read_text(encoding="utf-8").split()
            if not names:
                raise DatasetError(f"{listing} is empty. It must list one pair a line.")
            return root, names
    folder = root / split
    if not folder.is_dir():
        raise DatasetError(f"{root} has neither {split}.txt nor a folder {split}. Use the layout of LEVIR-CD.")
    first, second = _dates(folder)
    names = sorted({path.name for place in (first, second) for path in place.iterdir() if path.suffix in _SUFFIXES})
    if not names:
        raise DatasetError(f"{first} holds no picture. Put the earlier date there.")
    return folder, names


def _dates(folder: Path) -> tuple[Path, Path]:
    for first, second in _DATES:
        there = [(folder / name).is_dir() for name in (first, second)]
        if all(there):
            return folder / first, folder / second
        if any(there):
            missing = folder / (second if there[0] else first)
            raise DatasetError(f"{folder} has one date only: {missing} is missing. Change needs both dates.")
    raise DatasetError(f"{folder} has no folders A and B (or t1 and t2, image1 and image2). Put the two dates there.")


def _read(name: str, earlier: Path, later: Path, mask: Path) -> Pair:
    first, second = (_open(place / name, f"one date of {name}") for place in (earlier, later))
    truth = _open(_mask_file(mask, name), f"the mask of {name}")
    for picture, which in ((first, earlier / name), (second, later / name)):
        if picture.pixels.dtype != np.uint8 or picture.pixels.shape[0] != 3:
            raise DatasetError(
                f"{which} holds {picture.pixels.shape[0]} bands of {picture.pixels.dtype}; three of uint8 are needed. "
                "Stretch and convert it first."
            )
    sizes = {picture.pixels.shape[1:] for picture in (first, second, truth)}
    if len(sizes) != 1:
        raise DatasetError(f"{name}: dates and mask differ in size: {sorted(sizes)}. Resample them to one grid.")
    if first.place is not None and second.place is not None and first.place != second.place:
        raise DatasetError(f"{name}: the two dates lie on other ground or grids. Resample them to one grid.")
    check_order(first.taken, second.taken, name)
    return Pair(name, first.pixels, second.pixels, truth.pixels[0] >= _CHANGED)


def _mask_file(folder: Path, name: str) -> Path:
    """The mask beside a picture may have another suffix."""
    candidates: Sequence[Path] = [folder / name, *((folder / name).with_suffix(suffix) for suffix in _SUFFIXES)]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _open(path: Path, what: str) -> _Picture:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    if not path.is_file():
        raise DatasetError(f"{path} is missing: {what}. Add it, or take the name off the list.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                pixels: NDArray[Any] = image.read()
                taken = _time(image.tags().get(_TIME_TAG))
                place = None if image.crs is None else (image.crs.to_wkt(), *tuple(image.transform)[:6])
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be decoded: {error}. Fetch it again.") from error
    return _Picture(pixels, taken, place)


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.strptime(text.strip(), _TIME_FORMAT)
    except ValueError:
        return None
