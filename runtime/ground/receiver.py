"""The ground's half of a pass, without a socket: packets in, answers out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..cfdp import CfdpEntity
from ..counting import counted
from ..errors import StoreError
from ..faults import fault
from ..wire.codec import MalformedError
from ..wire.messages import Acknowledgement, decode_housekeeping, encode_acknowledgement, to_ranges
from ..wire.packets import MAX_PACKET_BYTE, OVERHEAD_BYTE, Apid, Packet, parse
from ..wire.payload import Batch, decode_batch
from ..wire.seal import MAC_BYTE, Seal, build_sealed
from .archive import Archive
from .reassembly import Reassembler
from .sequence import SequenceTracker

SHUTDOWN = b"shutdown"
ANSWER = "answer"
"""Kind of the products that answer, or refuse, what the ground has asked."""
KEPT_ANSWERS = 256
COMMIT_EVERY = 256
"""Packets after which what has come is made durable without being asked for."""


class Receiver:
    """Checks, joins and keeps what arrives; refuses the rest and counts why. Any bytes may be inserted."""

    def __init__(
        self,
        archive: Archive,
        files: CfdpEntity | None = None,
        *,
        seal: Seal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With a ``seal``, every answer carries its code."""
        self._seal = seal
        self._archive = archive
        self._files = files
        self._clock = clock
        self._reassembler = Reassembler()
        self._answers = 0
        self._uncommitted = 0
        self.housekeeping: dict[str, Any] | None = None
        """The last state that the spacecraft reported."""
        self.answered: dict[str, str] = {}
        """What the last questions were answered, refusals among them, by the product's identity, since this start."""
        self._store_id: int | None = None
        self._sequence = SequenceTracker()
        self._load(archive.load_state())
        self.ended = False
        """A shutdown packet has come."""

    def insert(self, raw: bytes) -> list[bytes]:
        """Take one packet; return the answers that it asks for, after all they answer for is durable.

        Raises StoreError where the archive cannot be written; the products of that packet are then not acknowledged.
        """
        fault("ground.receive.before_insert")
        self.counts["packets"] += 1
        self.counts["bytes"] += len(raw)
        try:
            return self._accept(parse(raw))
        except MalformedError as error:
            self.rejected[error.reason] += 1
            return []

    def idle(self) -> list[bytes]:
        """Nothing has come for a while: make durable what has, and return what file transfers have to say."""
        self.commit()
        if self._files is None:
            return []
        self._files.checkpoint()
        self._files.tick(self._clock())
        return self._file_answers()

    def commit(self) -> None:
        """Make everything received durable."""
        if not self._uncommitted:
            return
        try:
            self._archive.commit(self._state())
        except StoreError:
            self._load(self._archive.load_state())  # what is counted is what is kept
            raise
        finally:
            self._uncommitted = 0

    def gaps(self) -> tuple[tuple[int, int], ...]:
        """Product packets that have not come, as (first number, count)."""
        return self._sequence.gaps()

    @property
    def missing_packet(self) -> int:
        """How many product packets have not come."""
        return len(self._sequence.missing)

    def line(self) -> str:
        """What has come in, for people."""
        counts, refused = self.counts, sum(self.rejected.values())
        text = f"{counted(counts['packets'], 'packet')}, {counted(counts['products'], 'product')}"
        text += f", {counted(self.missing_packet, 'packet')} missing"
        text += f", {refused} refused" if refused else ""
        text += f", {counted(counts['files'], 'file')}" if counts["files"] else ""
        if self.housekeeping is not None:
            text += f"; slot {self.housekeeping['slot']}, charge {self.housekeeping['charge_frac']:.0%}"
            text += f", {self.housekeeping['backlog_product']} waiting on board"
        return text

    def _accept(self, packet: Packet) -> list[bytes]:
        self._uncommitted += 1
        replies: list[bytes] = []
        if packet.apid == Apid.PRODUCTS:
            replies = self._accept_products(packet)
        elif packet.apid == Apid.PROMPT:
            replies = [self._answer(decode_batch(packet.data))]
        elif packet.apid == Apid.FILES and self._files is not None:
            self._files.insert(packet.data, self._clock())
            replies = self._file_answers()
        elif packet.apid == Apid.HOUSEKEEPING:
            self.housekeeping = asdict(decode_housekeeping(packet.data))
        elif packet.apid == Apid.CONTROL and packet.data == SHUTDOWN:
            self.ended = True
        else:
            raise MalformedError("apid", f"{packet.apid.name} is not for this station")
        if self._uncommitted >= COMMIT_EVERY:
            self.commit()
        return replies

    def _file_answers(self) -> list[bytes]:
        assert self._files is not None
        answers: list[bytes] = []
        while (raw := self._files.take(MAX_PACKET_BYTE - OVERHEAD_BYTE - MAC_BYTE, self._clock())) is not None:
            self._answers += 1
            answers.append(build_sealed(self._seal, Apid.FILES_UP, self._answers, raw))
        for report in self._files.reports:
            self.counts["files" if report.good else "failed_files"] += 1
        self._files.reports.clear()
        return answers

    def _accept_products(self, packet: Packet) -> list[bytes]:
        number = self._sequence.observe(packet.sequence)
        payload = self._reassembler.insert(number, packet.flags, packet.data)
        if payload is None:
            return []
        batch = decode_batch(payload)
        self._note_store(batch, number)
        new = self._archive.insert(batch)
        if new:
            self._note_answers(batch)
        self.counts["products"] += new
        self.counts["duplicates"] += len(batch.products) - new
        return [self._answer(batch)] if batch.prompt else []

    def _note_answers(self, batch: Batch) -> None:
        self.answered.update({one.product_id: one.label for one in batch.products if one.kind == ANSWER})
        for old in list(self.answered)[:-KEPT_ANSWERS]:
            del self.answered[old]

    def _note_store(self, batch: Batch, number: int) -> None:
        """A new store on board counts its packets anew: that is no gap."""
        store_id = batch.transfer >> 32
        if self._store_id not in (None, store_id):
            late, repeated = self._sequence.late, self._sequence.repeated
            self._sequence = SequenceTracker(number + 1)
            self._sequence.late, self._sequence.repeated = late, repeated
        self._store_id = store_id

    def _answer(self, batch: Batch) -> bytes:
        self.commit()
        ranges = to_ranges(self._archive.held(batch.transfer))
        self._answers += 1
        answer = encode_acknowledgement(Acknowledgement(batch.transfer, batch.index, ranges))
        return build_sealed(self._seal, Apid.ACKNOWLEDGE, self._answers, answer)

    def _state(self) -> dict[str, Any]:
        return {
            "store_id": self._store_id,
            "next_number": self._sequence.next_number,
            "gaps": self._sequence.gaps(),
            "late": self._sequence.late,
            "repeated": self._sequence.repeated,
            "counts": dict(self.counts),
            "rejected": dict(self.rejected),
            "housekeeping": self.housekeeping,
        }

    def _load(self, state: dict[str, Any]) -> None:
        missing = (number for first, count in state.get("gaps", ()) for number in range(first, first + count))
        self._store_id = state.get("store_id")
        self._sequence = SequenceTracker(state.get("next_number"), missing)
        self._sequence.late, self._sequence.repeated = state.get("late", 0), state.get("repeated", 0)
        self.counts: Counter[str] = Counter(state.get("counts", {}))
        self.rejected: Counter[str] = Counter(state.get("rejected", {}))
        self.housekeeping = state.get("housekeeping")

    @property
    def late_packet(self) -> int:
        """Packets that came after later ones."""
        return self._sequence.late

    @property
    def repeated_packet(self) -> int:
        """Packets that had been here before."""
        return self._sequence.repeated
