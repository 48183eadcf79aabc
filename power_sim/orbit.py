"""Where the satellite is: SGP4 from two-line elements or OMM, and Keplerian elements with the secular part of J2."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from sgp4 import omm
from sgp4.api import SGP4_ERRORS, WGS72, Satrec, SatrecArray

from .constants import DAY_S, EARTH_GM_M3_S2, EARTH_J2, EARTH_RADIUS_M, SUN_RATE_RAD_S, UNIX_EPOCH_JD
from .errors import OrbitError
from .frames import FloatArray
from .omm import ELEMENTS, check_omm


@dataclass(frozen=True, slots=True)
class Kepler:
    """Mean elements at an epoch, equator and equinox of date."""

    epoch_unix_s: float
    semi_major_axis_m: float
    eccentricity: float
    inclination_rad: float
    raan_rad: float
    arg_perigee_rad: float
    mean_anomaly_rad: float


def orbit_radius_m(
    altitude_m: float, eccentricity: float, anomaly_rad: float, body_radius_m: float = 6_371_000.0
) -> float:
    """Return the geocentric distance by equation (1) of LEO-IISat, ``(R + h)(1 - e cos a)``.

    >>> orbit_radius_m(500e3, 0.0, 1.0)
    6871000.0
    """
    return (body_radius_m + altitude_m) * (1 - eccentricity * math.cos(anomaly_rad))


def orbit_period_s(altitude_m: float, body_radius_m: float = 6_371_000.0, gm_m3_s2: float = EARTH_GM_M3_S2) -> float:
    """Return the period by equation (2) of LEO-IISat, ``2 pi sqrt((R + h)^3 / GM)``.

    >>> round(orbit_period_s(500e3))
    5668
    """
    return 2 * math.pi * math.sqrt((body_radius_m + altitude_m) ** 3 / gm_m3_s2)


_COLUMNS = {
    1: re.compile(
        r"1 .{5}[A-Z ] .{8} [\d ]\d{4}\.\d{8} [ +-]\.\d{8} [ +-][\d ]{5}[+-]\d [ +-][\d ]{5}[+-]\d [\d ] [\d ]{4}\d"
    ),
    2: re.compile(
        r"2 .{5} [\d ]{3}\.\d{4} [\d ]{3}\.\d{4} [\d ]{7} [\d ]{3}\.\d{4} [\d ]{3}\.\d{4} [\d ]{2}\.\d{8}[\d ]{5}\d"
    ),
}


def read_tle(line1: str, line2: str, source: str = "tle") -> Satrec:
    """Return SGP4's record of a two-line element set, or ``OrbitError`` for wrong columns, checksum or elements."""
    for number, line in ((1, line1), (2, line2)):
        text = line.rstrip()
        if len(text) != 69 or text[0] != str(number):
            raise OrbitError(
                f"{source}: line {number} of the TLE is {text!r}. It must start with {number} and have 69 columns."
            )
        if not _COLUMNS[number].fullmatch(text):
            raise OrbitError(
                f"{source}: line {number} of the TLE is {text!r}, with a letter where a number belongs. Copy it again."
            )
        total = sum(int(c) if c.isdigit() else c == "-" for c in text[:68]) % 10
        if str(total) != text[68]:
            raise OrbitError(
                f"{source}: line {number} of the TLE has checksum {text[68]} but adds up to {total}. Copy it again."
            )
    if line1[2:7] != line2[2:7]:
        raise OrbitError(
            f"{source}: the TLE's lines belong to {line1[2:7]} and {line2[2:7]}. Use two lines of one object."
        )
    try:
        record = Satrec.twoline2rv(line1, line2, WGS72)
    except ValueError as error:
        raise OrbitError(f"{source}: the TLE cannot be read ({error}). Copy it again.") from error
    if record.error:
        raise OrbitError(f"{source}: SGP4 refuses these elements: {SGP4_ERRORS[record.error]}. Use a current set.")
    return record


