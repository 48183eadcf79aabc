"""Shadow and contacts against NASA GMAT, sunlight against what OPS-SAT's photodiodes saw."""

from __future__ import annotations

import csv
import math
import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from power_sim.contacts import Station, find_passes
from power_sim.eclipse import lit_frac_of_steps, shadow_intervals_s, shadow_margins_rad
from power_sim.frames import ecef_from_eci, geodetic_from_ecef, precession_j2000_to_date, unix_from_utc
from power_sim.orbit import kepler_from_state, mean_from_osculating, propagate_kepler, propagate_sgp4, read_tle
from power_sim.sun import sun_eci_m

DATA = Path(__file__).parent / "data"
ORBITS = ("noaa20_viirs", "cygfm01")
# latitude deg, longitude deg E, altitude m, least elevation deg: on a sphere, horizons of the ellipsoid
STATIONS = [
    (0, 0, 0, 7),
    (45, 45, 350, 15),
    (45, 315, 100, 30),
    (-45, 45, 1000, 0),
    (-45, 315, 10_000, 10),
    (90, 90, 500, 7),
    (-90, 180, 500, 7),
]
GMAT_RADIUS_M = 6_378_136.3
STAMP = r"(\d\d \w{3} \d{4} [\d:.]+)"


def gmat_time(text: str) -> float:
    moment = datetime.strptime(text.strip(), "%d %b %Y %H:%M:%S.%f")
    return moment.replace(tzinfo=timezone.utc).timestamp()


