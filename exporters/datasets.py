"""Labelled chips: one uint8 array for the pixels, one for the labels.

The folder layout is the one of the EuroSAT subset: ``classes.txt``, ``train.txt``, ``test.txt`` and ``images/``; the
class of a chip is the name of its folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError


@dataclass(frozen=True, slots=True, eq=False)
class Chips:
    """Chips of one split. ``pixels``: (n, bands, rows, cols) uint8. ``labels``: (n,) int64, index into ``classes``."""

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64], name: str) -> Chips:
        """The chips at ``index``, under another name."""
        return Chips(name, self.pixels[index], self.labels[index], self.classes)


def read_chips(root: Path, split: str, *, cache: Path | None = None) -> Chips:
    """Read one split (``train`` or ``test``); with ``cache`` the decoded pixels are kept there as one file."""
    classes = tuple(_read_lines(root / "classes.txt"))
    names = _read_lines(root / f"{split}.txt")
    labels = np.array([_label(root, name, classes) for name in names], dtype=np.int64)
    kept = None if cache is None else cache / f"{root.name}-{split}-{_digest(names)}.npy"
    if kept is not None and kept.is_file():
        pixels = np.load(kept)
    else:
        pixels = _stack(root, names)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, pixels)
    return Chips(f"{root.name}/{split}", pixels, labels, classes)


def hold_back(chips: Chips, count: int, *, seed: int) -> tuple[Chips, Chips]:
    """Split off ``count`` chips, the same number of each class: (the rest, those held back)."""
    per_class = count // len(chips.classes)
    rng = np.random.default_rng(seed)
    held = [rng.permutation(np.flatnonzero(chips.labels == label))[:per_class] for label in range(len(chips.classes))]
    mask = np.zeros(len(chips), dtype=bool)
    mask[np.concatenate(held)] = True
    if mask.all():
        raise DatasetError(f"{chips.name} has {len(chips)} chips, too few to hold {count} back. Hold back fewer.")
    return chips.take(np.flatnonzero(~mask), f"{chips.name}-fit"), chips.take(np.flatnonzero(mask), f"{chips.name}-val")


def save_chips(path: Path, chips: Chips) -> None:
    """Write chips as one compressed npz file."""
    np.savez_compressed(
        path, name=chips.name, pixels=chips.pixels, labels=chips.labels, classes=np.array(chips.classes)
    )


def load_chips(path: Path) -> Chips:
    """Read what ``save_chips`` wrote."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            classes = tuple(str(name) for name in stored["classes"])
            return Chips(str(stored["name"]), stored["pixels"], stored["labels"], classes)
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(f"{path} is not a chip file: {error}. Write it anew with save_chips.") from error


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}. Give a folder in the layout of EuroSAT.") from error
    if not lines:
        raise DatasetError(f"{path} is empty. It must list one name a line.")
    return lines


def _label(root: Path, name: str, classes: Sequence[str]) -> int:
    folder = Path(name).parent.name
    if folder not in classes:
        raise DatasetError(f"{root / name} lies in {folder!r}, which classes.txt does not list. Correct one of them.")
    return classes.index(folder)


def _stack(root: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    chips = [_decode(root / name) for name in names]
    for name, chip in zip(names, chips, strict=True):
        if chip.shape != chips[-1].shape:
            raise DatasetError(
                f"{root / name} is {chip.shape[1]} x {chip.shape[2]} px, {root / names[-1]} is {chips[-1].shape[1]} x "
                f"{chips[-1].shape[2]} px. All chips must have one size."
            )
    return np.stack(chips)


def _held(pixels: NDArray[Any]) -> str:
    return f"{len(pixels)} band{'' if len(pixels) == 1 else 's'} of {pixels.dtype}"


def _decode(path: Path) -> NDArray[np.uint8]:
    pixels = _open(path)
    if pixels.dtype != np.uint8 or pixels.shape[0] != 3:
        raise DatasetError(f"{path} holds {_held(pixels)}; three of uint8 are needed. Give the data as RGB chips.")
    return pixels.astype(np.uint8, copy=False)


def _open(path: Path) -> NDArray[Any]:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                pixels: NDArray[Any] = image.read()
    except RasterioError as error:
        raise DatasetError(f"{path} cannot be decoded: {error}. Fetch it again.") from error
    return pixels


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def read_tiles(root: Path, split: str, *, edge_px: int, bands: int = 3, most: int = 512) -> Chips:
    """Unlabelled tiles cut from all rasters below ``root``; every label is -1 and there are no classes.

    ``train`` and ``test`` are other tiles of the same rasters, alternating. Only whole tiles of uint8 count; of
    more bands the first are taken.
    """
    if not root.is_dir():
        raise DatasetError(f"There is no folder {root}. Check the path of the data.")
    tiles: list[NDArray[np.uint8]] = []
    for path in sorted(entry for entry in root.rglob("*") if entry.suffix.lower() in _RASTERS):
        tiles += _cut(path, edge_px, bands)
        if len(tiles) >= 2 * most:
            break
    chosen = tiles[split == "train" : 2 * most : 2]
    if not chosen:
        raise DatasetError(f"{root} holds no raster of {bands} bands of uint8 with {edge_px} px. Add tiles.")
    labels = np.full(len(chosen), -1, dtype=np.int64)
    return Chips(f"{root.name}/{split}, unlabelled", np.stack(chosen), labels, ())


_RASTERS = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def _cut(path: Path, edge_px: int, bands: int) -> list[NDArray[np.uint8]]:
    pixels = _open(path)
    if pixels.dtype != np.uint8 or pixels.shape[0] < bands:
        raise DatasetError(
            f"{path} holds {_held(pixels)}; {bands} of uint8 are needed. Give rasters of the network's own bands."
        )
    pixels = pixels[:bands]
    rows, columns = pixels.shape[1] // edge_px, pixels.shape[2] // edge_px
    whole = pixels[:, : rows * edge_px, : columns * edge_px].reshape(bands, rows, edge_px, columns, edge_px)
    return list(np.ascontiguousarray(whole.transpose(1, 3, 0, 2, 4)).reshape(-1, bands, edge_px, edge_px))