def read_omm(fields: Mapping[str, str], source: str = "omm") -> Satrec:
    """Return SGP4's record of an Orbit Mean-Elements Message given as its fields (CCSDS 502.0-B); ``OrbitError`` for
    a missing or garbled element, and for elements outside what SGP4 takes."""
    whole = check_omm(fields, source)
    for name in ELEMENTS:
        _check_element(name, whole[name], source)
    record = Satrec()
    try:
        omm.initialize(record, whole)
    except ValueError as error:
        raise OrbitError(f"{source}: the OMM cannot be read ({error}). Copy it again.") from error
    if record.error:
        raise OrbitError(f"{source}: SGP4 refuses these elements: {SGP4_ERRORS[record.error]}. Use a current set.")
    return record


_SPANS = {"MEAN_MOTION": (0.0, 18.0), "ECCENTRICITY": (0.0, 1.0), "INCLINATION": (0.0, 180.0)}


def _check_element(name: str, text: str, source: str) -> None:
    low, high = _SPANS.get(name, (-1e6, 1e6))
    try:
        value = float(text)
    except ValueError as error:
        raise OrbitError(f"{source}: {name} = {text!r} in the OMM is not a number. Copy it again.") from error
    if not low <= value <= high:
        raise OrbitError(f"{source}: {name} = {text} in the OMM is not in {low:g} to {high:g}. Copy it again.")


def refuse_below_ground(record: Satrec, source: str) -> None:
    """Raise ``OrbitError`` where the perigee of an SGP4 record lies below 100 km, or the mean motion is none."""
    perigee_km = float(record.altp) * EARTH_RADIUS_M / 1e3
    if not perigee_km >= 100.0:
        raise OrbitError(
            f"{source} has its perigee at {perigee_km:.0f} km, which is no orbit. It must be at least 100 km: "
            "check mean motion and eccentricity."
        )


def sgp4_from_elements(elements: Kepler, drag_per_radius: float = 0.0) -> Satrec:
    """Return SGP4's record of mean elements given by us; no object number."""
    record = Satrec()
    days = elements.epoch_unix_s / DAY_S + UNIX_EPOCH_JD - 2_433_281.5
    rad_per_min = math.sqrt(EARTH_GM_M3_S2 / elements.semi_major_axis_m**3) * 60.0
    perigee, inclination, anomaly = elements.arg_perigee_rad, elements.inclination_rad, elements.mean_anomaly_rad
    record.sgp4init(
        WGS72, "i", 0, days, drag_per_radius, 0.0, 0.0, elements.eccentricity, perigee, inclination, anomaly,
        rad_per_min,
        elements.raan_rad % (2 * math.pi),
    )  # fmt: skip
    if record.error:
        raise OrbitError(
            f"SGP4 refuses these elements: {SGP4_ERRORS[record.error]}. Raise the orbit or lower the eccentricity."
        )
    return record


def epoch_unix_s(record: Satrec) -> float:
    """Return the epoch of an SGP4 record."""
    return float((record.jdsatepoch - UNIX_EPOCH_JD + record.jdsatepochF) * DAY_S)


