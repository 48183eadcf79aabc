"""An uplink with a key: what was not sent by who holds it changes nothing on board."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runtime.cfdp import BOARD_ID, CfdpEntity, TransactionLog
from runtime.cfdp.pdus import Condition, Finished, Header, TransactionId, encode
from runtime.downlink import ChipOutbox, DownlinkSession
from runtime.errors import LinkError
from runtime.ground.direct import DirectLink
from runtime.ground.station import opened
from runtime.store import ProductStore
from runtime.wire.messages import Acknowledgement, encode_acknowledgement
from runtime.wire.packets import Apid, build, parse
from runtime.wire.seal import Seal, build_sealed, unsealed

KEY, OTHER = Seal(bytes(range(32))), Seal(bytes(32))
MakeSlot = Callable[..., tuple[object, ...]]


class Forger:
    """A link on which somebody else answers everything that is asked."""

    def __init__(self, answer: Callable[[int], bytes], transfer: Callable[[], int]) -> None:
        self._answer = answer
        self._transfer = transfer

    def send(self, packet: bytes) -> None:
        """Nobody takes it."""

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        return self._answer(self._transfer()) if timeout_s else None

    def close(self) -> None:
        """Nothing to give back."""


def all_arrived(transfer: int) -> bytes:
    return encode_acknowledgement(Acknowledgement(transfer, 0, ((0, 1000),)))


@pytest.mark.parametrize(("board", "forger", "delivered"), [(None, None, 20), (KEY, None, 0), (KEY, OTHER, 0)])
def test_a_forged_answer_makes_the_spacecraft_drop_products_only_where_there_is_no_key(
    store: ProductStore, make_slot: MakeSlot, board: Seal | None, forger: Seal | None, delivered: int
) -> None:
    store.commit_slot(*make_slot(0, 20))  # type: ignore[arg-type]
    ticks = iter(range(1000))
    link = Forger(
        lambda transfer: build_sealed(forger, Apid.ACKNOWLEDGE, 1, all_arrived(transfer)),
        lambda: store.open_transfers()[0],
    )
    session = DownlinkSession(store, link, seal=board, clock=lambda: float(next(ticks)))
    session.run_pass(0, 100_000)
    assert store.counts().delivered_product == delivered
    assert bool(session.rejected["mac"]) is (board is not None)


def test_with_the_same_key_on_both_sides_products_and_pictures_arrive(
    tmp_path: Path, store: ProductStore, make_slot: MakeSlot
) -> None:
    record, outcomes, products = make_slot(0, 20)
    store.commit_slot(record, outcomes, products)  # type: ignore[arg-type]
    with (
        closing(TransactionLog(tmp_path / "cfdp.sqlite")) as log,
        closing(CfdpEntity(BOARD_ID, tmp_path / "uplinked", log)) as files,
        opened(tmp_path / "ground", KEY) as (_, receiver),
    ):
        outbox = ChipOutbox(tmp_path / "outbox", files)
        outbox.offer_file("a-chip.png", b"picture", 1.0)
        session = DownlinkSession(store, DirectLink(receiver), files=files, seal=KEY, clock=lambda: 0.0)
        report = session.run_pass(0, 100_000)
        assert (report.delivered_product, report.delivered_file) == (20, 1)
        stranger = DownlinkSession(store, DirectLink(receiver), files=files, seal=OTHER, clock=lambda: 0.0)
        store.commit_slot(*make_slot(1, 20))  # type: ignore[arg-type]
        assert stranger.run_pass(1, 100_000).delivered_product == 0
        assert stranger.rejected["mac"] > 0


def test_a_forged_end_of_a_file_is_refused(tmp_path: Path, store: ProductStore) -> None:
    with (
        closing(TransactionLog(tmp_path / "cfdp.sqlite")) as log,
        closing(CfdpEntity(BOARD_ID, tmp_path / "uplinked", log)) as files,
    ):
        ChipOutbox(tmp_path / "outbox", files).offer_file("a-chip.png", b"picture", 1.0)
        header = Header(TransactionId(BOARD_ID, files.outgoing()[0].sequence), 2)
        forged = build(Apid.FILES_UP, 1, encode(header, Finished(Condition.NONE, True, True)))
        session = DownlinkSession(store, Forger(lambda _: forged, lambda: 0), files=files, seal=KEY)
        session._read(forged)
        assert session.rejected["mac"] == 1
        assert files.take(1000, 0.0) is not None
        assert files.open_files == 1


def test_every_bit_counts_and_the_code_of_one_kind_is_not_that_of_another() -> None:
    good = build_sealed(KEY, Apid.ACKNOWLEDGE, 1, b"data")
    assert unsealed(KEY, parse(good)) == b"data"
    body = parse(good).data
    for bit in range(8 * len(body)):
        bad = bytearray(body)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="mac"):
            unsealed(KEY, parse(build(Apid.ACKNOWLEDGE, 1, bytes(bad))))
    for packet in (build(Apid.FILES_UP, 1, body), build(Apid.ACKNOWLEDGE, 1, b"short")):
        with pytest.raises(ValueError, match="mac"):
            unsealed(KEY, parse(packet))


def test_the_code_is_the_one_that_openssl_gives() -> None:
    """Of the bytes 01 A0 and the text: ``openssl dgst -sha256 -mac HMAC -macopt hexkey:000102...1f``, the left half."""
    assert KEY.mac(Apid.ACKNOWLEDGE, b"what do ya want for nothing?").hex() == "c06b55645fdc9e89fd202c84f7ead105"


@pytest.mark.parametrize(("text", "words"), [("zz", "holds no key"), ("00ff", "has 2 bytes"), (None, "Cannot read")])
def test_a_file_that_is_no_key_is_refused_without_showing_it(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "link.key"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LinkError, match=words) as refused:
        Seal.from_file(path)
    assert text is None or f"'{text}'" not in str(refused.value)
    assert "00" * 3 not in repr(Seal(bytes(32)))


def test_a_key_is_read_as_openssl_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "link.key"
    path.write_text(bytes(range(32)).hex() + "\n")
    assert Seal.from_file(path) == KEY
