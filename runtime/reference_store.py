"""Reference tiles kept on board, one a cell of ground, within a bound of bytes.

Each is one file, written whole or not at all, so that a power cut leaves the ones before. When room is short the least
valuable goes first, of equals the oldest; everything that is refused or dropped is counted.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .durable import write_whole
from .errors import FrameError, StoreError
from .frame import Patch
from .gdal import gdal_errors, one_line
from .georeference import MapGeoreference
from .records import UInt8Array

_SUFFIX = ".reference.npz"
_METRES_A_DEGREE = 111_320.0
_REACH_CELLS = 1
"""A new tile may lie across cells: neighbours this far away are laid under it, too."""


@dataclass(frozen=True, slots=True, order=True)
class GroundCell:
    """A square of ground of about ``cell_m``: rows of equal height from the south pole, each cut into columns."""

    cell_m: int
    row: int
    col: int

    @staticmethod
    def at(lon_deg: float, lat_deg: float, cell_m: int) -> GroundCell:
        """The cell that holds a place."""
        row = math.floor((lat_deg + 90.0) * _METRES_A_DEGREE / cell_m)
        return GroundCell(cell_m, row, math.floor((lon_deg + 180.0) % 360.0 / 360.0 * _columns(row, cell_m)))

    def around(self, reach: int) -> Iterator[GroundCell]:
        """This cell and those up to ``reach`` away, across the antimeridian too."""
        east = (self.col + 0.5) / _columns(self.row, self.cell_m)
        for row in range(max(self.row - reach, 0), self.row + reach + 1):
            many = _columns(row, self.cell_m)
            middle = math.floor(east * many)
            yield from {GroundCell(self.cell_m, row, (middle + step) % many) for step in range(-reach, reach + 1)}

    @property
    def name(self) -> str:
        """For a file."""
        return f"{self.cell_m}m-{self.row}-{self.col}"


@dataclass(frozen=True, slots=True, eq=False)
class GroundTile:
    """A tile with its place and time. ``pixels``: (bands, rows, cols) uint8, ``bands`` their names."""

    pixels: UInt8Array
    bands: tuple[str, ...]
    georeference: MapGeoreference
    captured_unix_s: float
    value: float = 1.0
    """What keeping it is worth."""

    def centre_deg(self) -> tuple[float, float]:
        """Longitude and latitude of its middle."""
        _, rows, cols = self.pixels.shape
        lon, lat = self.georeference.to_wgs84(np.array([rows / 2]), np.array([cols / 2]))
        return float(lon[0]), float(lat[0])


@dataclass(slots=True)
class StoreCounts:
    """What happened to the tiles that were offered since the store was opened."""

    kept: int = 0
    replaced: int = 0
    """Of ``kept``, those that took the place of an older tile of their cell."""
    stale: int = 0
    """Not newer than what their cell holds."""
    refused: int = 0
    """Larger than the store, or worth less than all that would have to go."""
    evicted: int = 0
    damaged: int = 0
    """Files that could not be read and were removed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size_byte: int
    captured_unix_s: float
    value: float


