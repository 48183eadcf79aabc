"""Each kind of bad input, in a user's own file: refused naming the file, the key, the value and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from power_sim import PowerSimError, Simulator, load_scenario

CUBESAT = Path(__file__).resolve().parents[2] / "power_sim" / "scenarios" / "cubesat-6u.toml"
LINE1 = "1 44878U 19092F   23288.90563444  .00057107  00000+0  13413-2 0  9993"
LINE2 = "2 44878  97.4679 119.7695 0008377  62.8707 297.3393 15.41794569212347"
LOW2 = "2 44878  97.4679 119.7695 0008377  62.8707 297.3393 16.71794569212341"  # 74 km


def mission(folder: Path, changes: dict[str, str]) -> Simulator:
    """Fly cubesat-6u from a file of one's own whose lines ``old`` are replaced."""
    text = CUBESAT.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return Simulator(load_scenario(folder / "mine.toml"), 0)


def two_lines(one: str, two: str, start: str = "2023-10-16T00:00:00Z") -> dict[str, str]:
    head = f'kind = "tle"\ntle = ["{one}", "{two}"]\nstart_utc = "{start}"\n'
    return {'kind = "sgp4"\nstart_utc = "2026-03-01T00:00:00Z"\n': head, "window_days = 20.0": "window_days = 0.0"}


def test_the_two_lines_that_the_other_tests_spoil_do_fly(tmp_path: Path) -> None:
    assert mission(tmp_path, two_lines(LINE1, LINE2)).slots == 93


BAD = {
    "stale TLE": (two_lines(LINE1, LINE2, "2024-01-01T00:00:00Z"), ["orbit.tle is 77 days", "max_tle_age_days = 30"]),
    "TLE cut short": (two_lines(LINE1[:50], LINE2), ["orbit.tle", "line 1", "69 columns"]),
    "TLE with a wrong digit": (two_lines(LINE1.replace("107", "108"), LINE2), ["orbit.tle", "checksum 3", "4"]),
    "TLE of two objects": (two_lines(LINE1, LINE2.replace("44878", "44887")), ["orbit.tle", "44887", "one object"]),
    "TLE below ground": (two_lines(LINE1, LOW2), ["orbit.tle", "perigee at 74", "at least 100 km"]),
    "altitude below ground": ({"altitude_km = 500.0": "altitude_km = -10.0"}, ["orbit.altitude_km = -10", "at least"]),
    "perigee below ground": (
        {"altitude_km = 500.0": "altitude_km = 500.0\neccentricity = 0.1"},
        ["orbit.eccentricity = 0.1", "altitude_km = 500", "at least 100"],
    ),
    "negative capacity": ({"battery_wh = 26.0": "battery_wh = -26.0"}, ["power.battery_wh = -26", "above 0"]),
    "zero orbits": ({"orbits = 3.0": "orbits = 0.0"}, ["orbit.orbits = 0", "above 0"]),
    "zero-length slots": ({"slot_s = 180.0": "slot_s = 0.0"}, ["orbit.slot_s = 0", "at least 1"]),
    "zero slots": (
        {'kind = "sgp4"': 'kind = "ideal"\nslots_per_orbit = 0'},
        ["orbit.slots_per_orbit = 0", "1 or more"],
    ),
    "NaN": ({"bus_w = 6.0": "bus_w = nan"}, ["power.bus_w = nan", "at least 0"]),
    "infinity": ({"rate_bps = 1000000.0": "rate_bps = inf"}, ["link.rate_bps = inf", "at most"]),
    "unknown unit": ({"bus_w = 6.0": "bus_mw = 6000.0"}, ["power.bus_mw", "not a known key", "bus_w"]),
    "another unit": ({"battery_wh = 26.0": "battery_kj = 93.6"}, ["power.battery_kj", "battery_wh"]),
    "no time": ({"2026-03-01T00:00:00Z": "2026-13-01"}, ["orbit.start_utc", "'2026-13-01'", "2023-10-16T00:00:00Z"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_naming_file_key_value_and_remedy(what: str, tmp_path: Path) -> None:
    changes, words = BAD[what]
    with pytest.raises(PowerSimError) as caught:
        mission(tmp_path, changes)
    for word in ("mine.toml", *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


FLOWN = {'kind = "ground-track"': 'kind = "trace"\ntrace = "load.csv"'}
TRACES = {
    "gap": ("0,urban,5\n2,urban,5\n", ["slot 1 of 95 is missing", "Give every slot"]),
    "short": ("".join(f"{k},urban,5\n" for k in range(40)), ["slot 40 of 95 is missing", "Give every slot"]),
    "NaN": ("0,urban,nan\n", ["line 2", "nan", "Give"]),
    "negative": ("0,urban,-1\n", ["line 2", "'-1'", "Give"]),
    "twice": ("0,urban,1\n0,urban,2\n", ["line 3", "Give each slot and cover once"]),
    "unknown cover": ("0,moon,1\n", ["line 2", "'moon'", "urban"]),
    "empty cell": ("0,urban,\n", ["line 2", "slot, cover, tile"]),
}


@pytest.mark.parametrize("what", TRACES)
def test_a_trace_with_gaps_is_refused_naming_file_line_and_remedy(what: str, tmp_path: Path) -> None:
    rows, words = TRACES[what]
    (tmp_path / "load.csv").write_text("slot,cover,tile\n" + rows)
    with pytest.raises(PowerSimError) as caught:
        mission(tmp_path, {**FLOWN, "window_days = 20.0": "window_days = 0.0"})
    for word in ("workload.trace", "load.csv", *words):
        assert word in str(caught.value)


def test_a_trace_that_is_not_there_or_not_the_one_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PowerSimError, match=r"mine\.toml: workload\.trace = 'load\.csv' cannot be read"):
        mission(tmp_path, FLOWN)
    (tmp_path / "load.csv").write_text("slot,cover,tile\n0,urban,1\n")
    with pytest.raises(PowerSimError, match=r"mine\.toml: workload\.trace = 'load\.csv' is not the file"):
        mission(tmp_path, {'kind = "ground-track"': 'kind = "trace"\ntrace = "load.csv"\ntrace_sha256 = "00"'})
