"""Flies the orbit or the sortie of a scenario: sunlight, panel irradiation, ground track and passes, slot by slot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .constants import ASTRONOMICAL_UNIT_M, DAY_S, EARTH_MEAN_RADIUS_M, EARTH_RADIUS_M, SOLAR_IRRADIANCE_W_M2
from .contacts import Pass, Station, elevation_rad, passes_of
from .cover import cover_code, cover_map
from .eclipse import lit_frac_of_steps, positive_frac_of_steps, shadow_intervals_s, shadow_margins_rad
from .elements import elements_of, refuse_stale
from .errors import OrbitError
from .frames import FloatArray, ecef_from_eci, ecef_from_geodetic, geodetic_from_ecef, unix_from_utc
from .orbit import (
    Kepler,
    orbit_period_s,
    propagate_kepler,
    propagate_sgp4,
    sgp4_from_elements,
    sun_synchronous_inclination_rad,
)
from .panels import panel_area_m2
from .scenario import Scenario
from .sections import OrbitSection
from .sun import sun_eci_m

STEPS_PER_SLOT = 6
FAR_S = 1e9
"""Stands for never in the window."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Per-slot figures; (slots,) unless said. ``steps`` arrays are (slots, steps)."""

    slots: int
    episode_slots: int
    start_unix_s: FloatArray
    latitude_rad: FloatArray
    longitude_rad: FloatArray
    sunlit_frac: FloatArray
    eclipse_in_s: FloatArray
    sunrise_in_s: FloatArray
    irradiation_j_m2: FloatArray
    """Sunlight on the cells over the slot times their area: joules, before any efficiency."""
    pass_s: FloatArray
    pass_in_s: FloatArray
    downlink_byte: FloatArray
    passes: tuple[Pass, ...]
    step_cover: NDArray[np.uint8]
    step_s: FloatArray
    """Seconds of each step that count for imaging: 0 where the ground is too dark."""
    slot_s: float

    def cover_s(self, names: tuple[str, ...]) -> FloatArray:
        """Return (slots, covers): seconds over each cover. Covers of the map that are not named count as ``land``, if
        that is."""
        codes = cover_map()[1]
        out = np.zeros((self.slots, len(names)))
        for code, name in enumerate(codes):
            column = names.index(name) if name in names else _fallback(name, names)
            if column is not None:
                out[:, column] += np.sum(self.step_s * (self.step_cover == code), axis=1)
        return out


def fly(scenario: Scenario, orbits: float) -> Track:
    """Return the track over the scenario's window plus one episode and the forecast horizon."""
    orbit = scenario.orbit
    if orbit.kind in ("ideal", "sortie"):
        slots = max(1, round(orbits * orbit.slots_per_orbit))
        return _fly_flat(scenario, unix_from_utc(orbit.start_utc), slots)
    start = unix_from_utc(orbit.start_utc)
    period_s = _period_s(scenario, start)
    episode = max(1, round(orbits * (orbit.slots_per_orbit or period_s / orbit.slot_s)))
    window = math.ceil(orbit.window_days * DAY_S / orbit.slot_s)
    slots = window + episode
    return _fly_orbit(scenario, start, slots, episode)


def fly_span(scenario: Scenario, start_unix_s: float, slots: int) -> Track:
    """Return the track of ``slots`` slots from a moment on. Elements keep their own epoch; ``ideal`` and ``sortie``
    begin there."""
    if scenario.orbit.kind in ("ideal", "sortie"):
        return _fly_flat(scenario, start_unix_s, slots)
    return _fly_orbit(scenario, start_unix_s, slots, slots)


def state_at(orbit: OrbitSection, unix_s: FloatArray, source: str = "orbit") -> tuple[FloatArray, FloatArray]:
    """Return position and velocity (n, 3), SI, equator and equinox of date, of the section's orbit."""
    if orbit.kind in ("tle", "omm"):
        refuse_stale(orbit, source)
        return propagate_sgp4(elements_of(orbit, source), unix_s)
    if orbit.kind == "sgp4":
        return propagate_sgp4(sgp4_from_elements(kepler_of(orbit), orbit.drag_per_radius), unix_s)
    return propagate_kepler(kepler_of(orbit), unix_s)


