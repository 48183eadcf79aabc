"""The receiving side of one CFDP transaction, class 2 or 1. Writes through a sink; knows no clock and no link.

In class 1 nothing is asked for: what is still missing some time after the EOF fails the transfer (4.6.3.3: the check
limit), and nothing is answered unless the sender wants to know the end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from .checksum import KNOWN, NULL
from .pdus import (
    ACTIVE,
    TERMINATED,
    Ack,
    Condition,
    Eof,
    FileData,
    Finished,
    Header,
    KeepAlive,
    Metadata,
    Nak,
    Pdu,
    Prompt,
    encode,
)
from .segments import SegmentSet
from .sender import ENDED, Phase, Timing
from .timer import Timer


class Sink(Protocol):
    """Where the file grows."""

    def write(self, offset: int, data: bytes) -> None:
        """Keep a stretch of it."""
        ...

    def checksum(self, kind: int, size_byte: int, name: str) -> int:
        """The checksum of what is kept, or was already kept under ``name`` before a reboot."""
        ...

    def keep(self, name: str, size_byte: int) -> bool:
        """Make the file durable under ``name``; False where that name is not allowed."""
        ...

    def discard(self) -> None:
        """Throw away what is kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a receiver accepts."""

    file_byte: int = 1 << 30
    holes: int = 100_000
    pdu_byte: int = 1024
    """The longest PDU that it sends; a NAK that would be longer becomes several."""


class FileReceiver:
    """Receives one file; ``insert`` what comes, ``take`` what is to go out, ``tick`` the time."""

    def __init__(self, header: Header, sink: Sink, timing: Timing, bounds: Bounds) -> None:
        self.header = header
        self.phase = Phase.ACTIVE
        self.verdict: Finished | None = None
        self.held = SegmentSet()
        self.metadata: Metadata | None = None
        self.why_suspended = ""
        self._sink = sink
        self._bounds = bounds
        self._eof: Eof | None = None
        self._due: deque[Pdu] = deque()
        self._activity = Timer(timing.inactivity_s, 0)
        self._nak_timer = Timer(timing.nak_s, timing.nak_limit)
        self._finished_timer = Timer(timing.ack_s, timing.ack_limit)

    @property
    def complete(self) -> bool:
        """All of the file is here."""
        size_byte = self._known_size_byte()
        return self.metadata is not None and self._eof is not None and self.held.covers(0, size_byte)

    def state(self) -> dict[str, Any]:
        """What has to survive a reboot, as plain values."""
        return {
            "held": self.held.ranges,
            "metadata": None
            if self.metadata is None
            else [
                self.metadata.size_byte,
                self.metadata.source_name,
                self.metadata.dest_name,
                self.metadata.checksum_type,
                self.metadata.closure,
            ],
            "eof": None if self._eof is None else [self._eof.condition, self._eof.checksum, self._eof.size_byte],
            "verdict": None
            if self.verdict is None
            else [self.verdict.condition, self.verdict.complete, self.verdict.retained],
            "phase": self.phase.value,
        }

    def restore(self, state: dict[str, Any], *, anew: bool = False) -> None:
        """Go on from a ``state`` of before.

        ``anew`` says that nothing of the file is left where it grew. Then it has moved, if its map is whole;
        if it is not, the map is of no use, and everything is asked for again.
        """
        self.held = SegmentSet((start, end) for start, end in state["held"])
        self.metadata = None if state["metadata"] is None else Metadata(*state["metadata"])
        if state["eof"] is not None:
            condition, checksum, size_byte = state["eof"]
            self._eof = Eof(Condition(condition), checksum, size_byte)
        if state["verdict"] is not None:
            condition, complete, retained = state["verdict"]
            self.verdict = Finished(Condition(condition), complete, retained)
        self.phase = Phase(state["phase"])
        if anew and self.verdict is None and not self.complete:
            self.held.clear()
        if self.phase is Phase.ACTIVE:
            self._conclude()

    def insert(self, pdu: Pdu, now_s: float) -> None:
        """Take one PDU of the sender; what is not allowed ends the transaction with its reason."""
        if self.phase is Phase.SUSPENDED:
            self.resume()
        self._activity.start(now_s)
        if self.phase in ENDED:
            self._repeat_verdict(pdu)
        elif self.verdict is not None:
            self._after_verdict(pdu, now_s)
        elif isinstance(pdu, Metadata):
            self._take_metadata(pdu)
        elif isinstance(pdu, FileData):
            self._take_data(pdu, now_s)
        elif isinstance(pdu, Eof):
            self._take_eof(pdu, now_s)
        elif isinstance(pdu, Prompt):
            self._answer(pdu)
        if self.phase is Phase.ACTIVE and self.verdict is None:
            self._conclude()

    def take(self) -> bytes | None:
        """The next PDU to send, or None. A suspended transaction keeps what is due."""
        if self.phase is Phase.SUSPENDED or not self._due:
            return None
        return encode(self.header, self._due.popleft())

    def tick(self, now_s: float) -> None:
        """Let time pass: ask again for what is missing, say again that it is finished, and fall silent at last."""
        if self.phase is not Phase.ACTIVE:
            return
        if self.verdict is not None:
            if self._finished_timer.due_s is None:
                self._finished_timer.start(now_s)
            if self._finished_timer.ran_out(now_s):
                self._repeat(self._finished_timer, [self.verdict], "the sender does not acknowledge the end")
        elif self._eof is None:
            if self._activity.due_s is None:
                self._activity.start(now_s)
            if self._activity.ran_out(now_s):
                self.suspend("nothing comes")
        else:
            if self._nak_timer.due_s is None:
                self._nak_timer.start(now_s)
            if not self.header.acknowledged:
                if self._nak_timer.ran_out(now_s) and self._nak_timer.exhausted:
                    self._fail(Condition.CHECK_LIMIT)
            elif self._nak_timer.ran_out(now_s):
                self._repeat(self._nak_timer, self._missing(self._known_size_byte()), "what is missing does not come")

    def suspend(self, why: str) -> None:
        """Stand still until something comes; nothing is forgotten."""
        if self.phase is Phase.ACTIVE:
            self.phase = Phase.SUSPENDED
            self.why_suspended = why
            for timer in (self._activity, self._nak_timer, self._finished_timer):
                timer.stop()

    def give_up(self) -> None:
        """Fail a class 1 transfer of which nothing comes any more; class 2 goes on whenever something does."""
        if not self.header.acknowledged and self.verdict is None:
            self._fail(Condition.INACTIVITY)

    def resume(self) -> None:
        """Go on."""
        if self.phase is Phase.SUSPENDED:
            self.phase = Phase.ACTIVE
            self.why_suspended = ""

    def _take_metadata(self, pdu: Metadata) -> None:
        if self.metadata is not None:
            return
        if pdu.size_byte > self._bounds.file_byte:
            self._fail(Condition.FILE_SIZE_ERROR)
        elif pdu.checksum_type not in KNOWN:
            self._fail(Condition.UNSUPPORTED_CHECKSUM)
        else:
            self.metadata = pdu

    def _take_data(self, pdu: FileData, now_s: float) -> None:
        end = pdu.offset + len(pdu.data)
        limit_byte = self._known_size_byte() if self._eof else self._bounds.file_byte
        if end > limit_byte or len(self.held) > self._bounds.holes:
            self._fail(Condition.FILE_SIZE_ERROR)
            return
        if not self.held.covers(pdu.offset, end):
            self._sink.write(pdu.offset, pdu.data)
            self.held.add(pdu.offset, end)
            if self._eof is not None:
                self._nak_timer.start(now_s)

    def _take_eof(self, pdu: Eof, now_s: float) -> None:
        self._reply(Ack(True, pdu.condition, ACTIVE))
        if pdu.condition is not Condition.NONE:
            readable = pdu.condition is not Condition.INVALID_STRUCTURE  # spacepackets cannot read that in a Finished
            self._fail(pdu.condition if readable else Condition.CANCELLED)
            return
        if pdu.size_byte > self._bounds.file_byte or self.held.end > pdu.size_byte:
            self._fail(Condition.FILE_SIZE_ERROR)
            return
        self._eof = pdu
        if not self.complete:
            self._reply(*self._missing(pdu.size_byte))
            self._nak_timer.start(now_s)

    def _answer(self, prompt: Prompt) -> None:
        if prompt.keep_alive:
            self._reply(KeepAlive(self.held.end))
        elif not self.complete:
            self._reply(*self._missing(self._known_size_byte() if self._eof else self.held.end))

    def _missing(self, end: int) -> list[Pdu]:
        """NAKs for everything missing up to ``end``, each within the longest PDU allowed."""
        requests = [(0, 0)] if self.metadata is None else []
        requests += self.held.gaps(0, end)
        width_byte = 16 if self.header.large else 8
        fixed_byte = self.header.data_overhead_byte + 1 + width_byte
        room = max(1, (self._bounds.pdu_byte - fixed_byte) // width_byte)
        parts = [requests[at : at + room] for at in range(0, len(requests), room)] or [[]]
        edges = [0, *(part[-1][1] for part in parts[:-1]), end]
        return [Nak(edges[at], edges[at + 1], tuple(part)) for at, part in enumerate(parts)]

    def _conclude(self) -> None:
        """Verify and keep the file once it is complete."""
        if not self.complete or self.verdict is not None or self.metadata is None or self._eof is None:
            return
        kind, size_byte = self.metadata.checksum_type, self._eof.size_byte
        if kind != NULL and self._sink.checksum(kind, size_byte, self.metadata.dest_name) != self._eof.checksum:
            self._fail(Condition.CHECKSUM_FAILURE)
        elif self._sink.keep(self.metadata.dest_name, size_byte):
            self._end(Finished(Condition.NONE, True, True))
        else:
            self._fail(Condition.FILESTORE_REJECTION)

    def _fail(self, condition: Condition) -> None:
        self._sink.discard()
        self._end(Finished(condition, False, False))

    def _end(self, verdict: Finished) -> None:
        self.verdict = verdict
        if self.header.acknowledged or (self.metadata is not None and self.metadata.closure):
            self._due.append(verdict)
        if not self.header.acknowledged:
            self.phase = Phase.DONE if verdict.complete else Phase.FAILED

    def _reply(self, *pdus: Pdu) -> None:
        if self.header.acknowledged:
            self._due.extend(pdus)

    def _after_verdict(self, pdu: Pdu, now_s: float) -> None:
        """Wait for the acknowledgement of the verdict, and repeat it where the sender seems not to have it."""
        assert self.verdict is not None
        if isinstance(pdu, Ack) and not pdu.of_eof:
            self.phase = Phase.DONE if self.verdict.complete else Phase.FAILED
            self._due.clear()
        elif isinstance(pdu, (Eof, Prompt)):
            if isinstance(pdu, Eof):
                self._due.append(Ack(True, pdu.condition, TERMINATED))
            self._due.append(self.verdict)
            self._finished_timer.start(now_s)

    def _repeat_verdict(self, pdu: Pdu) -> None:
        """The transaction is over; a sender that does not know it is told again."""
        if isinstance(pdu, Eof):
            self._reply(Ack(True, pdu.condition, TERMINATED))
        if isinstance(pdu, (Eof, Prompt)) and self.verdict is not None:
            self._reply(self.verdict)

    def _repeat(self, timer: Timer, pdus: list[Pdu], why: str) -> None:
        if timer.exhausted:
            self.suspend(why)
        else:
            self._due.extend(pdus)

    def _known_size_byte(self) -> int:
        return self._eof.size_byte if self._eof is not None else 0