def propagate_sgp4(record: Satrec, unix_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return position (n, 3) in m and velocity (n, 3) in m/s, TEME; ``OrbitError`` where SGP4 gives up."""
    return propagate_sgp4_since(record, np.atleast_1d(np.asarray(unix_s, dtype=np.float64)) - epoch_unix_s(record))


def propagate_sgp4_since(record: Satrec, elapsed_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return position and velocity like ``propagate_sgp4`` by seconds since the epoch, free of a clock's rounding."""
    days = np.atleast_1d(np.asarray(elapsed_s, dtype=np.float64)) / DAY_S
    errors, r_km, v_km_s = record.sgp4_array(np.full(len(days), record.jdsatepoch), record.jdsatepochF + days)
    if np.any(errors):
        raise _gave_up(record, int(errors[np.argmax(errors != 0)]))
    return r_km * 1e3, v_km_s * 1e3


def propagate_sgp4s(records: Sequence[Satrec], unix_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return positions and velocities (satellites, n, 3) of many records at the same n times, as ``propagate_sgp4``
    does for one; ``OrbitError`` names the first satellite that SGP4 gives up on."""
    days, fraction = np.divmod(np.atleast_1d(np.asarray(unix_s, dtype=np.float64)) / DAY_S, 1.0)
    errors, r_km, v_km_s = SatrecArray(list(records)).sgp4(days + UNIX_EPOCH_JD, fraction)
    if errors.any():
        which = int(np.flatnonzero(errors.any(axis=1))[0])
        raise _gave_up(records[which], int(errors[which].max()), f"satellite {which}, ")
    return r_km * 1e3, v_km_s * 1e3


def _gave_up(record: Satrec, code: int, which: str = "") -> OrbitError:
    return OrbitError(
        f"SGP4 gave up on {which}object {record.satnum}: {SGP4_ERRORS[code]}. Use elements nearer to the dates."
    )


def propagate_kepler(elements: Kepler, unix_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return position (n, 3) in m and velocity (n, 3) in m/s: an ellipse whose node, perigee and phase drift by J2.

    Secular rates of J2 only (Vallado 2013, section 9.6): no drag, no short periodic terms (about 10 km in LEO).
    """
    r, v = propagate_keplers([elements], unix_s)
    return r[0], v[0]


def propagate_keplers(elements: Sequence[Kepler], unix_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return positions and velocities (satellites, n, 3) of many orbits at the same n times, as ``propagate_kepler``
    does for one."""
    times = np.atleast_1d(np.asarray(unix_s, dtype=np.float64))
    columns = np.array([_secular(one) for one in elements]).T[..., None]
    epoch, a, e, root, n, raan, raan_rate, perigee, perigee_rate, mean, mean_rate, cos_i, sin_i = columns
    dt = times - epoch
    eccentric = solve_kepler_rad(mean + mean_rate * dt, e)
    cos_e, sin_e = np.cos(eccentric), np.sin(eccentric)
    rate = n * a / (1 - e * cos_e)
    along, across = _plane_axes(raan - raan_rate * dt, perigee + perigee_rate * dt, cos_i, sin_i)
    r = (a * (cos_e - e))[..., None] * along + (a * root * sin_e)[..., None] * across
    v = (-rate * sin_e)[..., None] * along + (rate * root * cos_e)[..., None] * across
    return r, v


def _secular(elements: Kepler) -> tuple[float, ...]:
    """Return what stays the same along one orbit: its elements and their rates by J2 (the node's counted backwards)."""
    a, e, i = elements.semi_major_axis_m, elements.eccentricity, elements.inclination_rad
    n, root = math.sqrt(EARTH_GM_M3_S2 / a**3), math.sqrt(1 - e * e)
    k = 1.5 * EARTH_J2 * n * (EARTH_RADIUS_M / (a * (1 - e * e))) ** 2
    raan, perigee, mean = elements.raan_rad, elements.arg_perigee_rad, elements.mean_anomaly_rad
    perigee_rate = k * (2 - 2.5 * math.sin(i) ** 2)
    mean_rate = n + k * math.sqrt(1 - e * e) * (1 - 1.5 * math.sin(i) ** 2)
    first = elements.epoch_unix_s, a, e, root, n
    return *first, raan, k * math.cos(i), perigee, perigee_rate, mean, mean_rate, math.cos(i), math.sin(i)


def solve_kepler_rad(mean_rad: ArrayLike, eccentricity: float | FloatArray) -> FloatArray:
    """Return the eccentric anomaly by Newton's method; the arguments broadcast.

    >>> round(float(solve_kepler_rad(np.radians(27.0), 0.5)), 4)  # E - e sin E = M: 0.8453 - 0.5 x 0.7482 = 0.4712
    0.8453
    """
    mean = np.asarray(mean_rad, dtype=np.float64)
    eccentric = mean + eccentricity * np.sin(mean)
    for _ in range(12):
        eccentric = eccentric - (eccentric - eccentricity * np.sin(eccentric) - mean) / (
            1 - eccentricity * np.cos(eccentric)
        )
    return np.asarray(eccentric)


def sun_synchronous_inclination_rad(semi_major_axis_m: float, eccentricity: float = 0.0) -> float:
    """Return the inclination whose node follows the Sun.

    >>> round(math.degrees(sun_synchronous_inclination_rad(EARTH_RADIUS_M + 786e3)), 2)  # Sentinel-2: 98.62 deg (ESA)
    98.54
    """
    n = math.sqrt(EARTH_GM_M3_S2 / semi_major_axis_m**3)
    p = semi_major_axis_m * (1 - eccentricity**2)
    cosine = -SUN_RATE_RAD_S / (1.5 * EARTH_J2 * n * (EARTH_RADIUS_M / p) ** 2)
    if cosine < -1:
        raise OrbitError(
            f"no Sun-synchronous orbit exists at a = {semi_major_axis_m / 1e3:.0f} km. Stay below 12350 km."
        )
    return math.acos(cosine)


def kepler_from_state(r_m: FloatArray, v_m_s: FloatArray, unix_s: float) -> Kepler:
    """Return the osculating elements of a position and velocity (3,), not circular-equatorial."""
    h = np.cross(r_m, v_m_s)
    node = np.cross([0.0, 0.0, 1.0], h)
    radius, mu = float(np.linalg.norm(r_m)), EARTH_GM_M3_S2
    e_vec = np.cross(v_m_s, h) / mu - r_m / radius
    e = float(np.linalg.norm(e_vec))
    a = 1 / (2 / radius - float(v_m_s @ v_m_s) / mu)
    raan = math.atan2(node[1], node[0])
    unit_n = node / np.linalg.norm(node)
    side = np.cross(h / np.linalg.norm(h), unit_n)
    perigee = math.atan2(float(e_vec @ side), float(e_vec @ unit_n))
    latitude = math.atan2(float(r_m @ side), float(r_m @ unit_n))
    true = latitude - perigee
    eccentric = math.atan2(math.sqrt(1 - e * e) * math.sin(true), e + math.cos(true))
    inclination = math.acos(float(h[2]) / float(np.linalg.norm(h)))
    return Kepler(unix_s, a, e, inclination, raan, perigee, eccentric - e * math.sin(eccentric))


def mean_from_osculating(elements: Kepler) -> Kepler:
    """Return elements for ``propagate_kepler`` from osculating ones: the semi-major axis without J2's short wave.

    First-order theory (Brouwer 1959). Left out are the short waves of the other elements: about 10 km in position.
    """
    a, e, i = elements.semi_major_axis_m, elements.eccentricity, elements.inclination_rad
    eccentric = float(solve_kepler_rad(elements.mean_anomaly_rad, e))
    true = math.atan2(math.sqrt(1 - e * e) * math.sin(eccentric), math.cos(eccentric) - e)
    latitude, a_over_r = elements.arg_perigee_rad + true, 1 / (1 - e * math.cos(eccentric))
    sine2 = math.sin(i) ** 2
    wave = (
        a_over_r**3 * (1 - 1.5 * sine2 + 1.5 * sine2 * math.cos(2 * latitude)) - (1 - 1.5 * sine2) * (1 - e * e) ** -1.5
    )
    return replace(elements, semi_major_axis_m=a - EARTH_J2 * EARTH_RADIUS_M**2 / a * wave)


def _plane_axes(
    raan: FloatArray, perigee: FloatArray, cos_i: FloatArray, sin_i: FloatArray
) -> tuple[FloatArray, FloatArray]:
    cos_o, sin_o, cos_w, sin_w = np.cos(raan), np.sin(raan), np.cos(perigee), np.sin(perigee)
    along = np.stack(
        [cos_o * cos_w - sin_o * sin_w * cos_i, sin_o * cos_w + cos_o * sin_w * cos_i, sin_w * sin_i], axis=-1
    )
    across = np.stack(
        [-cos_o * sin_w - sin_o * cos_w * cos_i, -sin_o * sin_w + cos_o * cos_w * cos_i, cos_w * sin_i], axis=-1
    )
    return along, across
