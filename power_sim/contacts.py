"""Ground stations: elevation, passes above a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .eclipse import shadow_intervals_s
from .frames import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """A ground antenna. ``r_ecef_m``: (3,); ``up``: (3,) unit normal of its horizon."""

    name: str
    r_ecef_m: FloatArray
    up: FloatArray
    mask_rad: float


@dataclass(frozen=True, slots=True)
class Pass:
    """One contact."""

    station: str
    start_unix_s: float
    end_unix_s: float
    peak_rad: float
    """Highest sampled elevation."""


def elevation_rad(r_ecef_m: FloatArray, station: Station) -> FloatArray:
    """Return the elevation of (n, 3) Earth-fixed positions over a station's horizon, geometric (no refraction).

    >>> overhead = Station("equator", np.array([6378e3, 0, 0]), np.array([1.0, 0, 0]), 0.0)
    >>> round(float(np.degrees(elevation_rad(np.array([[6878e3, 0.0, 0.0]]), overhead)[0])))
    90
    """
    place = station.r_ecef_m
    height_m = r_ecef_m @ station.up - place @ station.up
    range2 = np.einsum("...i,...i", r_ecef_m, r_ecef_m) + place @ place - 2.0 * (r_ecef_m @ place)
    return np.asarray(np.arcsin(np.clip(height_m / np.sqrt(range2), -1.0, 1.0)))


def find_passes(unix_s: FloatArray, r_ecef_m: FloatArray, station: Station) -> list[Pass]:
    """Return the passes within the samples; contacts shorter than one sample step may be missed."""
    return passes_of(unix_s, elevation_rad(r_ecef_m, station), station)


def passes_of(unix_s: FloatArray, elevation: FloatArray, station: Station) -> list[Pass]:
    """Return the passes of a station whose sampled elevation (n,) in radians is known."""
    found = []
    for start, end in shadow_intervals_s(unix_s, station.mask_rad - elevation):
        inside = elevation[np.searchsorted(unix_s, start) : np.searchsorted(unix_s, end, side="right")]
        peak = float(inside.max()) if inside.size else station.mask_rad
        found.append(Pass(station.name, start, end, peak))
    return found
