"""The sample mission that looks for vehicles, flown from a checkout: one real aerial picture, boxes in the outbox."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.daemon.mission import load_mission
from runtime.daemon.run import daemon_of

pytest.importorskip("onnxruntime")
PICTURE = "kit-ais-mos74.png"


def test_a_uav_finds_the_vehicles_of_the_sample_picture_and_sends_each_once(
    repo: Path, make_craft: Callable[..., Any], tmp_path: Path
) -> None:
    craft = make_craft(start=False)
    folders = {
        "mission.state": str(tmp_path / "aboard"),
        "mission.socket": str(tmp_path / "control.sock"),
        "source.inbox": str(tmp_path / "camera"),
        "radio.outbox": str(tmp_path / "outbox"),
        "radio.uplink": str(tmp_path / "uplink"),
        "radio.answer_s": "0.02",
    }
    file = repo / "deploy" / "missions" / "vehicles.toml"
    slot_s = load_mission(file, folders).scenario.orbit.slot_s
    (tmp_path / "camera").mkdir()
    (tmp_path / "uplink").mkdir()
    daemon = craft.stack.enter_context(daemon_of(file, craft.clock, {}, folders))
    shutil.copy(repo / "deploy" / "scenes" / "aerial" / PICTURE, tmp_path / "camera" / PICTURE)
    for _ in range(4):
        daemon.fly_slot()
        craft.clock.pass_s(slot_s)
    counts = daemon.status["counts"]
    assert (counts["arrived_tile"], counts["done_tile"], counts["failed_tile"]) == (12, 12, 0)
    products = daemon._aboard.store.products()
    assert {(one.kind, one.label) for one in products} == {("geometry", "vehicle")}
    assert 12 <= len(products) <= 30, "people marked 25"
    assert len({one.product_id for one in products}) == len(products)
