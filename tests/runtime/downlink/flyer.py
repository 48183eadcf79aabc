"""The mission of ``make bench-torture`` as a program: ``flyer.py FOLDER SLOTS [FAULT]``; prints what it leaves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from torture_mission import Mission, fly, outcome

from runtime.faults import arm_text

if __name__ == "__main__":
    mission = Mission(Path(sys.argv[1]) / "mission", int(sys.argv[2]))
    mission.folder.mkdir(exist_ok=True)
    if len(sys.argv) > 3:
        arm_text(sys.argv[3])
    fly(mission)
    print(json.dumps(outcome(mission)))  # noqa: T201