def read_trajectory(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (n,) and states (n, 6) in SI units, EarthMJ2000Eq."""
    lines = path.read_text().splitlines()[1:]
    times = np.array([gmat_time(line[:24]) for line in lines])
    return times, np.array([[float(word) for word in line[24:].split()[:6]] for line in lines]) * 1e3


def read_eclipses(text: str) -> list[tuple[str, float, float]]:
    found = re.findall(STAMP + r"\s+" + STAMP + r"\s+\S+\s+Earth\s+(\w+)", text)
    return [(kind, gmat_time(a), gmat_time(b)) for a, b, kind in found]


def shadow_of(kind: str, events: list[tuple[str, float, float]]) -> np.ndarray:
    """Umbra as listed; penumbra from first to last touch, umbra included."""
    if kind == "Umbra":
        return np.array([(a, b) for name, a, b in events if name == kind])
    merged: list[list[float]] = []
    for _, a, b in sorted(events, key=lambda event: event[1]):
        if merged and abs(a - merged[-1][1]) < 0.01:
            merged[-1][1] = b
        else:
            merged.append([a, b])
    return np.array(merged)


def our_shadows(times: np.ndarray, r: np.ndarray) -> dict[str, np.ndarray]:
    sun = sun_eci_m(times) @ precession_j2000_to_date(float(times.mean()))
    penumbra, umbra = shadow_margins_rad(r, sun)
    return {
        "Umbra": np.array(shadow_intervals_s(times, umbra)),
        "Penumbra": np.array(shadow_intervals_s(times, penumbra)),
    }


def test_the_extract_of_gmat_eclipses_is_met_within_two_seconds() -> None:
    with (DATA / "gmat_noaa20.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    times = np.array([gmat_time(row["utc"]) for row in rows])
    r = np.array([[float(row[f"{axis}_km"]) for axis in "xyz"] for row in rows]) * 1e3
    with (DATA / "gmat_noaa20_eclipses.csv").open(newline="") as stream:
        events = [(e["kind"], gmat_time(e["start_utc"]), gmat_time(e["end_utc"])) for e in csv.DictReader(stream)]
    for kind, ours in our_shadows(times, r).items():
        theirs = shadow_of(kind, events)
        assert np.abs(ours[: len(theirs)] - theirs).max() < 2.0


@pytest.mark.parametrize("orbit", ORBITS)
def test_every_gmat_eclipse_is_met_within_two_seconds_none_missing_none_extra(orbit: str, data_dir: Path) -> None:
    folder = data_dir / "orbit-gmat-reference" / orbit
    times, state = read_trajectory(folder / "Cartesian.txt")
    events = read_eclipses((folder / "EclipseLocator1.txt").read_text())
    for kind, ours in our_shadows(times, state[:, :3]).items():
        theirs = shadow_of(kind, events)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 2.0  # 0.2 s in fact


@pytest.mark.parametrize("orbit", ORBITS)
def test_every_gmat_contact_is_met_within_five_seconds_none_missing_none_extra(orbit: str, data_dir: Path) -> None:
    folder = data_dir / "orbit-gmat-reference" / orbit
    times, state = read_trajectory(folder / "Cartesian.txt")
    ecef = ecef_from_eci(state[:, :3] @ precession_j2000_to_date(float(times.mean())).T, times)
    for number, (lat_deg, lon_deg, altitude_m, mask_deg) in enumerate(STATIONS, start=1):
        text = (folder / f"ContactLocator{number}.txt").read_text()
        theirs = [(gmat_time(a), gmat_time(b)) for a, b in re.findall(STAMP + r"\s+" + STAMP + r"\s+[\d.]+", text)]
        lat, lon = math.radians(lat_deg), math.radians(lon_deg)
        out = np.array([math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)])
        place = out * (GMAT_RADIUS_M + altitude_m)
        up_lat, up_lon, _ = (float(angle) for angle in geodetic_from_ecef(place))
        up = np.array([math.cos(up_lat) * math.cos(up_lon), math.cos(up_lat) * math.sin(up_lon), math.sin(up_lat)])
        passes = find_passes(times, ecef, Station(str(number), place, up, math.radians(mask_deg)))
        assert len(passes) == len(theirs)
        for ours, (start, end) in zip(passes, theirs, strict=True):
            assert abs(ours.start_unix_s - start) < 5.0  # 0.3 s in fact
            assert abs(ours.end_unix_s - end) < 5.0


@pytest.mark.parametrize("orbit", ORBITS)
def test_our_own_ellipse_drifts_from_gmat_by_less_than_20_km_in_twelve_hours(orbit: str, data_dir: Path) -> None:
    """GMAT integrates a 4 x 4 field; ours has J2's secular part. Most of the gap is J2's short waves, 5 to 16 km."""
    times, state = read_trajectory(data_dir / "orbit-gmat-reference" / orbit / "Cartesian.txt")
    to_date = precession_j2000_to_date(float(times.mean())).T
    r, v = state[:, :3] @ to_date, state[:, 3:] @ to_date
    osculating = kepler_from_state(r[0], v[0], float(times[0]))
    assert np.linalg.norm(propagate_kepler(osculating, times[0])[0] - r[0]) < 1e-3
    ours, _ = propagate_kepler(mean_from_osculating(osculating), times)
    assert np.linalg.norm(ours - r, axis=1).max() < 20e3


def test_opssats_photodiodes_saw_light_where_we_say_the_sun_shines(data_dir: Path) -> None:
    lines = (data_dir / "orbit-tle-sets" / "opssat_2020_2023.3le").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("1 ") and line[18:23] == "20311")
    record = read_tle(lines[at].rstrip(), lines[at + 1].rstrip())
    path = data_dir / "opssat-photodiode-telemetry" / "ground_2020-11" / "labeled_I_PD_THETA.csv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    times = np.array([unix_from_utc(row["TIMESTAMP"]) for row in rows])
    r, _ = propagate_sgp4(record, times)
    penumbra, umbra = shadow_margins_rad(r, sun_eci_m(times))
    lit = 0.5 * (penumbra + umbra) > 0
    assert len(rows) == 10_868
    assert lit.mean() >= 0.994


def test_half_a_step_in_the_shadow_is_half_lit() -> None:
    margin = np.array([0.1, -0.1, -0.1, 0.1])
    assert lit_frac_of_steps(margin, margin).tolist() == pytest.approx([0.5, 0.0, 0.5])


def test_a_satellite_behind_the_earth_is_dark_and_before_it_lit() -> None:
    sun = sun_eci_m(np.array([1.7e9]))
    toward = sun / np.linalg.norm(sun)
    assert shadow_margins_rad(-7e6 * toward, sun)[1][0] < 0
    assert shadow_margins_rad(7e6 * toward, sun)[0][0] > 0
