"""From pixels to the ground: tile corners as WGS 84 rings, and rings as GeoJSON geometries (RFC 7946).

Pixel coordinates count from the upper left corner of the upper left pixel: (0, 0) is that corner, (0.5, 0.5) the centre
of the first pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError
from .gdal import gdal_errors, one_line
from .records import Footprint

Float64Array = NDArray[np.float64]
Ring = tuple[tuple[float, float], ...]

WGS84 = "OGC:CRS84"
"""Longitude, latitude in degrees: the only coordinate system of RFC 7946."""


@dataclass(frozen=True, slots=True)
class Box:
    """A window of a frame in pixels: upper left corner, height, width."""

    row_px: int
    col_px: int
    rows_px: int
    cols_px: int


@dataclass(frozen=True, slots=True)
class ControlPoint:
    """A ground control point: pixel position and the place it shows, in the frame's coordinate system."""

    row_px: float
    col_px: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Georeference:
    """Where a frame lies: an affine transform, or ground control points where ``affine`` is None.

    ``affine`` is (a, b, c, d, e, f) with x = a col + b row + c and y = d col + e row + f.
    """

    crs_wkt: str
    affine: tuple[float, float, float, float, float, float] | None
    points: tuple[ControlPoint, ...] = ()

    def to_wgs84(self, rows_px: Float64Array, cols_px: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Longitudes and latitudes in degrees of pixel positions. Thin plate splines meet control points exactly.

        Raises ``FrameError`` where a position lies outside what the coordinate system can express.
        """
        from rasterio.warp import transform

        x, y = self._project(rows_px, cols_px)
        try:
            placed = transform(self.crs_wkt, WGS84, x.tolist(), y.tolist())
        except gdal_errors() as error:
            raise FrameError(f"Pixels cannot be placed on the ground: {one_line(error)}. Check the CRS.") from error
        lon, lat = np.asarray(placed[0], dtype=np.float64), np.asarray(placed[1], dtype=np.float64)
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise FrameError(
                "Pixels lie outside what the frame's coordinate system covers. Check its CRS and transform."
            )
        return lon, lat

    def _project(self, rows_px: Float64Array, cols_px: Float64Array) -> tuple[Float64Array, Float64Array]:
        if self.affine is None:
            return _by_control_points(self.points, rows_px, cols_px)
        a, b, c, d, e, f = self.affine
        return a * cols_px + b * rows_px + c, d * cols_px + e * rows_px + f


def footprints(georeference: Georeference, boxes: Sequence[Box]) -> list[Footprint]:
    """The ground polygons of ``boxes``, in one coordinate transformation."""
    if not boxes:
        return []
    top = np.array([box.row_px for box in boxes], dtype=np.float64)
    left = np.array([box.col_px for box in boxes], dtype=np.float64)
    bottom = top + np.array([box.rows_px for box in boxes])
    right = left + np.array([box.cols_px for box in boxes])
    rows = np.stack([top, bottom, bottom, top], axis=1)
    cols = np.stack([left, left, right, right], axis=1)
    lon, lat = georeference.to_wgs84(rows.ravel(), cols.ravel())
    corners = np.stack([lon, lat], axis=1).reshape(len(boxes), 4, 2).tolist()
    return [Footprint(ring_of([(x, y) for x, y in four])) for four in corners]


def pixel_size_m(georeference: Georeference, height_px: int, width_px: int) -> float:
    """Ground length of a pixel's side at the middle of the frame: geometric mean of row and column directions.

    Small-angle distance on the WGS 84 ellipsoid (radii of curvature in the meridian and the prime vertical).
    """
    row, col = height_px / 2, width_px / 2
    lon, lat = georeference.to_wgs84(np.array([row, row + 1, row]), np.array([col, col, col + 1]))
    east_m, north_m = _metres(lon - lon[0], lat - lat[0], float(lat[0]))
    down, across = math.hypot(east_m[1], north_m[1]), math.hypot(east_m[2], north_m[2])
    return math.sqrt(down * across)


def ring_of(corners: Sequence[tuple[float, float]]) -> Ring:
    """Close ``corners`` (degrees) into a counter-clockwise ring.

    A ring across the antimeridian keeps running past ±180 so that it stays one polygon (``geometry_of`` cuts it);
    a ring around a pole is led along the pole's latitude.

    >>> ring_of([(0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
    ((0.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    """
    run = _unwrap([*corners, corners[0]])
    if abs(run[-1][0] - run[0][0]) > 180.0:
        pole = math.copysign(90.0, sum(lat for _, lat in corners))
        run = [*run, (run[-1][0], pole), (run[0][0], pole), run[0]]
    if _doubled_area(run) < 0:
        run.reverse()
    return tuple(run)


def geometry_of(footprint: Footprint | None) -> dict[str, Any] | None:
    """The GeoJSON geometry of a footprint: a Polygon, or a MultiPolygon cut at the antimeridian (RFC 7946, 3.1.9)."""
    if footprint is None:
        return None
    parts = _cut_at_antimeridian(footprint.ring_deg)
    rings = [[[round(lon, 7), round(lat, 7)] for lon, lat in part] for part in parts]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def _by_control_points(
    points: Sequence[ControlPoint], rows_px: Float64Array, cols_px: Float64Array
) -> tuple[Float64Array, Float64Array]:
    from rasterio.control import GroundControlPoint
    from rasterio.transform import GCPTransformer

    gcps = [GroundControlPoint(row=p.row_px, col=p.col_px, x=p.x, y=p.y) for p in points]
    with GCPTransformer(gcps, tps=True) as transformer:
        placed = transformer.xy(rows_px.tolist(), cols_px.tolist(), offset="ul")
    return np.asarray(placed[0], dtype=np.float64), np.asarray(placed[1], dtype=np.float64)


def _metres(dlon_deg: Float64Array, dlat_deg: Float64Array, lat_deg: float) -> tuple[Float64Array, Float64Array]:
    semi_major_m, eccentricity_squared = 6_378_137.0, 0.006_694_379_990_14
    lat = math.radians(lat_deg)
    root = math.sqrt(1 - eccentricity_squared * math.sin(lat) ** 2)
    meridian_m = semi_major_m * (1 - eccentricity_squared) / root**3
    east_m = np.radians((dlon_deg + 180.0) % 360.0 - 180.0) * semi_major_m / root * math.cos(lat)
    return east_m, np.radians(dlat_deg) * meridian_m


def _unwrap(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Add whole turns so that no two neighbours are more than half a turn apart."""
    run = [corners[0]]
    for lon, lat in corners[1:]:
        turns = round((run[-1][0] - lon) / 360.0)
        run.append((lon + 360.0 * turns, lat))
    return run


def _doubled_area(ring: Sequence[tuple[float, float]]) -> float:
    x0, y0 = ring[0]  # differences to one corner: a small tile far from (0, 0) loses no digits
    return sum((ax - x0) * (by - y0) - (bx - x0) * (ay - y0) for (ax, ay), (bx, by) in pairwise(ring))


def _cut_at_antimeridian(ring: Ring) -> list[Ring]:
    """The parts of a ring that lie in each turn of the globe, brought back to -180..180."""
    lons_deg = [lon for lon, _ in ring]
    west, east = min(lons_deg), max(lons_deg)
    if west >= -180.0 and east <= 180.0:
        return [ring]
    first, last = math.floor((west + 180.0) / 360.0), math.ceil((east + 180.0) / 360.0)
    parts = []
    for turn in range(first, max(last, first + 1)):
        part = _clip(_clip(ring, turn * 360.0 - 180.0, 1.0), turn * 360.0 + 180.0, -1.0)
        if len(part) >= 4 and _doubled_area(part) > 0:
            parts.append(tuple((lon - turn * 360.0, lat) for lon, lat in part))
    return parts or [ring]


def _clip(ring: Ring, limit_deg: float, sign: float) -> Ring:
    """The closed part of ``ring`` on one side of a meridian (Sutherland and Hodgman 1974)."""
    kept: list[tuple[float, float]] = []
    for (ax, ay), (bx, by) in pairwise(ring):
        a_in, b_in = sign * (ax - limit_deg) >= 0, sign * (bx - limit_deg) >= 0
        if a_in:
            kept.append((ax, ay))
        if a_in != b_in:
            kept.append((limit_deg, ay + (by - ay) * (limit_deg - ax) / (bx - ax)))
    return (*kept, kept[0]) if kept else ()
