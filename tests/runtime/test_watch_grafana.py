"""The dashboard asks for metrics that the daemon has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from runtime.daemon.metrics import HELP, PREFIX


def test_every_query_asks_for_a_metric_that_the_daemon_exports(repo: Path) -> None:
    known = {f"{PREFIX}_{name}" for name in HELP} | {
        f"{PREFIX}_tile_seconds_{part}" for part in ("bucket", "sum", "count")
    }
    board = json.loads((repo / "deploy" / "grafana" / "subsolar.json").read_text(encoding="utf-8"))
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(rf"{PREFIX}_\w+", target["expr"])
    }
    assert asked <= known
    assert {f"{PREFIX}_{name}" for name in HELP if name != "tile_seconds"} <= asked, "every metric has its panel"


def test_no_two_panels_share_a_number_or_a_place(repo: Path) -> None:
    board = json.loads((repo / "deploy" / "grafana" / "subsolar.json").read_text(encoding="utf-8"))
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_measured_and_estimated_joules_are_not_added_up(repo: Path) -> None:
    text = (repo / "deploy" / "grafana" / "subsolar.json").read_text(encoding="utf-8")
    assert all("by (kind" in line for line in text.splitlines() if "energy_joules" in line)
