"""Where the Sun stands, to better than 0.01 degrees between 1950 and 2050."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .constants import ASTRONOMICAL_UNIT_M
from .frames import FloatArray, julian_century


def sun_eci_m(unix_s: ArrayLike) -> FloatArray:
    """Return the geocentric Sun, equator and equinox of date, as (..., 3) in metres, light time included.

    Equation of the centre plus the five largest planetary and lunar terms, aberration and the main nutation in
    obliquity
    (Meeus, Astronomical Algorithms, chapter 25). The equinox is the mean one, as in SGP4's frame.

    >>> sun = sun_eci_m(702_950_400.0)  # 1992 April 11 0 h; the equinox was three weeks before, so the Sun is north
    >>> bool(sun[2] > 0), round(float(np.linalg.norm(sun)) / ASTRONOMICAL_UNIT_M, 3)
    (True, 1.002)
    """
    t = julian_century(unix_s)
    anomaly = np.radians(357.52911 + 35_999.05029 * t - 0.0001537 * t**2)
    eccentricity = 0.016708634 - 0.000042037 * t
    centre = (
        (1.914602 - 0.004817 * t) * np.sin(anomaly)
        + (0.019993 - 0.000101 * t) * np.sin(2 * anomaly)
        + 0.000289 * np.sin(3 * anomaly)
    )
    longitude = 280.46646 + 36_000.76983 * t + 0.0003032 * t**2 + centre + _perturbation_deg(t) - 0.00569
    node = np.radians(125.04 - 1934.136 * t)
    true_anomaly = anomaly + np.radians(centre)
    distance_m = ASTRONOMICAL_UNIT_M * 1.000001018 * (1 - eccentricity**2) / (1 + eccentricity * np.cos(true_anomaly))
    obliquity = np.radians(23.439291 - 0.0130042 * t + 0.00256 * np.cos(node))
    lam = np.radians(longitude)
    cos_lam, sin_lam = np.cos(lam), np.sin(lam)
    unit = np.stack([cos_lam, np.cos(obliquity) * sin_lam, np.sin(obliquity) * sin_lam], axis=-1)
    return np.asarray(unit * distance_m[..., None])


def _perturbation_deg(t: FloatArray) -> FloatArray:
    """Venus, Jupiter, the Moon and one long period term; arguments for centuries from J2000."""
    t1900 = t + 1.0
    venus_a = np.radians(153.23 + 22_518.7541 * t1900)
    venus_b = np.radians(216.57 + 45_037.5082 * t1900)
    jupiter = np.radians(312.69 + 32_964.3577 * t1900)
    moon = np.radians(350.74 + 445_267.1142 * t1900 - 0.00144 * t1900**2)
    slow = np.radians(231.19 + 20.20 * t1900)
    return np.asarray(
        0.00134 * np.cos(venus_a)
        + 0.00154 * np.cos(venus_b)
        + 0.00200 * np.cos(jupiter)
        + 0.00179 * np.sin(moon)
        + 0.00178 * np.sin(slow)
    )


def beta_angle_rad(r_eci_m: FloatArray, v_eci_m_s: FloatArray, sun_m: FloatArray) -> FloatArray:
    """Return the Sun's elevation above the orbit plane, for (..., 3) arrays."""
    normal = np.cross(r_eci_m, v_eci_m_s)
    cosine = np.sum(normal * sun_m, axis=-1) / (np.linalg.norm(normal, axis=-1) * np.linalg.norm(sun_m, axis=-1))
    return np.asarray(np.arcsin(np.clip(cosine, -1.0, 1.0)))
