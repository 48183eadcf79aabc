"""R01 and R22: a mission killed late goes on as if nothing had happened; test_torture.py kills it at every point."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import MissionError
from runtime.faults import POINTS, arm, arm_text, disarm, fault, passages

FLYER = Path(__file__).with_name("flyer.py")
SLOTS = 4


def fly(folder: Path, *fault_text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FLYER), str(folder), str(SLOTS), *fault_text]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    flown = fly(tmp_path_factory.mktemp("undisturbed"))
    assert flown.returncode == 0, flown.stderr
    result: dict[str, Any] = json.loads(flown.stdout)
    return result


@pytest.mark.parametrize("nth", [3, 8])
@pytest.mark.parametrize(
    "point", ["store.commit.before_fsync", "downlink.send.after_packet", "ground.commit.after_fsync"]
)
def test_r01_a_kill_later_in_the_mission_is_no_different(
    tmp_path: Path, undisturbed: dict[str, Any], point: str, nth: int
) -> None:
    assert fly(tmp_path, f"{point}:kill@{nth}").returncode in (-signal.SIGKILL, 0)
    assert json.loads(fly(tmp_path).stdout) == undisturbed


def test_every_fault_point_stands_in_the_code_and_every_one_in_the_code_is_listed(repo: Path) -> None:
    sources = [path for path in (repo / "runtime").rglob("*.py") if path.name != "faults.py"]
    quoted = re.compile(r'"((?:store|downlink|pictures|ground|cfdp|ledger|models)\.[a-z]+\.[a-z_]+)"')
    named = {name for path in sources for name in quoted.findall(path.read_text()) if not name.endswith(".part")}
    assert named == set(POINTS)


def test_a_fault_point_that_is_not_armed_costs_nothing_and_a_counted_one_counts() -> None:
    fault("store.commit.begin")
    arm("store.commit.begin", "count")
    try:
        fault("store.commit.begin")
        fault("store.commit.begin")
        assert passages("store.commit.begin") == 2
    finally:
        disarm()
    assert passages("store.commit.begin") == 0


@pytest.mark.parametrize("text", ["nowhere:kill", "store.commit.begin:melt", "store.commit.begin:kill@soon"])
def test_a_fault_that_cannot_be_armed_is_named(text: str) -> None:
    with pytest.raises(MissionError):
        arm_text(text)
