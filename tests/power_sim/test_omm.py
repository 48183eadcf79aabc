"""Orbit Mean-Elements Messages: the three file forms, scenarios that fly one, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sgp4.api import WGS72, Satrec

from power_sim import OrbitError, PowerSimError, ScenarioError, Simulator, load_scenario
from power_sim.omm import load_omm
from power_sim.orbit import propagate_sgp4_since, read_omm
from power_sim.scenario import read_scenario

DATA = Path(__file__).parent / "data"
CUBESAT = Path(__file__).resolve().parents[2] / "power_sim" / "scenarios" / "cubesat-6u.toml"
ISS = {
    "EPOCH": "2026-03-01T00:00:00",
    "MEAN_MOTION": "15.5",
    "ECCENTRICITY": "0.0004",
    "INCLINATION": "51.64",
    "RA_OF_ASC_NODE": "120.0",
    "ARG_OF_PERICENTER": "10.0",
    "MEAN_ANOMALY": "350.0",
    "BSTAR": "0.0001",
    "MEAN_MOTION_DOT": "0",
    "MEAN_MOTION_DDOT": "0",
}


def test_the_xml_and_csv_forms_of_one_message_give_one_orbit() -> None:
    minutes = np.arange(0.0, 1440.0, 10.0)
    xml, table = (
        propagate_sgp4_since(read_omm(load_omm(DATA / f"sample_omm.{form}")), minutes * 60) for form in ("xml", "csv")
    )
    assert np.array_equal(xml[0], table[0])
    assert np.linalg.norm(xml[0], axis=1).min() > 6.9e6  # Vanguard 1: perigee at 653 km


def test_a_message_and_the_two_lines_of_the_same_epoch_give_the_same_orbit() -> None:
    line1 = "1 00005U 58002B   20287.20333880 -.00000016  00000-0 -22483-4 0  9998"
    line2 = "2 00005  34.2443 225.5254 1845686 162.2516 205.2356 10.84869164218149"
    seconds = np.arange(0.0, 86_400.0, 600.0)
    two_lines, _ = propagate_sgp4_since(Satrec.twoline2rv(line1, line2, WGS72), seconds)
    message, _ = propagate_sgp4_since(read_omm(load_omm(DATA / "sample_omm.xml")), seconds)
    assert np.abs(two_lines - message).max() < 5.0  # the two lines round the epoch to 0.9 ms


def test_the_files_that_ship_are_those_of_the_verification_set(data_dir: Path) -> None:
    for form in ("xml", "json", "csv"):
        theirs = data_dir / "orbit-sgp4-verification" / f"sample_omm.{form}"
        assert theirs.read_bytes() == (DATA / theirs.name).read_bytes()


@pytest.mark.parametrize("form", ["xml", "json", "csv"])
def test_a_scenario_flies_a_message_from_a_file_beside_it(form: str, tmp_path: Path) -> None:
    shutil.copy(DATA / f"sample_omm.{form}", tmp_path / f"vanguard.{form}")
    start = "2025-02-15T00:00:00Z" if form == "json" else "2020-10-14T00:00:00Z"
    text = CUBESAT.read_text(encoding="utf-8")
    head = f'kind = "omm"\nomm_file = "vanguard.{form}"\nstart_utc = "{start}"\n'
    text = text.replace('kind = "sgp4"\nstart_utc = "2026-03-01T00:00:00Z"\n', head, 1)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    scenario = load_scenario(tmp_path / "mine.toml", {"orbit.window_days": "0"})
    assert scenario.orbit.omm["OBJECT_ID"] == "1958-002B"
    assert scenario.orbit.omm_file == ""
    assert Simulator(scenario, 0).slots == 133  # three turns of 132.7 min
    assert read_scenario(scenario.to_table(), "again") == scenario


def fly_with(fields: dict[str, str], **orbit: object) -> Simulator:
    table = load_scenario("cubesat-6u").to_table()
    table["orbit"] |= {"kind": "omm", "omm": fields, "window_days": 0.0, **orbit}
    return Simulator(read_scenario(table, "mine.toml"), 0)


def test_the_fields_may_stand_in_the_scenario_itself() -> None:
    mission = fly_with(ISS)
    assert mission.slots == 93
    assert np.abs(np.degrees(mission.track().latitude_rad)).max() == pytest.approx(51.6, abs=0.5)
    assert mission.scenario.sha256 != load_scenario("cubesat-6u").sha256


def test_a_scenario_without_a_message_keeps_its_table_and_hash() -> None:
    assert not {"omm", "omm_file"} & load_scenario("cubesat-6u").to_table()["orbit"].keys()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"EPOCH": ""}, ["mine.toml: orbit.omm", "lacks EPOCH"]),
        ({"MEAN_MOTION": "fast"}, ["mine.toml: orbit.omm", "MEAN_MOTION = 'fast'", "not a number"]),
        ({"BSTAR": "nan"}, ["BSTAR = nan", "is not in"]),
        ({"ECCENTRICITY": "1.2"}, ["ECCENTRICITY = 1.2", "0 to 1"]),
        ({"MEAN_MOTION": "16.7"}, ["mine.toml: orbit.omm", "perigee at 8", "at least 100 km"]),
        ({"MEAN_MOTION": "17.5"}, ["mine.toml: orbit.omm", "decayed"]),
        ({"MEAN_MOTION": "0"}, ["mine.toml: orbit.omm"]),
        ({"EPOCH": "today"}, ["mine.toml: orbit.omm", "today"]),
        ({"REF_FRAME": "EME2000"}, ["REF_FRAME = 'EME2000'", "TEME"]),
        ({"MEAN_ELEMENT_THEORY": "DSST"}, ["MEAN_ELEMENT_THEORY = 'DSST'", "SGP4"]),
        ({"EPHEMERIS_TYPE": "4"}, ["EPHEMERIS_TYPE = '4'"]),
        ({"EPOCH": "2025-11-01T00:00:00"}, ["orbit.omm is 120 days", "max_tle_age_days = 30"]),
    ],
)
def test_a_message_that_no_orbit_follows_from_is_refused(changes: dict[str, str], words: list[str]) -> None:
    with pytest.raises(PowerSimError) as caught:
        fly_with({**ISS, **changes})
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_is_no_message_is_refused_by_name(tmp_path: Path) -> None:
    two = '[{"EPOCH": "a"}, {"EPOCH": "b"}]'
    for name, text, words in (
        ("a.txt", "x", "Use .xml, .json or .csv"),
        ("a.xml", "<ndm>", "is not an OMM in XML"),
        ("a.json", "{", "is not an OMM in JSON"),
        ("a.json", two, "holds 2 objects"),
        ("a.csv", "EPOCH\n", "holds 0 objects"),
        ("a.json", '{"EPOCH": "2026-03-01T00:00:00"}', "lacks MEAN_MOTION"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(OrbitError, match=words):
            load_omm(tmp_path / name)
    with pytest.raises(OrbitError, match="cannot be read"):
        load_omm(tmp_path / "none.xml")


def test_keys_that_contradict_each_other_are_refused() -> None:
    for orbit, words in (
        ({"kind": "omm"}, r"mine\.toml: orbit\.omm is empty"),
        ({"kind": "sgp4", "omm_file": "a.xml"}, r"orbit\.omm_file .* Set kind = 'omm'"),
        ({"kind": "omm", "omm_file": "a.xml", "omm": ISS}, "both omm_file and omm"),
        ({"kind": "omm", "omm_file": "a.xml"}, r"orbit\.omm_file = 'a\.xml'.* cannot be read"),
    ):
        table = load_scenario("cubesat-6u").to_table()
        table["orbit"] |= orbit
        with pytest.raises((ScenarioError, OrbitError), match=words):
            read_scenario(table, "mine.toml")
