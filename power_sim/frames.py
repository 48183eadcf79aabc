"""Time scales and frames: inertial of date (TEME, as SGP4 gives it), Earth fixed, geodetic.

UT1 is taken as UTC (under 0.9 s, 0.4 km at the equator) and polar motion as zero. All angles in radians, lengths in
metres,
arrays of any leading shape.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .constants import DAY_S, EARTH_FLATTENING, EARTH_RADIUS_M, J2000_JD, TT_MINUS_UTC_S, UNIX_EPOCH_JD
from .errors import ScenarioError

FloatArray = NDArray[np.float64]


def unix_from_utc(text: str) -> float:
    """Return seconds since 1970-01-01 UTC of an ISO 8601 text; without an offset it is UTC.

    >>> unix_from_utc("2000-01-01T12:00:00Z")
    946728000.0
    """
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ScenarioError(f"{text!r} is not a UTC time. Write it as 2023-10-16T00:00:00Z.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def utc_from_unix(unix_s: float) -> str:
    """Return an ISO 8601 text with whole seconds.

    >>> utc_from_unix(946728000.0)
    '2000-01-01T12:00:00Z'
    """
    return datetime.fromtimestamp(unix_s, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def julian_century(unix_s: ArrayLike) -> FloatArray:
    """Return centuries of terrestrial time since J2000.0."""
    days = np.asarray(unix_s, dtype=np.float64) / DAY_S + (UNIX_EPOCH_JD - J2000_JD)
    return np.asarray((days + TT_MINUS_UTC_S / DAY_S) / 36_525.0)


def sidereal_angle_rad(unix_s: ArrayLike) -> FloatArray:
    """Return Greenwich mean sidereal time (IAU 1982; Vallado 2013, equation 3-47).

    Vallado, example 3-5: 152.578788 degrees.

    >>> round(float(sidereal_angle_rad(unix_from_utc("1992-08-20T12:14:00Z"))), 6)
    2.663002
    """
    t = (np.asarray(unix_s, dtype=np.float64) / DAY_S + (UNIX_EPOCH_JD - J2000_JD)) / 36_525.0
    seconds = 67_310.54841 + (876_600 * 3600 + 8_640_184.812866) * t + 0.093104 * t**2 - 6.2e-6 * t**3
    return np.asarray(np.mod(seconds, DAY_S) * (2 * math.pi / DAY_S))


def ecef_from_eci(r_eci_m: FloatArray, unix_s: ArrayLike) -> FloatArray:
    """Rotate (..., 3) from the equator and equinox of date to the rotating Earth."""
    angle = sidereal_angle_rad(unix_s)
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = r_eci_m[..., 0], r_eci_m[..., 1], r_eci_m[..., 2]
    return np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=-1)


def geodetic_from_ecef(r_ecef_m: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return geodetic latitude (rad), longitude (rad) and height (m) on WGS 84; Bowring's formula, one step, under
    2 cm in LEO.

    >>> lat, lon, height = geodetic_from_ecef(np.array([EARTH_RADIUS_M + 500e3, 0.0, 0.0]))
    >>> float(lat), float(lon), round(float(height))
    (0.0, 0.0, 500000)
    """
    x, y, z = r_ecef_m[..., 0], r_ecef_m[..., 1], r_ecef_m[..., 2]
    a, b = EARTH_RADIUS_M, EARTH_RADIUS_M * (1 - EARTH_FLATTENING)
    e2, ep2 = 1 - (b / a) ** 2, (a / b) ** 2 - 1
    p = np.hypot(x, y)
    theta = np.arctan2(z * a, p * b)
    lat = np.arctan2(z + ep2 * b * np.sin(theta) ** 3, p - e2 * a * np.cos(theta) ** 3)
    n = a / np.sqrt(1 - e2 * np.sin(lat) ** 2)
    height = p * np.cos(lat) + z * np.sin(lat) - a * a / n
    return lat, np.arctan2(y, x), height


def ecef_from_geodetic(latitude_rad: float, longitude_rad: float, height_m: float) -> FloatArray:
    """Return the WGS 84 position of a point as (3,).

    >>> [round(float(v)) for v in ecef_from_geodetic(0.0, 0.0, 0.0)]
    [6378137, 0, 0]
    """
    e2 = EARTH_FLATTENING * (2 - EARTH_FLATTENING)
    n = EARTH_RADIUS_M / math.sqrt(1 - e2 * math.sin(latitude_rad) ** 2)
    ring = (n + height_m) * math.cos(latitude_rad)
    z = (n * (1 - e2) + height_m) * math.sin(latitude_rad)
    return np.array([ring * math.cos(longitude_rad), ring * math.sin(longitude_rad), z])


def precession_j2000_to_date(unix_s: float) -> FloatArray:
    """Return the (3, 3) rotation from the mean equator and equinox of J2000 to those of date (IAU 1976, Lieske)."""
    t = float(julian_century(unix_s))
    arcsec = math.pi / 648_000
    zeta = (2306.2181 * t + 0.30188 * t**2 + 0.017998 * t**3) * arcsec
    z = (2306.2181 * t + 1.09468 * t**2 + 0.018203 * t**3) * arcsec
    theta = (2004.3109 * t - 0.42665 * t**2 - 0.041833 * t**3) * arcsec
    return _rotate_z(-z) @ _rotate_y(theta) @ _rotate_z(-zeta)


def _rotate_z(angle_rad: float) -> FloatArray:
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _rotate_y(angle_rad: float) -> FloatArray:
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
