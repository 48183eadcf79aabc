"""CFDP class 1: what goes out once over a link without a way back, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.cfdp import Condition, Timing
from runtime.cfdp.pdus import Eof, FileData, Header, Metadata, TransactionId, decode, encode
from runtime.downlink.links import Impairment

MakeWorld = Callable[..., Any]
DEAF = Impairment(loss_frac=1.0)


def content(size_byte: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size_byte)


@pytest.mark.parametrize("size_byte", [0, 1, 5000])
def test_a_file_arrives_without_a_word_back_and_counts_as_sent_not_as_good(
    make_world: MakeWorld, size_byte: int
) -> None:
    world = make_world(up=DEAF)
    target = world.offer(content(size_byte), "pictures/a.png", acknowledged=False)
    world.run()
    assert target.read_bytes() == content(size_byte)
    sent, came = world.board.reports[0], world.ground.reports[0]
    assert (sent.verdict, sent.confirmed, sent.good) == (Condition.NONE, False, False)
    assert came.good
    assert world.board.open_files == world.ground.open_files == 0


def test_it_is_marked_as_unacknowledged_and_asks_for_no_closure(make_world: MakeWorld) -> None:
    world = make_world()
    world.offer(content(3000), acknowledged=False)
    world.run()
    read = [decode(raw) for raw in world.sent]
    assert not any(header.acknowledged for header, _ in read)
    assert [type(pdu) for _, pdu in read] == [Metadata, FileData, FileData, FileData, Eof]
    assert read[0][1].closure is False


def test_what_is_lost_fails_at_the_check_limit_and_leaves_nothing(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(timing=Timing(nak_s=2.0, nak_limit=2))
    target = world.offer(content(5000), acknowledged=False)
    for number in range(10):
        if (raw := world.board.take(1024, 0.0)) is not None and number != 2:
            world.ground.insert(raw, 0.0)
    assert world.ground.reports == []
    for now_s in range(1, 10):
        world.ground.tick(float(now_s))
        assert world.ground.take(1024, float(now_s)) is None
    assert [report.verdict for report in world.ground.reports] == [Condition.CHECK_LIMIT]
    assert not target.exists()
    assert list((tmp_path / "ground" / "files" / ".incoming").iterdir()) == []


def test_what_comes_out_of_order_before_the_check_limit_is_kept(make_world: MakeWorld) -> None:
    world = make_world()
    target = world.offer(content(5000), acknowledged=False)
    raws: list[bytes] = []
    while (raw := world.board.take(1024, 0.0)) is not None:
        raws.append(raw)
    for raw in reversed(raws):
        world.ground.insert(raw, 0.0)
    assert target.read_bytes() == content(5000)


def test_a_pass_that_ends_in_the_middle_goes_on_in_the_next(make_world: MakeWorld) -> None:
    world = make_world(up=DEAF)
    target = world.offer(content(20_000), acknowledged=False)
    world.run(budget_byte=8000, until_s=5.0)
    assert not target.exists()
    world.pause()
    world.run()
    assert target.read_bytes() == content(20_000)
    assert world.sent_byte < 21_000


@pytest.mark.parametrize("whom", ["board", "ground"])
def test_r22_a_reboot_in_the_middle_begins_anew_on_board_and_goes_on_at_the_station(
    make_world: MakeWorld, whom: str
) -> None:
    world = make_world(up=DEAF)
    target = world.offer(content(20_000), acknowledged=False)
    world.run(budget_byte=8000, until_s=5.0)
    world.pause()
    world.reboot(whom)
    world.run()
    assert target.read_bytes() == content(20_000)
    assert [report.good for report in world.ground.reports] == [True]


def test_a_link_that_has_lost_its_way_back_takes_on_what_was_to_be_acknowledged(make_world: MakeWorld) -> None:
    world = make_world(up=DEAF)
    target = world.offer(content(9000))
    world.run(budget_byte=3000, until_s=1.0)
    world.board.unacknowledge()
    world.run()
    assert target.read_bytes() == content(9000)
    assert [report.confirmed for report in world.board.reports] == [False]
    world.reboot("board")
    assert world.board.open_files == 0


def test_unfinished_ones_are_given_up_where_too_many_stand_still(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world()
    for number in range(70):
        header = Header(TransactionId(1, number), 2, acknowledged=False)
        world.ground.insert(encode(header, FileData(0, bytes(64))), float(number))
        world.ground.tick(float(number) + 1000.0)
    verdicts = {report.verdict for report in world.ground.reports}
    assert verdicts == {Condition.INACTIVITY}
    assert len(list((tmp_path / "ground" / "files" / ".incoming").iterdir())) <= 64