def kepler_of(orbit: OrbitSection) -> Kepler:
    """Return the mean elements that an ``[orbit]`` section states, at its start."""
    start = unix_from_utc(orbit.start_utc)
    a = EARTH_RADIUS_M + orbit.altitude_km * 1e3
    if orbit.perigee_km < 100:
        raise OrbitError(f"orbit.eccentricity = {orbit.eccentricity:g} puts the perigee below 100 km. Lower it.")
    inclination = math.radians(orbit.inclination_deg)
    if orbit.sun_synchronous:
        inclination = sun_synchronous_inclination_rad(a, orbit.eccentricity)
    raan = math.radians(orbit.raan_deg)
    if orbit.ltdn_h is not None:
        sun = sun_eci_m(start)
        right_ascension = math.atan2(float(sun[1]), float(sun[0]))
        raan = right_ascension + math.radians((orbit.ltdn_h - 12.0) * 15.0) + math.pi
    perigee, anomaly = math.radians(orbit.arg_perigee_deg), math.radians(orbit.mean_anomaly_deg)
    return Kepler(start, a, orbit.eccentricity, inclination, raan, perigee, anomaly)


def _period_s(scenario: Scenario, start: float) -> float:
    orbit = scenario.orbit
    if orbit.kind in ("tle", "omm"):
        return 2 * math.pi / float(elements_of(orbit, scenario.name).no_kozai) * 60.0
    return orbit_period_s(orbit.altitude_km * 1e3, EARTH_RADIUS_M)


