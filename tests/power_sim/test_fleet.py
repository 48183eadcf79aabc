"""Arrays of satellites give what each satellite gives by itself."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from power_sim import OrbitError
from power_sim.constants import EARTH_RADIUS_M
from power_sim.contacts import Station, find_passes
from power_sim.eclipse import lit_frac_of_steps, shadow_intervals_s, shadow_margins_rad
from power_sim.fleet import FleetTrack, fly_fleet, propagate_fleet
from power_sim.frames import ecef_from_eci, ecef_from_geodetic, geodetic_from_ecef
from power_sim.orbit import Kepler, propagate_kepler, propagate_keplers, propagate_sgp4, sgp4_from_elements
from power_sim.sun import beta_angle_rad, sun_eci_m

START = 1_772_323_200.0  # 2026-03-01
TIMES = START + np.arange(0.0, 43_200.0, 60.0)
SHELLS = [
    Kepler(START, EARTH_RADIUS_M + height, e, math.radians(incl), 0.7 * k, 0.2, 0.9 * k)
    for k, (height, e, incl) in enumerate([(400e3, 0.001, 51.6), (550e3, 0.0, 97.6), (1200e3, 0.02, 87.9), (8e5, 0, 5)])
]
MIXED = [SHELLS[0], sgp4_from_elements(SHELLS[1], 1e-4), SHELLS[2], sgp4_from_elements(SHELLS[3])]


def station(name: str, lat: float, lon: float) -> Station:
    up = np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
    return Station(name, ecef_from_geodetic(lat, lon, 0.0), up, math.radians(5))


STATIONS = (station("north", 1.18, 0.37), station("equator", 0.0, -0.92))


def alone(orbit: object) -> tuple[np.ndarray, np.ndarray]:
    return propagate_kepler(orbit, TIMES) if isinstance(orbit, Kepler) else propagate_sgp4(orbit, TIMES)


def test_each_satellite_of_a_fleet_moves_as_it_would_alone() -> None:
    r, v = propagate_fleet(MIXED, TIMES)
    assert r.shape == v.shape == (4, len(TIMES), 3)
    for k, orbit in enumerate(MIXED):
        r_alone, v_alone = alone(orbit)
        assert np.abs(r[k] - r_alone).max() < 0.01
        assert np.abs(v[k] - v_alone).max() < 1e-5
    assert np.array_equal(propagate_keplers(SHELLS, TIMES)[0][2], propagate_kepler(SHELLS[2], TIMES)[0])


def test_sunlight_ground_track_and_contacts_of_a_fleet_are_those_of_its_satellites() -> None:
    (track,) = fly_fleet(MIXED, TIMES, STATIONS)
    sun = sun_eci_m(TIMES)
    for k in range(len(MIXED)):
        r, v = track.r_eci_m[k], track.v_eci_m_s[k]
        penumbra, umbra = shadow_margins_rad(r, sun)
        ecef = ecef_from_eci(r, TIMES)
        assert np.array_equal(track.lit_frac[k], lit_frac_of_steps(penumbra, umbra))
        assert np.array_equal(track.beta_rad[k], beta_angle_rad(r, v, sun))
        assert np.array_equal(track.latitude_rad[k], geodetic_from_ecef(ecef)[0])
        assert track.eclipses()[k] == shadow_intervals_s(TIMES, 0.5 * (penumbra + umbra))
        every = [one for station in STATIONS for one in find_passes(TIMES, ecef, station)]
        assert track.passes()[k] == sorted(every, key=lambda one: one.start_unix_s)
    assert 6 <= len(track.eclipses()[0]) <= 9  # twelve hours at 400 km
    assert sum(map(len, track.passes())) > 10


def test_chunks_put_together_are_the_whole_fleet() -> None:
    (whole,) = fly_fleet(MIXED, TIMES, STATIONS)
    parts: list[FleetTrack] = list(fly_fleet(MIXED, TIMES, STATIONS, chunk_samples=2 * len(TIMES)))
    assert [part.first for part in parts] == [0, 2]
    assert np.array_equal(np.concatenate([part.r_eci_m for part in parts]), whole.r_eci_m)
    assert np.array_equal(np.concatenate([part.elevation_rad for part in parts], axis=1), whole.elevation_rad)
    for part in fly_fleet(MIXED, TIMES, chunk_samples=1):
        assert part.elevation_rad.shape == (0, 1, len(TIMES))


def test_eclipses_and_passes_never_overlap_for_one_station() -> None:
    (track,) = fly_fleet(MIXED, TIMES, STATIONS[:1])
    for intervals in (*track.eclipses(), *[[(p.start_unix_s, p.end_unix_s) for p in one] for one in track.passes()]):
        assert all(a[1] <= b[0] for a, b in pairwise(intervals))


def test_times_that_do_not_rise_and_a_satellite_that_decays_are_refused() -> None:
    for times in ([START], [START, START], [START, math.nan]):
        with pytest.raises(OrbitError, match="two rising times"):
            list(fly_fleet(MIXED, times))
    falling = sgp4_from_elements(Kepler(START, EARTH_RADIUS_M + 170e3, 0.0, 1.0, 0.0, 0.0, 0.0), 0.5)
    with pytest.raises(OrbitError, match=r"satellite 1, object .* Use elements nearer"):
        propagate_fleet([MIXED[1], falling], START + np.arange(0, 9e6, 86_400.0))
