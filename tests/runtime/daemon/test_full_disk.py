"""A disk that is full: what is held back against it, and that a craft works itself free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.daemon.ballast import LOW_BYTE, SIZE_BYTE, Ballast
from runtime.faults import arm, disarm
from runtime.status import table_of


def ballast_on(folder: Path, free: list[int]) -> Ballast:
    return Ballast(folder / "ballast", free_byte=lambda _: free[0])


def test_r03_room_is_held_while_there_is_plenty_and_given_up_where_there_is_none(tmp_path: Path) -> None:
    free = [10 * SIZE_BYTE]
    ballast = ballast_on(tmp_path, free)
    assert not ballast.trim()
    assert ballast.path.stat().st_size == SIZE_BYTE
    assert ballast.path.stat().st_blocks * 512 >= SIZE_BYTE
    free[0] = LOW_BYTE - 1
    assert ballast.trim()
    assert not ballast.path.exists()
    assert "the disk is full: 1.0 MB are left" in ballast.doubt


def test_r03_room_that_was_given_up_is_not_taken_back_at_once(tmp_path: Path) -> None:
    free = [2 * SIZE_BYTE - 1]
    ballast = ballast_on(tmp_path, free)
    assert not ballast.trim()
    assert not ballast.path.exists()
    assert ballast.doubt == ""
    free[0] = 2 * SIZE_BYTE
    ballast.trim()
    assert ballast.path.exists()


def test_r03_a_folder_that_has_gone_is_not_the_ballast_s_business(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "gone" / "ballast")
    assert not ballast.trim()
    assert not ballast.drop()


def test_r03_a_store_that_refuses_gets_the_room_and_the_slot_is_flown_again(craft: Any) -> None:
    path = craft.folder / "state" / "ballast"
    assert path.exists()
    craft.image()
    arm("ledger.claim.before_fsync", "enospc")
    try:
        craft.daemon.fly_slot()
    finally:
        disarm()
    assert not path.exists()
    assert "held back for a full disk is given up" in craft.events()
    assert craft.daemon.status["state"] == "degraded"
    craft.clock.pass_s(180.0)
    craft.fly()
    assert path.exists()
    assert (craft.slot()["slot"], craft.daemon.status["counts"]["done_tile"]) == (0, 16)


def test_r03_a_full_disk_stands_in_the_status(craft: Any) -> None:
    craft.daemon._aboard.ballast.free_byte = lambda _: 1000
    craft.fly()
    assert craft.daemon.status["state"] == "degraded"
    assert "the disk is full: 0.0 MB are left" in table_of(craft.daemon.status)


def test_r03_a_unit_that_cannot_start_is_tried_for_ever(repo: Path) -> None:
    unit = (repo / "deploy" / "systemd" / "subsolar.service").read_text()
    assert "Restart=always" in unit
    assert "StartLimitIntervalSec=0" in unit
