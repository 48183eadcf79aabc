"""Many satellites at many times: position, sunlight, beta angle, ground track and elevations as arrays, in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sgp4.api import Satrec

from .contacts import Pass, Station, elevation_rad, passes_of
from .eclipse import lit_frac_of_steps, shadow_intervals_s, shadow_margins_rad
from .errors import OrbitError
from .frames import FloatArray, ecef_from_eci, geodetic_from_ecef
from .orbit import Kepler, propagate_keplers, propagate_sgp4s
from .sun import beta_angle_rad, sun_eci_m

CHUNK_SAMPLES = 250_000
"""Satellites times times that are worked on together: about 150 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class FleetTrack:
    """Some satellites of a fleet at the same times. Arrays (satellites, times) unless said."""

    first: int
    """Number of the first of them in the fleet."""
    unix_s: FloatArray
    """(times,)."""
    r_eci_m: FloatArray
    """(satellites, times, 3), equator and equinox of date."""
    v_eci_m_s: FloatArray
    """(satellites, times, 3)."""
    sun_eci_m: FloatArray
    """(times, 3)."""
    penumbra_rad: FloatArray
    """Margin to the penumbra: negative inside."""
    umbra_rad: FloatArray
    lit_frac: FloatArray
    """(satellites, times - 1): lit share of each step."""
    beta_rad: FloatArray
    """The Sun's elevation above the orbit plane."""
    latitude_rad: FloatArray
    longitude_rad: FloatArray
    height_m: FloatArray
    elevation_rad: FloatArray
    """(stations, satellites, times): over each station's horizon."""
    stations: tuple[Station, ...]

    def eclipses(self) -> list[list[tuple[float, float]]]:
        """Return for each satellite when it is in the dark: (start, end), half way between penumbra and umbra."""
        middle = 0.5 * (self.penumbra_rad + self.umbra_rad)
        return [shadow_intervals_s(self.unix_s, margin) for margin in middle]

    def passes(self) -> list[list[Pass]]:
        """Return for each satellite its contacts with every station, in order of time."""
        found: list[list[Pass]] = []
        for k in range(len(self.r_eci_m)):
            each = (passes_of(self.unix_s, self.elevation_rad[i, k], at) for i, at in enumerate(self.stations))
            found.append(sorted((one for passes in each for one in passes), key=lambda one: one.start_unix_s))
        return found


def propagate_fleet(orbits: Sequence[Satrec | Kepler], unix_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return position and velocity (satellites, times, 3), SI, equator and equinox of date; SGP4's records and
    Keplerian elements may be mixed."""
    times = np.atleast_1d(np.asarray(unix_s, dtype=np.float64))
    r, v = np.empty((len(orbits), len(times), 3)), np.empty((len(orbits), len(times), 3))
    kepler = [k for k, orbit in enumerate(orbits) if isinstance(orbit, Kepler)]
    sgp4 = [k for k, orbit in enumerate(orbits) if not isinstance(orbit, Kepler)]
    if kepler:
        r[kepler], v[kepler] = propagate_keplers([orbits[k] for k in kepler], times)
    if sgp4:
        r[sgp4], v[sgp4] = propagate_sgp4s([orbits[k] for k in sgp4], times)
    return r, v


def fly_fleet(
    orbits: Sequence[Satrec | Kepler],
    unix_s: ArrayLike,
    stations: Sequence[Station] = (),
    chunk_samples: int = CHUNK_SAMPLES,
) -> Iterator[FleetTrack]:
    """Yield the fleet's track, so many satellites at a time that memory stays bounded; cost grows linearly with
    satellites and times.

    >>> orbits = [Kepler(0.0, 7e6, 0.0, 1.7, 0.0, 0.0, phase) for phase in (0.0, 1.0, 2.0)]
    >>> chunks = list(fly_fleet(orbits, np.arange(0.0, 6000.0, 60.0), chunk_samples=200))
    >>> [(chunk.first, chunk.lit_frac.shape) for chunk in chunks]
    [(0, (2, 99)), (2, (1, 99))]
    """
    times = np.atleast_1d(np.asarray(unix_s, dtype=np.float64))
    if len(times) < 2 or not np.all(np.diff(times) > 0):
        raise OrbitError(f"a fleet needs two rising times or more, not {len(times)}. Give them in seconds since 1970.")
    sun = sun_eci_m(times)
    step = max(1, chunk_samples // len(times))
    for first in range(0, len(orbits), step):
        yield _chunk(first, orbits[first : first + step], times, sun, tuple(stations))


def _chunk(
    first: int,
    orbits: Sequence[Satrec | Kepler],
    times: FloatArray,
    sun: FloatArray,
    stations: tuple[Station, ...],
) -> FleetTrack:
    r, v = propagate_fleet(orbits, times)
    penumbra, umbra = shadow_margins_rad(r, sun)
    ecef = ecef_from_eci(r, times)
    latitude, longitude, height = geodetic_from_ecef(ecef)
    elevations = [elevation_rad(ecef, station) for station in stations]
    return FleetTrack(
        first=first,
        unix_s=times,
        r_eci_m=r,
        v_eci_m_s=v,
        sun_eci_m=sun,
        penumbra_rad=penumbra,
        umbra_rad=umbra,
        lit_frac=lit_frac_of_steps(penumbra, umbra),
        beta_rad=beta_angle_rad(r, v, sun),
        latitude_rad=latitude,
        longitude_rad=longitude,
        height_m=height,
        elevation_rad=np.array(elevations).reshape(len(stations), *r.shape[:2]),
        stations=stations,
    )
