"""A link without a way back: everything goes down, nothing is waited for, and nothing counts as delivered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from runtime.cfdp import BOARD_ID, CfdpEntity, TransactionLog
from runtime.downlink import ChipOutbox, DownlinkSession, Rules
from runtime.downlink.chips import png
from runtime.errors import MissionError
from runtime.ground.receiver import Receiver
from runtime.ground.station import finish, opened
from runtime.records import Product
from runtime.store import ProductStore


class DeafLink:
    """Ends in a station whose answers nobody hears, and that nobody may wait for."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.answers: list[bytes] = []

    def send(self, packet: bytes) -> None:
        self.answers += self._receiver.insert(packet)

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        raise AssertionError("nothing can come")

    def close(self) -> None:
        """Nothing to give back."""


def test_products_go_down_as_often_as_asked_and_pictures_once_and_none_counts_as_delivered(
    tmp_path: Path, store: ProductStore, make_slot: Callable[..., tuple[object, ...]]
) -> None:
    record, outcomes, products = make_slot(0, 30)
    store.commit_slot(record, outcomes, products)  # type: ignore[arg-type]
    best: Product = products[3]  # type: ignore[index]
    pixels = np.arange(40 * 40, dtype=np.uint32).reshape(1, 40, 40).astype(np.uint8)
    rules = Rules(one_way=True, repeats=2)
    with (
        closing(TransactionLog(tmp_path / "cfdp.sqlite")) as log,
        closing(CfdpEntity(BOARD_ID, tmp_path / "uplinked", log)) as files,
        opened(tmp_path / "ground") as (archive, receiver),
    ):
        outbox = ChipOutbox(tmp_path / "outbox", files)
        outbox.offer(best, pixels, value=0.5)
        link = DeafLink(receiver)
        passes = []
        for slot in range(3):
            session = DownlinkSession(store, link, files=files, rules=rules, clock=lambda: 0.0)
            passes.append(session.run_pass(slot, 100_000))
            outbox.settle(passes[-1].files)
        receiver.commit()
        finish(tmp_path / "ground", archive, receiver)
        assert archive.count() == 30
    assert [(one.sent_product, one.sent_file) for one in passes] == [(30, 1), (30, 0), (0, 0)]
    assert not any(one.silent or one.delivered_product or one.delivered_file for one in passes)
    assert "1 sent and not confirmed" in passes[0].text
    counts = store.counts()
    assert (counts.sent_product, counts.delivered_product, store.backlog()[0]) == (30, 0, 30)
    assert outbox.waiting_file == 0
    assert [path.read_bytes() for path in (tmp_path / "ground" / "files" / "pictures").iterdir()] == [png(pixels)]
    assert link.answers == []


@pytest.mark.parametrize(("key", "value"), [("one_way", 1), ("one_way", "yes"), ("repeats", 0), ("repeats", 1.5)])
def test_what_a_one_way_link_cannot_be_is_named(key: str, value: object) -> None:
    with pytest.raises(MissionError, match=key):
        Rules.from_table({key: value})


def test_a_mission_file_can_say_that_nothing_comes_back() -> None:
    rules = Rules.from_table({"one_way": True, "repeats": 5})
    assert (rules.one_way, rules.repeats) == (True, 5)
