"""Corner positions as closed WGS 84 rings, and rings as GeoJSON geometries (RFC 7946)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import Footprint

Float64Array = NDArray[np.float64]
Ring = tuple[tuple[float, float], ...]


def rings_of(lon_deg: Float64Array, lat_deg: Float64Array) -> list[Ring]:
    """Closed counter-clockwise rings of (n, corners) degrees. Equal to ``ring_of`` row by row, and much faster."""
    closed = closed_rings(lon_deg, lat_deg)
    if closed is None:
        return [ring_of(list(zip(lons, lats, strict=True))) for lons, lats in zip(lon_deg, lat_deg, strict=True)]
    return [tuple(map(tuple, ring)) for ring in closed.tolist()]


def closed_rings(lon_deg: Float64Array, lat_deg: Float64Array) -> Float64Array | None:
    """(n, corners + 1, 2) closed counter-clockwise rings; None where one may cross the antimeridian or hold a pole."""
    spread_deg = float(np.ptp(lon_deg, axis=1).max(initial=0.0))
    if spread_deg > 180.0:
        return None
    x, y = lon_deg - lon_deg[:, :1], lat_deg - lat_deg[:, :1]
    doubled_area = np.sum(x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y, axis=1)
    corners = np.stack([lon_deg, lat_deg], axis=2)
    closed = np.concatenate([corners, corners[:, :1]], axis=1)
    clockwise = doubled_area < 0
    closed[clockwise] = closed[clockwise, ::-1]
    return closed


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
    """The GeoJSON geometry of a footprint: a Polygon, or a MultiPolygon cut at the antimeridian (RFC 7946, 3.1.9).

    The ring may run past ±180, as ``ring_of`` makes it, or jump from one side of the antimeridian to the other.
    """
    if footprint is None:
        return None
    parts = _cut_at_antimeridian(tuple(_unwrap(footprint.ring_deg, along_poles=False)))
    rings = [[[round(lon, 7), round(lat, 7)] for lon, lat in part] for part in parts]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


def _unwrap(corners: Sequence[tuple[float, float]], *, along_poles: bool = True) -> list[tuple[float, float]]:
    """Add whole turns so that no two neighbours are more than half a turn apart.

    Without ``along_poles`` an edge that ``ring_of`` led along a pole keeps its full turn.
    """
    run = [corners[0]]
    for lon, lat in corners[1:]:
        last_lon, last_lat = run[-1]
        on_pole = abs(lat) == abs(last_lat) == 90.0
        turns = 0 if on_pole and not along_poles else round((last_lon - lon) / 360.0)
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