@dataclass(slots=True)
class ReferenceStore:
    """The references below ``folder``, at most ``most_byte`` of them. Raises ``StoreError`` where the disk refuses."""

    folder: Path
    most_byte: int
    cell_m: int = 1000
    counts: StoreCounts = field(default_factory=StoreCounts)
    _entries: dict[GroundCell, _Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.most_byte < 1 or self.cell_m < 1:
            raise StoreError(
                f"A store of {self.most_byte} bytes in cells of {self.cell_m} m holds nothing. Raise both."
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(f".*{_SUFFIX}.part"):
                path.unlink()
        except OSError as error:
            raise StoreError(f"{self.folder} cannot hold references: {error.strerror}. Give another folder.") from error
        for path in sorted(self.folder.glob(f"{self.cell_m}m-*{_SUFFIX}")):
            self._take_in(path)
        self._make_room(0, math.inf)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_byte(self) -> int:
        """Of all files."""
        return sum(entry.size_byte for entry in self._entries.values())

    def put(self, tile: GroundTile) -> bool:
        """Keep a tile as its cell's reference; False, and counted, where it is stale or not worth the room."""
        cell = GroundCell.at(*tile.centre_deg(), self.cell_m)
        before = self._entries.get(cell)
        if before is not None and before.captured_unix_s >= tile.captured_unix_s:
            self.counts.stale += 1
            return False
        content = _packed(tile)
        spare = 0 if before is None else before.size_byte
        if len(content) > self.most_byte or not self._make_room(len(content) - spare, tile.value, keep=cell):
            self.counts.refused += 1
            return False
        path = self.folder / (cell.name + _SUFFIX)
        _write(path, content)
        self._entries[cell] = _Entry(path, len(content), tile.captured_unix_s, tile.value)
        self.counts.kept += 1
        self.counts.replaced += before is not None
        return True

    def get(self, cell: GroundCell) -> GroundTile | None:
        """The cell's tile, None where there is none. A damaged file is removed and counted."""
        entry = self._entries.get(cell)
        if entry is None:
            return None
        tile = _unpacked(entry.path)
        if tile is None:
            self._drop(cell)
            self.counts.damaged += 1
        return tile

    def lay_under(self, new: GroundTile) -> Patch | None:
        """The references on the grid of ``new``, band for band: (bands, rows, cols) and where any covers it.

        Only tiles older than ``new`` count: the order of dates matters. None where no older one covers any of it.
        Raises ``FrameError`` where a reference lacks bands or cannot be placed.
        """
        cell = GroundCell.at(*new.centre_deg(), self.cell_m)
        tiles = [tile for near in sorted(cell.around(_REACH_CELLS)) if (tile := self.get(near)) is not None]
        older = sorted((t for t in tiles if t.captured_unix_s < new.captured_unix_s), key=lambda t: t.captured_unix_s)
        pixels = np.zeros_like(new.pixels)
        valid = np.zeros(new.pixels.shape[1:], dtype=bool)
        for tile in older:
            laid, covered = _on_grid_of(new, tile)
            pixels[:, covered] = laid[:, covered]
            valid |= covered
        return Patch(pixels, valid) if valid.any() else None

    def _take_in(self, path: Path) -> None:
        tile = _unpacked(path)
        if tile is None:
            path.unlink(missing_ok=True)
            self.counts.damaged += 1
            return
        cell = GroundCell.at(*tile.centre_deg(), self.cell_m)
        self._entries[cell] = _Entry(path, path.stat().st_size, tile.captured_unix_s, tile.value)

    def _make_room(self, needed_byte: int, value: float, *, keep: GroundCell | None = None) -> bool:
        """Drop what is worth least until ``needed_byte`` fit; nothing where that would cost more than ``value``."""
        short = self.size_byte + needed_byte - self.most_byte
        going: list[GroundCell] = []
        order = sorted(self._entries.items(), key=lambda item: (item[1].value, item[1].captured_unix_s, item[0]))
        for cell, entry in order:
            if short <= 0:
                break
            if cell == keep:
                continue
            if entry.value > value:
                return False
            going.append(cell)
            short -= entry.size_byte
        if short > 0:
            return False
        for cell in going:
            self._drop(cell)
            self.counts.evicted += 1
        return True

    def _drop(self, cell: GroundCell) -> None:
        self._entries.pop(cell).path.unlink(missing_ok=True)


def stacked(new: GroundTile, reference: Patch, bands: tuple[str, ...]) -> UInt8Array:
    """(bands, rows, cols) in the order of a change package's ``bands``: ``reference_red`` ... and ``red`` ...

    Raises ``FrameError`` for a band that the tile lacks.
    """
    planes = []
    for name in bands:
        source, plain = (
            (reference.pixels, name[len("reference_") :]) if name.startswith("reference_") else (new.pixels, name)
        )
        if plain not in new.bands:
            raise FrameError(f"The tile has the bands {', '.join(new.bands)}, not {plain}. Use another package.")
        planes.append(source[new.bands.index(plain)])
    return np.stack(planes).astype(np.uint8, copy=False)


def georeference_of(georeference: MapGeoreference, row_px: int, col_px: int) -> MapGeoreference:
    """The same map for a window whose corner is that pixel of the frame. Raises ``FrameError`` without a transform."""
    if georeference.affine is None:
        raise FrameError("The frame lies by control points; references need a map transform. Warp it with gdalwarp.")
    a, b, c, d, e, f = georeference.affine
    moved = (a, b, a * col_px + b * row_px + c, d, e, d * col_px + e * row_px + f)
    return replace(georeference, affine=moved)


def _columns(row: int, cell_m: int) -> int:
    lat_deg = min(max((row + 0.5) * cell_m / _METRES_A_DEGREE - 90.0, -90.0), 90.0)
    return max(1, round(360.0 * _METRES_A_DEGREE * math.cos(math.radians(lat_deg)) / cell_m))


def _on_grid_of(new: GroundTile, tile: GroundTile) -> tuple[UInt8Array, Any]:
    """``tile`` resampled to the grid of ``new``, and where it covers it: (bands, rows, cols) and (rows, cols) bool."""
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    if missing := [name for name in new.bands if name not in tile.bands]:
        raise FrameError(f"The reference has no band {', '.join(missing)}. Store references with the same bands.")
    if new.georeference.affine is None or tile.georeference.affine is None:
        raise FrameError("Tiles that lie by control points cannot be laid over each other. Warp them with gdalwarp.")
    source = tile.pixels[[tile.bands.index(name) for name in new.bands]]
    given = np.concatenate([source, np.full((1, *source.shape[1:]), 255, dtype=np.uint8)])
    laid = np.zeros((len(given), *new.pixels.shape[1:]), dtype=np.uint8)
    try:
        reproject(
            given,
            laid,
            src_transform=Affine(*tile.georeference.affine),
            src_crs=tile.georeference.crs_wkt,
            dst_transform=Affine(*new.georeference.affine),
            dst_crs=new.georeference.crs_wkt,
            resampling=Resampling.bilinear,
        )
    except gdal_errors() as error:
        raise FrameError(f"A reference cannot be placed on the new tile: {one_line(error)}. Check its CRS.") from error
    return laid[:-1], laid[-1] > 127


def _packed(tile: GroundTile) -> bytes:
    about = {
        "bands": tile.bands,
        "georeference": asdict(tile.georeference),
        "captured_unix_s": tile.captured_unix_s,
        "value": tile.value,
    }
    file = io.BytesIO()
    np.savez_compressed(file, pixels=tile.pixels, about=np.array(json.dumps(about)))
    return file.getvalue()


def _unpacked(path: Path) -> GroundTile | None:
    """The tile in a file, None where it is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            about, pixels = json.loads(str(stored["about"])), stored["pixels"]
        place = about["georeference"]
        georeference = MapGeoreference(place["crs_wkt"], tuple(place["affine"]))
        return GroundTile(pixels, tuple(about["bands"]), georeference, about["captured_unix_s"], about["value"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}. Free some space.") from error
