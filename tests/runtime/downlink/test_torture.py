"""The short form of ``make bench-torture``: R01, R02, R03 and R22 with real disk faults; its judge can find."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

JUDGE = Path(__file__).with_name("tortured.py")


def run(repo: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    if platform.system() != "Linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environment["PYTHONPATH"] = os.pathsep.join([str(repo), str(repo / "benchmarks")])
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("campaign", ["points", "kills", "cuts", "disk", "random"])
def test_r01_r02_r03_r22_disk_faults_and_kills_neither_lose_nor_double(
    repo: Path, tmp_path: Path, campaign: str
) -> None:
    done = run(repo, tmp_path, str(repo / "benchmarks" / "torture.py"), "--short", "--only", campaign)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "build" / "bench" / "torture.json").read_text())["figures"]
    assert all(figure["met"] in (True, None) for figure in figures.values())
    if campaign == "random":
        assert figures["random_kills"]["value"] == 8
        return
    assert figures[f"{campaign}_struck"]["value"] == figures[f"{campaign}_runs"]["value"] > 5
    if campaign == "disk":
        assert figures["disk_faults"]["value"] >= figures["disk_runs"]["value"]
    if campaign == "points":
        assert figures["points_share"]["value"] == 1.0


@pytest.fixture(scope="module")
def verdicts(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    done = run(repo, tmp_path_factory.mktemp("judge"), str(JUDGE))
    assert done.returncode == 0, done.stdout + done.stderr
    tallies: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return tallies


@pytest.mark.parametrize(
    ("sabotage", "finding"),
    [
        ("forgets a promised slot", "lost"),
        ("forgets what it has delivered", "lost"),
        ("shows a product twice", "doubled"),
        ("leaves a file that is wrong", "doubled"),
        ("tears a page of its store", "corrupt"),
        ("fails although nothing was injected", "failed"),
        ("ends with another error than ours", "failed"),
        ("leaves a picture in its outbox", "different"),
    ],
)
def test_a_mission_that_breaks_a_promise_is_found(
    verdicts: dict[str, dict[str, Any]], sabotage: str, finding: str
) -> None:
    assert verdicts[sabotage][finding] == 1


def test_a_run_that_was_not_struck_does_not_count_and_a_good_one_has_no_findings(
    verdicts: dict[str, dict[str, Any]],
) -> None:
    calm, full = verdicts["is not struck"], verdicts["finds its disk full"]
    assert (calm["struck"], full["struck"], full["faults"]) == (0, 1, 7)
    for one in (calm, full):
        assert not any(one[name] for name in ("lost", "doubled", "different", "corrupt", "failed"))
