"""Masks, maps and restored images as Cloud Optimized GeoTIFF, written strip by strip so that no scene is ever held."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..gdal import gdal_errors, grow_cache, one_line
from ..georeference import Box, Georeference, MapGeoreference
from ..records import TileArray
from .files import SCRATCH, whole_path

_BLOCK_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the bands of a picture are."""

    bands: int
    dtype: str = "uint8"
    nodata: float | None = None
    resampling: str = "average"
    """Of the overviews: ``nearest`` for classes, ``average`` for values."""
    names: Sequence[str] = ()
    units: Sequence[str] = ()
    scales: Sequence[float] = ()
    offsets: Sequence[float] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image being written. Pixels that nobody writes stay nodata."""

    dataset: Any

    def put(self, box: Box, pixels: TileArray) -> None:
        """Write (bands, rows, cols) into a window."""
        from rasterio.windows import Window

        window = Window(box.col_px, box.row_px, box.cols_px, box.rows_px)  # pyright: ignore[reportCallIssue]
        self.dataset.write(pixels, window=window)


@contextmanager
def cog(
    target: Path,
    *,
    width_px: int,
    height_px: int,
    georeference: Georeference | None,
    layout: Layout,
) -> Iterator[Canvas]:
    """A canvas that becomes the COG ``target`` when the block ends well, and nothing otherwise.

    A map's georeference is kept; RPCs and poses are not raster transforms and are left to the STAC item.
    Raises ``StoreError``.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.shutil import copy

    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": width_px,
        "height": height_px,
        "count": layout.bands,
        "dtype": layout.dtype,
        "tiled": True,
        "blockxsize": _BLOCK_PX,
        "blockysize": _BLOCK_PX,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
        "nodata": layout.nodata,
    }
    grow_cache(width_px * layout.bands * np.dtype(layout.dtype).itemsize)
    with whole_path(target) as finished, whole_scratch(target) as scratch:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(scratch, "w", **profile) as dataset:
                    _place(dataset, georeference)
                    _describe(dataset, layout)
                    yield Canvas(dataset)
                copy(
                    str(scratch),
                    str(finished),
                    driver="COG",
                    COMPRESS="DEFLATE",
                    OVERVIEW_RESAMPLING=layout.resampling.upper(),
                )
        except gdal_errors() as error:
            raise StoreError(f"{target} cannot be written: {one_line(error)}. Make room or choose another.") from error


@contextmanager
def whole_scratch(target: Path) -> Iterator[Path]:
    """A hidden file beside ``target`` that is gone when the block ends."""
    scratch = target.with_name(f".{target.name}{SCRATCH}")
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def _place(dataset: Any, georeference: Georeference | None) -> None:
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.transform import Affine

    if not isinstance(georeference, MapGeoreference):
        return
    crs = CRS.from_user_input(georeference.crs_wkt)
    if georeference.affine is not None:
        dataset.crs, dataset.transform = crs, Affine(*georeference.affine)
    else:
        points = [GroundControlPoint(row=p.row_px, col=p.col_px, x=p.x, y=p.y) for p in georeference.points]
        dataset.gcps = (points, crs)


def _describe(dataset: Any, layout: Layout) -> None:
    from rasterio.enums import ColorInterp

    if len(layout.names) == layout.bands:
        dataset.descriptions = tuple(layout.names)
        known = {"red": ColorInterp.red, "green": ColorInterp.green, "blue": ColorInterp.blue}
        if layout.bands > 1:  # by itself GDAL takes a fourth band for transparency
            dataset.colorinterp = [known.get(name, ColorInterp.undefined) for name in layout.names]
    if len(layout.units) == layout.bands:
        dataset.units = tuple(layout.units)
    if len(layout.scales) == layout.bands and any(scale != 1.0 for scale in layout.scales):
        dataset.scales = tuple(layout.scales)
    if len(layout.offsets) == layout.bands and any(layout.offsets):
        dataset.offsets = tuple(layout.offsets)
    if layout.tags:
        dataset.update_tags(**layout.tags)
