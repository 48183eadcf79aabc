"""What a replay says of ``auto``: which policy flew, why, and who else took part."""

from __future__ import annotations

import json
from pathlib import Path

from runtime.flight import ReplayOptions
from runtime.replay import fly


def flown(out: Path, policy: str) -> dict[str, object]:
    options = ReplayOptions(
        scenario="uav-survey", policy=policy, orbits=1, infer=False, out=out, overrides={"power.battery_wh": "60"}
    )
    fly(options, lambda done, of, line: None)
    summary: dict[str, object] = json.loads((out / "summary.json").read_text())
    return summary


def test_a_replay_records_which_policy_auto_took_and_flies_as_that_policy_does(tmp_path: Path) -> None:
    summary = flown(tmp_path / "auto", "auto")
    told = summary["auto"]
    assert isinstance(told, dict)
    assert told["by"] == "contest"
    assert summary["policy"] == told["policy"]
    assert told["contestants"][told["policy"]]["ahead_mean"] >= 0.0
    page = (tmp_path / "auto" / "report.html").read_text()
    assert f"Asked for auto, {told['policy']} flew" in page
    named = flown(tmp_path / "named", str(told["policy"]))
    assert named["auto"] is None
    assert named["versions"]["slots"] == summary["versions"]["slots"]  # type: ignore[index]
