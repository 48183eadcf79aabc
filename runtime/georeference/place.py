"""The seam between a frame and the Earth, and what is worked out through it: outlines and the size of a pixel.

Pixel coordinates count from the upper left corner of the upper left pixel: (0, 0) is that corner, (0.5, 0.5) the centre
of the first pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..records import Footprint
from .rings import Float64Array, rings_of

SEMI_MAJOR_M, ECCENTRICITY_SQUARED = 6_378_137.0, 0.006_694_379_990_14
"""WGS 84 ellipsoid."""


@dataclass(frozen=True, slots=True)
class Box:
    """A window of a frame in pixels: upper left corner, height, width."""

    row_px: int
    col_px: int
    rows_px: int
    cols_px: int


class Georeference(Protocol):
    """Where a frame lies."""

    def to_wgs84(self, rows_px: Float64Array, cols_px: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Longitudes and latitudes in degrees of (n,) pixel positions.

        Raises ``FrameError`` where a position has no place on the ground.
        """
        ...

    def error_m(self, rows_px: Float64Array, cols_px: Float64Array) -> Float64Array | None:
        """Horizontal standard error in metres of each position, None where nothing is known of it."""
        ...


def outlines(georeference: Georeference, corners_px: Float64Array) -> list[Footprint]:
    """Ground polygons of (n, corners, 2) rows and columns, in one coordinate transformation."""
    if not len(corners_px):
        return []
    count, corners = corners_px.shape[:2]
    lon, lat = georeference.to_wgs84(corners_px[..., 0].ravel(), corners_px[..., 1].ravel())
    return [Footprint(ring) for ring in rings_of(lon.reshape(count, corners), lat.reshape(count, corners))]


def footprints(georeference: Georeference, boxes: Sequence[Box]) -> list[Footprint]:
    """Ground polygons of ``boxes``."""
    sides = np.array([(b.row_px, b.col_px, b.row_px + b.rows_px, b.col_px + b.cols_px) for b in boxes], np.float64)
    return outlines(georeference, corners_of(sides.reshape(-1, 4)))


def corners_of(sides_px: Float64Array) -> Float64Array:
    """(n, 4, 2) corners, row and column, of (n, 4) boxes given as top, left, bottom, right."""
    top, left, bottom, right = sides_px.T
    return np.stack([top, left, bottom, left, bottom, right, top, right], axis=1).reshape(-1, 4, 2)


def pixel_size_m(georeference: Georeference, height_px: int, width_px: int) -> float:
    """Ground length of a pixel's side at the middle of the frame: geometric mean of row and column directions."""
    row, col = height_px / 2, width_px / 2
    lon, lat = georeference.to_wgs84(np.array([row, row + 1, row]), np.array([col, col, col + 1]))
    east_m, north_m = metres_from(lon - lon[0], lat - lat[0], float(lat[0]))
    down, across = math.hypot(east_m[1], north_m[1]), math.hypot(east_m[2], north_m[2])
    return math.sqrt(down * across)


def metres_from(dlon_deg: Float64Array, dlat_deg: Float64Array, lat_deg: float) -> tuple[Float64Array, Float64Array]:
    """East and north of small differences in degrees, on the WGS 84 ellipsoid."""
    meridian_m, vertical_m = radii_m(lat_deg)
    east_m = np.radians((dlon_deg + 180.0) % 360.0 - 180.0) * vertical_m * math.cos(math.radians(lat_deg))
    return east_m, np.radians(dlat_deg) * meridian_m


def radii_m(lat_deg: float) -> tuple[float, float]:
    """Radii of curvature of the WGS 84 ellipsoid in the meridian and in the prime vertical."""
    root = math.sqrt(1 - ECCENTRICITY_SQUARED * math.sin(math.radians(lat_deg)) ** 2)
    return SEMI_MAJOR_M * (1 - ECCENTRICITY_SQUARED) / root**3, SEMI_MAJOR_M / root