def _fly_orbit(scenario: Scenario, start: float, slots: int, episode: int) -> Track:
    slot_s = scenario.orbit.slot_s
    step_s = slot_s / STEPS_PER_SLOT
    times = start + step_s * np.arange(slots * STEPS_PER_SLOT + 1, dtype=np.float64)
    r, v = state_at(scenario.orbit, times, scenario.name)
    sun = _sun_along_m(times)
    penumbra, umbra = shadow_margins_rad(r, sun)
    lit = lit_frac_of_steps(penumbra, umbra)
    toward_sun = sun - r
    flux = SOLAR_IRRADIANCE_W_M2 * (ASTRONOMICAL_UNIT_M / np.sqrt(np.sum(toward_sun**2, axis=-1))) ** 2
    area = panel_area_m2(scenario.power, r, v, toward_sun)
    power = flux * area
    irradiation = np.sum((0.5 * (power[1:] + power[:-1]) * lit * step_s).reshape(slots, -1), axis=1)
    ecef = ecef_from_eci(r, times)
    lat, lon, _ = geodetic_from_ecef(ecef)
    middle = slice(STEPS_PER_SLOT // 2, None, STEPS_PER_SLOT)
    starts = times[:-1:STEPS_PER_SLOT]
    eclipses = shadow_intervals_s(times, 0.5 * (penumbra + umbra))
    eclipse_in, sunrise_in = _until(starts, eclipses)
    contact = _contacts(scenario, times, ecef, slots)
    ground_sun = np.sum(r * sun, axis=-1) / np.sqrt(np.sum(r * r, axis=-1) * np.sum(sun * sun, axis=-1))
    bright = ground_sun - math.sin(math.radians(scenario.workload.min_sun_elevation_deg))
    return Track(
        slots=slots,
        episode_slots=episode,
        start_unix_s=starts,
        latitude_rad=lat[middle][:slots],
        longitude_rad=lon[middle][:slots],
        sunlit_frac=np.mean(lit.reshape(slots, -1), axis=1),
        eclipse_in_s=eclipse_in,
        sunrise_in_s=sunrise_in,
        irradiation_j_m2=irradiation,
        pass_s=contact[0],
        pass_in_s=contact[1],
        downlink_byte=contact[2],
        passes=contact[3],
        step_cover=cover_code(lat[:-1], lon[:-1]).reshape(slots, -1),
        step_s=(positive_frac_of_steps(bright) * step_s).reshape(slots, -1),
        slot_s=slot_s,
    )


def _sun_along_m(times: FloatArray) -> FloatArray:
    """Return the Sun at each time (n, 3), computed once per slot and interpolated: it moves a thousandth of a
    degree."""
    knots = np.append(times[:-1:STEPS_PER_SLOT], times[-1])
    sun = sun_eci_m(knots)
    return np.stack([np.interp(times, knots, sun[:, axis]) for axis in range(3)], axis=-1)


def _contacts(
    scenario: Scenario, times: FloatArray, ecef: FloatArray, slots: int
) -> tuple[FloatArray, FloatArray, FloatArray, tuple[Pass, ...]]:
    link, step_s = scenario.link, float(times[1] - times[0])
    best = np.zeros(len(times) - 1)
    share = np.zeros(len(times) - 1)
    passes: list[Pass] = []
    for station in stations_of(scenario):
        elevation = elevation_rad(ecef, station)
        part = positive_frac_of_steps(elevation - station.mask_rad)
        height = np.clip(np.degrees(0.5 * (elevation[1:] + elevation[:-1])) / 30.0, 0.0, 1.0)
        rate = link.rate_bps * (link.low_rate_frac + (1 - link.low_rate_frac) * height)
        best = np.maximum(best, part * rate)
        share = np.maximum(share, part)
        passes += passes_of(times, elevation, station)
    pass_s = np.sum(share.reshape(slots, -1), axis=1) * step_s
    byte = np.sum(best.reshape(slots, -1), axis=1) * step_s / 8 * (1 - link.loss_frac)
    merged = merge_intervals([(p.start_unix_s, p.end_unix_s) for p in passes])
    pass_in, _ = _until(times[:-1:STEPS_PER_SLOT], merged)
    return pass_s, pass_in, byte, tuple(sorted(passes, key=lambda p: p.start_unix_s))


def stations_of(scenario: Scenario) -> list[Station]:
    """Return the scenario's ground stations on WGS 84."""
    found = []
    for name, s in scenario.link.stations.items():
        lat, lon = math.radians(s.latitude_deg), math.radians(s.longitude_deg)
        up = np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
        found.append(Station(name, ecef_from_geodetic(lat, lon, s.altitude_m), up, math.radians(s.mask_deg)))
    return found


def merge_intervals(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the union of intervals, sorted.

    >>> merge_intervals([(5.0, 7.0), (1.0, 2.0), (6.0, 9.0)])
    [(1.0, 2.0), (5.0, 9.0)]
    """
    merged: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _until(at_s: FloatArray, intervals: list[tuple[float, float]]) -> tuple[FloatArray, FloatArray]:
    """Return seconds until the next interval begins (0 inside one) and until the current one ends (0 outside)."""
    if not intervals:
        return np.full(at_s.shape, FAR_S), np.zeros(at_s.shape)
    start, end = np.array(intervals).T
    index = np.searchsorted(end, at_s, side="right")
    inside = (index < len(start)) & (start[np.minimum(index, len(start) - 1)] <= at_s)
    upcoming = np.append(start, at_s[-1] + FAR_S)[index] - at_s
    leaving = np.append(end, 0.0)[index] - at_s
    return np.where(inside, 0.0, upcoming), np.where(inside, leaving, 0.0)


def _fly_flat(scenario: Scenario, start_unix_s: float, slots: int) -> Track:
    """The paper's circle over nowhere in particular, or a UAV's flight along a line: no eclipse, no geometry."""
    orbit = scenario.orbit
    start = start_unix_s + orbit.slot_s * np.arange(slots, dtype=np.float64)
    index = np.arange(slots, dtype=np.float64) % orbit.slots_per_orbit
    lit = np.ones(slots)
    eclipse_in, sunrise_in = np.full(slots, FAR_S), np.zeros(slots)
    if orbit.kind == "ideal":
        lit_slots = round(scenario.power.sunlit_frac * orbit.slots_per_orbit)
        lit = (index < lit_slots).astype(np.float64)
        eclipse_in = np.where(index < lit_slots, lit_slots - index, 0) * orbit.slot_s
        sunrise_in = np.where(index < lit_slots, 0, orbit.slots_per_orbit - index) * orbit.slot_s
        lat, lon = np.zeros(slots), 2 * math.pi * index / orbit.slots_per_orbit - math.pi
    else:
        east = orbit.speed_m_s * orbit.slot_s * (np.arange(slots, dtype=np.float64) + 0.5) / EARTH_MEAN_RADIUS_M
        lat = np.full(slots, math.radians(orbit.latitude_deg))
        lon = math.radians(orbit.longitude_deg) + east / math.cos(math.radians(orbit.latitude_deg))
    steps = (slots, STEPS_PER_SLOT)
    always = scenario.link.always_on
    return Track(
        slots=slots,
        episode_slots=slots,
        start_unix_s=start,
        latitude_rad=lat,
        longitude_rad=lon,
        sunlit_frac=lit,
        eclipse_in_s=eclipse_in,
        sunrise_in_s=sunrise_in,
        irradiation_j_m2=np.zeros(slots),
        pass_s=np.full(slots, orbit.slot_s if always else 0.0),
        pass_in_s=np.full(slots, 0.0 if always else FAR_S),
        downlink_byte=np.full(slots, scenario.link.rate_bps * orbit.slot_s / 8 if always else 0.0),
        passes=(),
        step_cover=np.broadcast_to(cover_code(lat, lon)[:, None], steps),
        step_s=np.full(steps, orbit.slot_s / STEPS_PER_SLOT),
        slot_s=orbit.slot_s,
    )


def _fallback(name: str, names: tuple[str, ...]) -> int | None:
    if name != "sea" and "land" in names:
        return names.index("land")
    return None
