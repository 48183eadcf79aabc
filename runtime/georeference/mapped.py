"""Frames in a map's coordinates: by an affine transform, or by ground control points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import FrameError
from ..gdal import gdal_errors, one_line
from .rings import Float64Array

WGS84 = "OGC:CRS84"
"""Longitude, latitude in degrees: the only coordinate system of RFC 7946."""


@dataclass(frozen=True, slots=True)
class ControlPoint:
    """A ground control point: pixel position and the place it shows, in the frame's coordinate system."""

    row_px: float
    col_px: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class MapGeoreference:
    """An affine transform, or ground control points where ``affine`` is None.

    ``affine`` is (a, b, c, d, e, f) with x = a col + b row + c and y = d col + e row + f.
    """

    crs_wkt: str
    affine: tuple[float, float, float, float, float, float] | None
    points: tuple[ControlPoint, ...] = ()

    def to_wgs84(self, rows_px: Float64Array, cols_px: Float64Array) -> tuple[Float64Array, Float64Array]:
        """See ``Georeference.to_wgs84``. Thin plate splines meet control points exactly."""
        from rasterio.warp import transform

        x, y = self._project(rows_px, cols_px)
        try:
            placed = transform(_crs(self.crs_wkt), _crs(WGS84), x.tolist(), y.tolist())
        except gdal_errors() as error:
            raise FrameError(f"Pixels cannot be placed on the ground: {one_line(error)}. Check the CRS.") from error
        lon, lat = np.asarray(placed[0], dtype=np.float64), np.asarray(placed[1], dtype=np.float64)
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise FrameError(
                "Pixels lie outside what the frame's coordinate system covers. Check its CRS and transform."
            )
        return lon, lat

    def error_m(self, rows_px: Float64Array, cols_px: Float64Array) -> Float64Array | None:
        """Files with a map transform do not say how good it is."""
        return None

    def _project(self, rows_px: Float64Array, cols_px: Float64Array) -> tuple[Float64Array, Float64Array]:
        if self.affine is None:
            return _by_control_points(self.points, rows_px, cols_px)
        a, b, c, d, e, f = self.affine
        return a * cols_px + b * rows_px + c, d * cols_px + e * rows_px + f


@lru_cache(maxsize=64)
def _crs(text: str) -> Any:
    from rasterio.crs import CRS

    return CRS.from_user_input(text)


def _by_control_points(
    points: Sequence[ControlPoint], rows_px: Float64Array, cols_px: Float64Array
) -> tuple[Float64Array, Float64Array]:
    from rasterio.control import GroundControlPoint
    from rasterio.transform import GCPTransformer

    gcps = [GroundControlPoint(row=p.row_px, col=p.col_px, x=p.x, y=p.y) for p in points]
    with GCPTransformer(gcps, tps=True) as transformer:
        placed = transformer.xy(rows_px.tolist(), cols_px.tolist(), offset="ul")
    return np.asarray(placed[0], dtype=np.float64), np.asarray(placed[1], dtype=np.float64)
