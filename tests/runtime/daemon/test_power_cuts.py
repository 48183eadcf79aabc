"""R01: the daemon killed at its own fault points and at the store's, then started again; ``make fuzz-daemon``: all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.store import ProductStore

FLY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import TestClock
from runtime.daemon.run import daemon_of
from runtime.faults import arm
clock = TestClock()
with daemon_of(Path(sys.argv[2]), clock, {}) as daemon:
    if len(sys.argv) > 3:
        arm(sys.argv[3], "kill", nth=int(sys.argv[4]))
    for _ in range(4):
        daemon.fly_slot()
        clock.pass_s(180.0)
"""
POINTS = [
    "ledger.claim.before_fsync",
    "ledger.claim.after_fsync",
    "store.commit.begin",
    "store.commit.before_products",
    "store.commit.before_fsync",
    "store.commit.after_fsync",
]


def fly(craft: Any, *fault: str) -> int:
    command = [sys.executable, "-c", FLY, str(Path(__file__).parent), str(craft.mission), *fault]
    return subprocess.run(command, cwd=Path(__file__).parents[3], check=False).returncode


FEW = [("ledger.claim.after_fsync", 3), ("store.commit.before_fsync", 1), ("store.commit.after_fsync", 3)]
ALL = [(point, nth) for point in POINTS for nth in (1, 2, 3)]


@pytest.mark.parametrize(("point", "nth"), ALL if os.environ.get("SUBSOLAR_FUZZ") else FEW)
def test_r01_i1_i2_i5_a_power_cut_anywhere_in_a_slot_neither_loses_nor_doubles_a_tile(
    make_craft: Callable[..., Any], point: str, nth: int
) -> None:
    craft = make_craft(change=("queue_max_tile = 1000", "queue_max_tile = 40"), start=False)
    for number in range(4):
        craft.image(f"{number}.tif", seed=number)
    assert fly(craft, point, str(nth)) == -signal.SIGKILL
    assert fly(craft) == 0
    store = ProductStore.open_readonly(craft.folder / "state" / "products.sqlite")
    counts = store.counts()
    places = [(product.frame_id, product.row_px, product.col_px) for product in store.products()]
    store.close()
    assert counts.done_tile + counts.shed_tile + counts.failed_tile == 64
    assert len(places) == len(set(places)) == counts.done_tile


DIE = """
import os, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import TestClock
from runtime.daemon.run import daemon_of
class Deadly:
    def __init__(self, engine):
        self.engine, self.name, self.provider = engine, engine.name, engine.provider
    def infer(self, batch):
        if (batch[:, 0] == 255).all(axis=(1, 2)).any():
            os.abort()
        return self.engine.infer(batch)
    def close(self):
        self.engine.close()
clock = TestClock()
with daemon_of(Path(sys.argv[2]), clock, {}) as daemon:
    for one in daemon.wired.fleet.networks.values():
        one.loaded = replace(one.loaded, engine=Deadly(one.loaded.engine))
    daemon.fly_slot()
"""


def test_r10_a_frame_that_kills_the_process_twice_is_not_touched_again(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(start=False)
    craft.image("deadly.tif", fill=(255, 0, 0))
    command = [sys.executable, "-c", DIE, str(Path(__file__).parent), str(craft.mission)]
    codes = [subprocess.run(command, cwd=Path(__file__).parents[3], check=False).returncode for _ in range(3)]
    assert codes == [-signal.SIGABRT, -signal.SIGABRT, 0]
    store = ProductStore.open_readonly(craft.folder / "state" / "products.sqlite")
    counts, outcomes = store.counts(), store.outcomes()
    store.close()
    assert (counts.done_tile, counts.failed_tile) == (0, 16)
    assert "died 2 times in a row" in outcomes[0][2]
    craft.start()
    craft.image("good.tif")
    craft.fly()
    assert craft.daemon.status["counts"]["done_tile"] == 16
