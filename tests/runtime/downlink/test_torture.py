"""The short form of ``make bench-torture``: R01, R02, R03, R22 and R27 with real disk faults."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("campaign", ["kills", "cuts", "disk", "random"])
def test_r01_r02_r03_r22_disk_faults_and_kills_neither_lose_nor_double(
    repo: Path, tmp_path: Path, campaign: str
) -> None:
    if platform.system() != "Linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    command = [sys.executable, str(repo / "benchmarks" / "torture.py"), "--short", "--only", campaign]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads((tmp_path / "build" / "bench" / "torture.json").read_text())["figures"]
    assert all(figure["met"] in (True, None) for figure in figures.values())
    assert figures[f"{campaign}_products_lost"]["value"] == 0
