"""Several co-registered scenes as one frame: the bands of all of them, laid on the first one's grid by georeference.

A scene on the same grid is read window by window as it is; one on another grid or in another coordinate system is
resampled on the way, window by window, too. Pixels that one of the scenes lacks are not valid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import FrameError
from ..frame import BoolArray, Patch, read_square
from ..gdal import gdal_errors, one_line
from ..georeference import Box, Georeference, MapGeoreference
from ..records import TileArray
from .bands import ROLE, canonical_name
from .raster import RasterFrame, open_frame

_ALIGNED_PX = 1e-2
"""Grids this far apart are one."""
_ROLE = re.compile(r"[a-z][a-z0-9_]*")
Affine6 = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Beside:
    """A further scene of a stack: what it is to the network, where it is, and its bands' names if it has none."""

    role: str
    path: Path
    band_names: tuple[str, ...] = ()


def parse_beside(text: str) -> Beside:
    """``reference=B.tif``, or ``sar:vv,vh=C.tif`` where the file does not name its bands. Raises ``FrameError``."""
    told, sign, path = text.partition("=")
    role, _, names = told.partition(":")
    if not sign or not path or not _ROLE.fullmatch(role):
        raise FrameError(f"{text!r} is no scene with a role. Write ROLE=FILE, such as reference=before.tif.")
    return Beside(role, Path(path), tuple(names.split(",")) if names else ())


class Layer(Protocol):
    """Pixels of a scene on the first one's grid."""

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        """See ``Frame.window``."""
        ...

    def close(self) -> None:
        """Release what this layer opened itself."""
        ...


class Stack:
    """A frame of several scenes. The first gives name, size, place, time and value range; it also owns the others."""

    def __init__(self, first: RasterFrame, others: Mapping[str, RasterFrame]) -> None:
        self._first = first
        self._others = dict(others)
        self.file = first.file
        self.frame_id = first.frame_id
        self.width_px, self.height_px = first.width_px, first.height_px
        self.dtype, self.tile_dtype = first.dtype, first.tile_dtype
        self.value_range, self.nodata, self.gap = first.value_range, first.nodata, first.gap
        self.physical = first.physical
        self.gsd_m = first.gsd_m
        self.georeference: Georeference | None = first.georeference
        self.captured_unix_s = first.captured_unix_s
        self._layers: list[tuple[Layer, int]] = [(first, len(first.bands))]
        names = list(first.bands)
        for role, frame in self._others.items():
            self._layers.append((_on_grid_of(first, frame, role), len(frame.bands)))
            names += [f"{role}{ROLE}{canonical_name(name)}" for name in frame.bands]
        self.bands = tuple(names)

    @property
    def first(self) -> RasterFrame:
        """The scene on whose grid the others lie."""
        return self._first

    def scene(self, role: str) -> RasterFrame | None:
        """The scene that was laid over the first one in this role."""
        return self._others.get(role)

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        """See ``Frame.window``. ``bands`` may come from any of the scenes, in any order."""
        pixels: TileArray | None = None
        valid: BoolArray | None = None
        start = 0
        for layer, count in self._layers:
            places = [at for at, band in enumerate(bands) if start <= band < start + count]
            if places:
                patch = layer.window(box, [bands[at] - start for at in places])
                if pixels is None:
                    pixels = np.empty((len(bands), *patch.pixels.shape[1:]), dtype=patch.pixels.dtype)
                pixels[places] = patch.pixels
                valid = _both(valid, patch.valid)
            start += count
        assert pixels is not None
        return Patch(pixels, valid)

    def read(self, row_px: int, col_px: int, edge_px: int, bands: Sequence[int]) -> TileArray:
        """A square tile; see ``Frame.read``."""
        return read_square(self, row_px, col_px, edge_px, bands).pixels

    def close(self) -> None:
        """Release all files."""
        for layer, _ in self._layers[1:]:
            layer.close()
        for frame in (*self._others.values(), self._first):
            frame.close()

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_stack(
    path: Path,
    beside: Sequence[Beside],
    *,
    band_names: Sequence[str] = (),
    value_range: tuple[float, float] | None = None,
    tile_dtype: str = "uint8",
) -> Stack:
    """Open ``path`` with the scenes ``beside`` laid over it.

    Raises ``FrameError`` for a role given twice, scenes of different places, and scenes that say too little of where
    they lie.
    """
    if len({one.role for one in beside}) != len(beside):
        raise FrameError(f"The roles {', '.join(one.role for one in beside)} are not all different. Name each scene.")
    with ExitStack() as opened:
        first = opened.enter_context(
            open_frame(path, band_names=band_names, value_range=value_range, tile_dtype=tile_dtype)
        )
        others = {
            one.role: opened.enter_context(
                open_frame(one.path, band_names=one.band_names, value_range=value_range, tile_dtype=tile_dtype)
            )
            for one in beside
        }
        stack = Stack(first, others)
        opened.pop_all()
    return stack


