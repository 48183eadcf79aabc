"""Pictures with landslide masks: the Bijie samples, and the layout of deformation renderings by split.

``images/NAME.png`` and ``masks/NAME.png`` with lists ``train.txt`` and ``test.txt``, or ``<split>/image/NAME.png`` and
``<split>/mask/NAME.png``. Pixels that are black in all bands hold no data.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

UInt8Array = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]
_INSIDE = 128
"""Mask values from here on, in any band, are landslide."""


@dataclass(frozen=True, slots=True, eq=False)
class Slope:
    """One picture. ``pixels``: (3, rows, cols) uint8; ``moving``, ``valid``: (rows, cols) bool."""

    name: str
    pixels: UInt8Array
    moving: BoolArray
    valid: BoolArray


def read_slopes(root: Path, split: str) -> list[Slope]:
    """The pictures of a split, by name. Raises DatasetError for missing files and sizes that differ."""
    listing, folder = root / f"{split}.txt", root / split
    if listing.is_file():
        names = listing.read_text(encoding="utf-8").split()
        places = [(root / "images" / name, root / "masks" / name) for name in names]
    elif (folder / "image").is_dir():
        places = [(path, folder / "mask" / path.name) for path in sorted((folder / "image").glob("*.png"))]
    else:
        raise DatasetError(
            f"{root} has neither {split}.txt beside images and masks nor {split}/image. Use one of these layouts."
        )
    if not places:
        raise DatasetError(f"{root} lists no picture for {split}. Add some.")
    return [_read(picture, mask) for picture, mask in places]


def shrunk(slope: Slope, factor: int) -> Slope:
    """The picture at 1/factor of the detail: pixels averaged, moving or valid where at least half of them are."""
    if factor == 1:
        return slope
    rows, cols = (size // factor for size in slope.moving.shape)

    def mean(values: NDArray[Any]) -> NDArray[np.float64]:
        whole = values[..., : rows * factor, : cols * factor]
        blocks = whole.reshape(*whole.shape[:-2], rows, factor, cols, factor)
        averaged: NDArray[np.float64] = blocks.mean(axis=(-3, -1), dtype=np.float64)
        return averaged

    pixels = np.rint(mean(slope.pixels)).astype(np.uint8)
    return Slope(slope.name, pixels, mean(slope.moving) >= 0.5, mean(slope.valid) >= 0.5)


def _read(picture: Path, mask: Path) -> Slope:
    pixels, truth = _open(picture, "a picture"), _open(mask, f"the mask of {picture.name}")
    if pixels.dtype != np.uint8 or len(pixels) != 3:
        raise DatasetError(f"{picture} holds {len(pixels)} bands of {pixels.dtype}; three of uint8 are needed.")
    if pixels.shape[1:] != truth.shape[1:]:
        raise DatasetError(
            f"{picture.name}: picture {pixels.shape[1:]} and mask {truth.shape[1:]} differ in size. Resample the mask."
        )
    return Slope(picture.stem, pixels, truth.max(axis=0) >= _INSIDE, pixels.max(axis=0) > 0)


def _open(path: Path, what: str) -> NDArray[Any]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    if not path.is_file():
        raise DatasetError(f"{path} is missing: {what}. Add it, or take the name off the list.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                pixels: NDArray[Any] = image.read()
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be decoded: {error}. Fetch it again.") from error
    return pixels
