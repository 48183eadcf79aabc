"""The other implementation, ``cfdp-py``, at the other end: in both directions, with losses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.cfdp import Bounds, CfdpEntity, Timing, TransactionLog

cfdppy = pytest.importorskip("cfdppy", reason="needs cfdp-py: pip install cfdp-py==0.7.0")

from cfdppy.defs import CfdpState  # noqa: E402
from cfdppy.exceptions import (  # noqa: E402
    InvalidDestinationId,
    InvalidSourceId,
    InvalidTransactionSeqNum,
    NoRemoteEntityConfigFound,
    PduIgnoredForDest,
    PduIgnoredForSource,
)
from cfdppy.handler.dest import DestHandler, LostSegmentTracker  # noqa: E402
from cfdppy.handler.source import SourceHandler  # noqa: E402
from cfdppy.mib import (  # noqa: E402
    CheckTimerProvider,
    DefaultFaultHandlerBase,
    IndicationConfig,
    LocalEntityConfig,
    RemoteEntityConfig,
    RemoteEntityConfigTable,
)
from cfdppy.request import PutRequest  # noqa: E402
from cfdppy.user import CfdpUserBase  # noqa: E402
from spacepackets.cfdp import ChecksumType, TransmissionMode  # noqa: E402
from spacepackets.cfdp.pdu import PduFactory  # noqa: E402
from spacepackets.countdown import Countdown  # noqa: E402
from spacepackets.seqcount import SeqCountProvider  # noqa: E402
from spacepackets.util import ByteFieldU8  # noqa: E402

OURS, THEIRS = 1, 2
PERIOD_S = 0.03
REFUSED = (
    PduIgnoredForDest,
    PduIgnoredForSource,
    InvalidDestinationId,
    InvalidSourceId,
    InvalidTransactionSeqNum,
    NoRemoteEntityConfigFound,
)


class Faults(DefaultFaultHandlerBase):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def notice_of_suspension_cb(self, transaction_id: Any, cond: Any, progress: int) -> None:
        self.seen.append(cond)

    notice_of_cancellation_cb = abandoned_cb = ignore_cb = notice_of_suspension_cb


class User(CfdpUserBase):
    def __init__(self) -> None:
        super().__init__()
        self.finished: list[Any] = []

    def transaction_finished_indication(self, params: Any) -> None:
        self.finished.append(params.finished_params)

    def _ignore(self, *args: object, **kwargs: object) -> None:
        """Of no interest here."""

    transaction_indication = eof_sent_indication = metadata_recv_indication = _ignore
    file_segment_recv_indication = report_indication = suspended_indication = resumed_indication = _ignore
    fault_indication = abandoned_indication = eof_recv_indication = _ignore


class Timers(CheckTimerProvider):
    def provide_check_timer(self, local_entity_id: Any, remote_entity_id: Any, entity_type: Any) -> Countdown:
        return Countdown.from_seconds(10 * PERIOD_S)


def peer(kind: type, user: User, *extra: object) -> Any:
    local = LocalEntityConfig(ByteFieldU8(THEIRS), IndicationConfig(), Faults())
    remote = RemoteEntityConfig(
        entity_id=ByteFieldU8(OURS),
        max_file_segment_len=900,
        max_packet_len=1000,
        closure_requested=True,
        crc_on_transmission=False,
        default_transmission_mode=TransmissionMode.ACKNOWLEDGED,
        crc_type=ChecksumType.CRC_32,
        positive_ack_timer_interval_seconds=PERIOD_S,
        positive_ack_timer_expiration_limit=100,
        nak_timer_interval_seconds=PERIOD_S,
        nak_timer_expiration_limit=100,
    )
    return kind(local, user, RemoteEntityConfigTable([remote]), Timers(), *extra)


def feed(handler: Any, raw: bytes | None) -> list[bytes]:
    """Run the other implementation once, and take what it has to say."""
    with suppress(REFUSED):
        handler.state_machine(None if raw is None else PduFactory.from_raw(raw))
    said = []
    while (holder := handler.get_next_packet()) is not None:
        said.append(bytes(holder.pdu.pack()))
    return said


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[CfdpEntity]:
    timing = Timing(ack_s=PERIOD_S, ack_limit=100, nak_s=PERIOD_S, nak_limit=100)
    with ExitStack() as stack:
        log = stack.enter_context(closing(TransactionLog(tmp_path / "ours.sqlite")))
        entity = CfdpEntity(OURS, tmp_path / "in", log, timing=timing, bounds=Bounds(pdu_byte=1000))
        yield stack.enter_context(closing(entity))


def exchange(ours: CfdpEntity, theirs: Any, loss_frac: float, ended: Callable[[], bool], seed: int) -> None:
    rng = np.random.default_rng(seed)
    until_s = time.monotonic() + 20
    while not ended():
        assert time.monotonic() < until_s, "the two do not come to an end"
        raw = ours.take(1000, time.monotonic())
        said = feed(theirs, None)
        if raw is not None and rng.random() >= loss_frac:
            said += feed(theirs, raw)
        for answer in said:
            if rng.random() >= loss_frac:
                ours.insert(answer, time.monotonic())
        ours.tick(time.monotonic())


@pytest.mark.parametrize(("loss_frac", "size_byte"), [(0.0, 50_000), (0.0, 1), (0.1, 30_000), (0.2, 20_000)])
def test_our_sender_and_their_receiver(ours: CfdpEntity, tmp_path: Path, loss_frac: float, size_byte: int) -> None:
    expected = np.random.default_rng(1).bytes(size_byte)
    source = tmp_path / "source.bin"
    source.write_bytes(expected)
    user = User()
    receiver = peer(DestHandler, user)
    receiver._params.acked_params.lost_seg_tracker = LostSegmentTracker()  # one for all handlers as it comes
    target = tmp_path / "theirs.bin"
    # an absolute name is what their file store wants; ours would refuse to receive it
    ours.send(source, "placeholder", THEIRS)
    next(iter(ours._senders.values()))[0]._names = ("source.bin", str(target))
    exchange(ours, receiver, loss_frac, lambda: bool(ours.reports), seed=4)
    assert ours.reports[0].good
    assert target.read_bytes() == expected


@pytest.mark.parametrize(("loss_frac", "size_byte"), [(0.0, 50_000), (0.0, 1), (0.1, 30_000), (0.2, 20_000)])
def test_their_sender_and_our_receiver(ours: CfdpEntity, tmp_path: Path, loss_frac: float, size_byte: int) -> None:
    expected = np.random.default_rng(2).bytes(size_byte)
    source = tmp_path / "source.bin"
    source.write_bytes(expected)
    user = User()
    sender = peer(SourceHandler, user, SeqCountProvider(16))
    sender.put_request(
        PutRequest(ByteFieldU8(OURS), source, Path("got.bin"), TransmissionMode.ACKNOWLEDGED, closure_requested=True)
    )
    exchange(ours, sender, loss_frac, lambda: sender.state == CfdpState.IDLE, seed=5)
    assert (tmp_path / "in" / "got.bin").read_bytes() == expected
    assert user.finished[0].condition_code == 0
    assert [report.good for report in ours.reports] == [True]


@pytest.mark.parametrize("size_byte", [1, 50_000])
def test_our_class_1_sender_and_their_receiver(ours: CfdpEntity, tmp_path: Path, size_byte: int) -> None:
    expected = np.random.default_rng(3).bytes(size_byte)
    source = tmp_path / "source.bin"
    source.write_bytes(expected)
    user = User()
    receiver = peer(DestHandler, user)
    target = tmp_path / "theirs.bin"
    ours.send(source, "placeholder", THEIRS, acknowledged=False)
    next(iter(ours._senders.values()))[0]._names = ("source.bin", str(target))
    said: list[bytes] = []
    while (raw := ours.take(1000, time.monotonic())) is not None:
        said += feed(receiver, raw)
    said += feed(receiver, None)
    assert target.read_bytes() == expected
    assert user.finished[0].condition_code == 0
    assert said == []
    assert [(report.verdict, report.confirmed) for report in ours.reports] == [(0, False)]


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("size_byte", [1, 50_000])
def test_their_class_1_sender_and_our_receiver(ours: CfdpEntity, tmp_path: Path, size_byte: int, closure: bool) -> None:
    expected = np.random.default_rng(4).bytes(size_byte)
    source = tmp_path / "source.bin"
    source.write_bytes(expected)
    sender = peer(SourceHandler, User(), SeqCountProvider(16))
    unacknowledged = TransmissionMode.UNACKNOWLEDGED
    sender.put_request(
        PutRequest(ByteFieldU8(OURS), source, Path("got.bin"), unacknowledged, closure_requested=closure)
    )
    answers: list[bytes] = []
    for _ in range(1000):
        for raw in feed(sender, None):
            ours.insert(raw, time.monotonic())
        while (answer := ours.take(1000, time.monotonic())) is not None:
            answers.append(answer)
            feed(sender, answer)
        if sender.state == CfdpState.IDLE:
            break
    assert (tmp_path / "in" / "got.bin").read_bytes() == expected
    assert [report.good for report in ours.reports] == [True]
    assert len(answers) == int(closure)
