"""A replay's other formats and its flight without inference, through the command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest


def replay(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runtime", "replay", "cubesat-6u", "--policy", "greedy", "--seed", "7", *more]
    return subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, timeout=120, check=False)


def slots(folder: Path) -> list[dict[str, str]]:
    with (folder / "slots.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_battery_below_its_reserve_without_a_violation_is_explained(tmp_path: Path) -> None:
    low = ("--set", "power.reserve_frac=0.7", "--set", "power.bus_w=30")
    ran = replay(tmp_path, "--orbits", "4", "--no-inference", *low)
    assert ran.returncode == 0, ran.stderr
    (line,) = (line for line in ran.stdout.splitlines() if line.startswith("reserve violations"))
    assert " 0 (the battery fell to " in line
    assert "below the reserve of 70 %: by the bus load, not by inference)" in line


def test_a_flight_without_inference_decides_and_spends_and_says_that_it_looked_at_nothing(tmp_path: Path) -> None:
    ran = replay(tmp_path, "--orbits", "2", "--no-inference", "--json", "--czml", "--geojson", "--csv")
    assert ran.returncode == 0, ran.stderr
    summary, rows = json.loads(ran.stdout), slots(tmp_path)
    assert len({row["model"] for row in rows}) > 1
    assert summary["tiles"] > 0
    assert summary["energy_j"] > 0
    assert summary["tiles_sampled"] == summary["products"] == 0
    assert summary["accuracy"] is None
    assert "No tile was looked at" in (tmp_path / "report.html").read_text()
    assert "--no-inference" in summary["command"]
    assert json.loads((tmp_path / "replay.czml").read_text())[0]["version"] == "1.0"
    assert json.loads((tmp_path / "replay.geojson").read_text())["type"] == "FeatureCollection"
    assert (tmp_path / "products.csv").read_text().startswith("slot,label,")
    assert not (tmp_path / "store.sqlite").exists()


def test_without_inference_the_load_is_the_scenarios_own(tmp_path: Path) -> None:
    """What arrives does not hang on whether it is looked at; what is worked on may, by the rounding of joules."""
    looked, blind = tmp_path / "looked", tmp_path / "blind"
    assert replay(looked, "--orbits", "1", "--tiles-per-slot", "2").returncode == 0
    assert replay(blind, "--orbits", "1", "--no-inference").returncode == 0
    for one, other in zip(slots(looked), slots(blind), strict=True):
        assert one["arrived_tile"] == other["arrived_tile"]
        assert one["model"] == other["model"]
        assert float(one["charge_frac"]) == pytest.approx(float(other["charge_frac"]), abs=1e-6)


def test_a_flight_over_nowhere_refuses_czml_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime", "replay", "paper", "--policy", "greedy", "--no-inference", "--czml"]
    ran = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 2
    assert "no place on Earth" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert (tmp_path / "report.html").exists(), "the flight itself is kept"
