"""Data sets of place: two surveys of one square cut into places, and street views paired with the aerial picture.

A survey folder has ``tiles.csv`` (place, row_px, col_px, edge_px, split) beside two rasters of one grid, ``*_DOP.tif``
(what asks) and ``*_xDOP.tif`` (the map). A folder of pairs has ``pairs.csv`` (file, dataset, split), each file a strip
of squares: aerial picture, street view, and what else there is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

SURVEY, PAIRS = "tiles.csv", "pairs.csv"
_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Place:
    """A square of both surveys."""

    name: str
    row_px: int
    col_px: int
    edge_px: int
    split: str


@dataclass(frozen=True, slots=True, eq=False)
class Surveys:
    """Two surveys of one square on one grid. ``query`` and ``reference``: (3, rows, cols) uint8."""

    name: str
    query: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    gsd_m: float
    places: tuple[Place, ...]

    def of(self, split: str) -> tuple[Place, ...]:
        """The places of ``train`` or ``test``."""
        return tuple(place for place in self.places if place.split == split)


@dataclass(frozen=True, slots=True, eq=False)
class ViewPairs:
    """Pictures of one place from the ground and from above. ``ground`` and ``aerial``: (n, 3, edge, edge) uint8."""

    name: str
    ground: NDArray[np.uint8]
    aerial: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ground)


def read_surveys(folder: Path) -> Surveys:
    """A survey folder. Raises ``DatasetError`` naming the file where something is missing or does not fit."""
    places = tuple(_place(folder / SURVEY, row) for row in _rows(folder / SURVEY))
    query_path, reference_path = _one(folder, "*_DOP.tif"), _one(folder, "*_xDOP.tif")
    (query, gsd_m), (reference, _) = _raster(query_path), _raster(reference_path)
    if query.shape != reference.shape:
        raise DatasetError(
            f"{query_path.name} is {query.shape} and {reference_path.name} {reference.shape}; two surveys of one "
            "square need one grid. Warp one onto the other."
        )
    rows, cols = query.shape[1:]
    for place in places:
        inside = min(place.row_px, place.col_px) >= 0
        if not inside or place.row_px + place.edge_px > rows or place.col_px + place.edge_px > cols:
            raise DatasetError(f"{folder / SURVEY}: place {place.name} lies outside {rows} x {cols} px. Correct it.")
    return Surveys(folder.name, query, reference, gsd_m, places)


def read_view_pairs(folder: Path, split: str, edge_px: int) -> ViewPairs:
    """The pairs of ``train`` or ``test``, reduced to ``edge_px``. Raises ``DatasetError``."""
    rows = [row for row in _rows(folder / PAIRS) if row.get("split") == split]
    if not rows:
        raise DatasetError(f"{folder / PAIRS} has no pair of split {split!r}. Use train or test.")
    strips = [_strip(folder / row["file"], edge_px) for row in rows]
    aerial, ground = (np.stack([strip[side] for strip in strips]) for side in (0, 1))
    return ViewPairs(f"{folder.name}-{split}", ground, aerial)


def read_places(folder: Path, edge_px: int, most: int) -> NDArray[np.uint8]:
    """Up to ``most`` aerial pictures of different places, in any folders below ``folder``: (n, 3, edge, edge).

    Spread evenly over the sorted names. A ``train.txt`` lists the ones to use. Raises ``DatasetError``.
    """
    listed = folder / "train.txt"
    if listed.is_file():
        base = folder / "images" if (folder / "images").is_dir() else folder
        paths = [base / line for line in listed.read_text(encoding="utf-8").split()]
        paths = [path if path.is_file() else folder / path.relative_to(base) for path in paths]
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS)
    if not paths:
        raise DatasetError(f"{folder} holds no picture. Give a folder of aerial pictures.")
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int))
    return np.stack([_resized(_raster(paths[at])[0], edge_px) for at in chosen.tolist()])


def _rows(path: Path) -> Iterable[dict[str, str]]:
    if not path.is_file():
        raise DatasetError(f"There is no {path}. Give a folder with {SURVEY} (surveys) or {PAIRS} (ground and aerial).")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _place(path: Path, row: dict[str, str]) -> Place:
    try:
        return Place(row["place"], int(row["row_px"]), int(row["col_px"]), int(row["edge_px"]), row["split"])
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{path}: the line {row} is no place: {error}. Give place,row_px,col_px,edge_px,split."
        ) from error


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise DatasetError(f"{folder} has {len(found)} files {pattern}, not one. Keep one survey of each kind in it.")
    return found[0]


def _strip(path: Path, edge_px: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pixels, _ = _raster(path)
    side = pixels.shape[1]
    if pixels.shape[2] < 2 * side:
        raise DatasetError(f"{path} is {pixels.shape}, no strip of squares: aerial picture, then street view.")
    return _resized(pixels[:, :, :side], edge_px), _resized(pixels[:, :, side : 2 * side], edge_px)


def _raster(path: Path) -> tuple[NDArray[np.uint8], float]:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                pixels, gsd_m = file.read(), abs(float(file.transform.a))
    except (RasterioError, OSError) as error:
        raise DatasetError(f"{path} cannot be read: {error}. Fetch the data set again.") from error
    if pixels.dtype != np.uint8 or pixels.shape[0] < 3:
        raise DatasetError(f"{path} is {pixels.dtype} {pixels.shape}; three bands of uint8 are needed. Convert it.")
    return pixels[:3], gsd_m


def _resized(pixels: NDArray[np.uint8], edge_px: int) -> NDArray[np.uint8]:
    """The middle square at ``edge_px``: each new pixel the mean of what it covers, nearest where it covers less."""
    side = min(pixels.shape[1:])
    top, left = (pixels.shape[1] - side) // 2, (pixels.shape[2] - side) // 2
    square = pixels[:, top : top + side, left : left + side].astype(np.float32)
    bounds = np.linspace(0, side, edge_px + 1)
    first = np.minimum(np.floor(bounds[:-1]).astype(int), side - 1)
    last = np.maximum(np.ceil(bounds[1:]).astype(int), first + 1)
    sums = np.pad(square, ((0, 0), (1, 0), (1, 0))).cumsum(1, dtype=np.float64).cumsum(2)
    area = (last - first)[:, None] * (last - first)[None, :]
    total = (
        sums[:, last][:, :, last]
        - sums[:, first][:, :, last]
        - sums[:, last][:, :, first]
        + sums[:, first][:, :, first]
    )
    out: NDArray[np.uint8] = np.clip(np.rint(total / area), 0, 255).astype(np.uint8)
    return out