@dataclass(frozen=True, slots=True)
class _Shifted:
    """A scene on the first one's grid, so many pixels below and to the right of the first one's corner."""

    frame: RasterFrame
    down_px: int
    right_px: int

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        top, left = box.row_px - self.down_px, box.col_px - self.right_px
        rows = max(top, 0), min(top + box.rows_px, self.frame.height_px)
        cols = max(left, 0), min(left + box.cols_px, self.frame.width_px)
        if (rows[0], cols[0], rows[1], cols[1]) == (top, left, top + box.rows_px, left + box.cols_px):
            return self.frame.window(Box(top, left, box.rows_px, box.cols_px), bands)
        nothing = np.nan if self.frame.tile_dtype == "float32" else 0
        pixels = np.full((len(bands), box.rows_px, box.cols_px), nothing, dtype=self.frame.tile_dtype)
        valid = np.zeros((box.rows_px, box.cols_px), dtype=bool)
        if rows[0] < rows[1] and cols[0] < cols[1]:
            part = self.frame.window(Box(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0]), bands)
            here = slice(rows[0] - top, rows[1] - top), slice(cols[0] - left, cols[1] - left)
            pixels[:, here[0], here[1]] = part.pixels
            valid[here] = True if part.valid is None else part.valid
        return Patch(pixels, valid)

    def close(self) -> None:
        """The frame is the stack's to close."""


def _on_grid_of(first: RasterFrame, other: RasterFrame, role: str) -> Layer:
    if first.georeference is None and other.georeference is None:
        if (first.width_px, first.height_px) != (other.width_px, other.height_px):
            raise FrameError(
                f"{role}={other.file.name} has {other.width_px} x {other.height_px} px, {first.frame_id} has "
                f"{first.width_px} x {first.height_px} px, and neither says where it lies. Georeference both."
            )
        return _Shifted(other, 0, 0)
    here, there = _affine(first, "the first scene"), _affine(other, role)
    overlap = _place_of(first, other, role)
    if overlap is not None:
        raise FrameError(overlap)
    same_crs = _same_crs(_crs_of(first), _crs_of(other))
    steps = here[0], here[1], here[3], here[4]
    if same_crs and np.allclose(steps, (there[0], there[1], there[3], there[4]), rtol=1e-9, atol=0.0):
        down, right = _pixel_of(here, there[2], there[5])
        if abs(down - round(down)) < _ALIGNED_PX and abs(right - round(right)) < _ALIGNED_PX:
            return _Shifted(other, round(down), round(right))
    coarser = (first.gsd_m or 1.0) / (other.gsd_m or first.gsd_m or 1.0)
    method = "average" if coarser > 2.0 else "bilinear"
    return other.warped(_crs_of(first), here, first.width_px, first.height_px, method)


def _affine(frame: RasterFrame, role: str) -> Affine6:
    place = frame.georeference
    if not isinstance(place, MapGeoreference) or place.affine is None:
        how = "does not say where it lies" if place is None else "lies by control points, RPCs or a camera's pose"
        raise FrameError(
            f"{frame.file} ({role}) {how}; scenes are laid over each other by their map transforms. "
            "Warp it onto a map first, such as with gdalwarp."
        )
    return place.affine


def _crs_of(frame: RasterFrame) -> str:
    assert isinstance(frame.georeference, MapGeoreference)
    return frame.georeference.crs_wkt


def _same_crs(one: str, other: str) -> bool:
    from rasterio.crs import CRS

    return one == other or CRS.from_user_input(one) == CRS.from_user_input(other)


def _pixel_of(affine: Affine6, x: float, y: float) -> tuple[float, float]:
    """Row and column of a place on the map."""
    a, b, c, d, e, f = affine
    det = a * e - b * d
    return (a * (y - f) - d * (x - c)) / det, (e * (x - c) - b * (y - f)) / det


def _place_of(first: RasterFrame, other: RasterFrame, role: str) -> str | None:
    """Why ``other`` shows nothing of ``first``, None where they overlap."""
    from rasterio.warp import transform_bounds

    try:
        box = transform_bounds(_crs_of(other), _crs_of(first), *_bounds(other))
    except gdal_errors() as error:
        return f"{other.file} ({role}) cannot be placed on {first.frame_id}: {one_line(error)}. Check its CRS."
    corners = [(box[0], box[1]), (box[0], box[3]), (box[2], box[1]), (box[2], box[3])]
    rows, cols = zip(*(_pixel_of(_affine(first, "the first scene"), x, y) for x, y in corners), strict=True)
    apart = max(rows) <= 0 or max(cols) <= 0 or min(rows) >= first.height_px or min(cols) >= first.width_px
    if not apart and np.isfinite([*rows, *cols]).all():
        return None
    return (
        f"{other.file} ({role}) and {first.frame_id} show different places: it lies {_away(rows, first.height_px)} "
        f"rows and {_away(cols, first.width_px)} columns off. Give scenes that overlap."
    )


def _away(span: Sequence[float], size: int) -> str:
    """How far a span lies outside 0..size."""
    gap = max(min(span) - size, -max(span), 0.0)
    return f"{gap:.0f}"


def _bounds(frame: RasterFrame) -> tuple[float, float, float, float]:
    a, b, c, d, e, f = _affine(frame, "a scene")
    corners = [(0, 0), (frame.width_px, 0), (0, frame.height_px), (frame.width_px, frame.height_px)]
    xs, ys = [a * col + b * row + c for col, row in corners], [d * col + e * row + f for col, row in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _both(one: BoolArray | None, other: BoolArray | None) -> BoolArray | None:
    if one is None or other is None:
        return one if other is None else other
    both: BoolArray = one & other
    return both
