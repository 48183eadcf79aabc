"""The sending side of one CFDP transaction, class 2 or 1. No input, no output, no clock: bytes and times are handed in.

What it keeps from pass to pass is little: after a gap it sends the EOF first, the receiver answers with all that it
lacks, and only that goes out. So it needs no record of what has arrived, and a reboot costs one round trip.
Class 1 sends everything once, begins anew after a reboot, and never learns what has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from .checksum import CRC_32
from .pdus import (
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
from .timer import Timer

SMALLEST_DATA_BYTE = 64


class Source(Protocol):
    """The file to send."""

    @property
    def size_byte(self) -> int:
        """Its length."""
        ...

    @property
    def checksum(self) -> int:
        """Its CRC-32."""
        ...

    def read(self, offset: int, size_byte: int) -> bytes:
        """A stretch of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Timers of both sides, in seconds of contact: between passes they stand still."""

    ack_s: float = 5.0
    ack_limit: int = 3
    nak_s: float = 5.0
    nak_limit: int = 5
    """Without progress in between."""
    inactivity_s: float = 120.0
    """After so long without anything from a sender that has not come to its end, its receiver stands still."""
    prompts: bool = True
    """Ask for the next NAK as soon as what was missing has been sent again."""


class Phase(Enum):
    """Where a transaction stands."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    SENT = "sent"
    """Class 1: all of it has gone out, and nobody will say whether it has arrived."""
    DONE = "done"
    FAILED = "failed"


ENDED = frozenset({Phase.SENT, Phase.DONE, Phase.FAILED})


class FileSender:
    """Sends ``source``; ``take`` what is to go out, ``insert`` what comes back, ``tick`` the time."""

    def __init__(
        self, header: Header, source: Source, names: tuple[str, str], timing: Timing, *, resumed: bool = False
    ) -> None:
        resumed = resumed and header.acknowledged
        self.header = header
        self.phase = Phase.ACTIVE
        self.verdict = Condition.NONE
        self.why_suspended = ""
        self._source = source
        self._names = names
        self._timing = timing
        self._progress = source.size_byte if resumed else 0
        self._requests = SegmentSet()
        self._metadata_due = not resumed
        self._eof_due = resumed
        self._eof_sent = resumed
        self._prompt_due = False
        self._progress_due = False
        self._repairing = False
        self._finished: Finished | None = None
        self._cancelled = Condition.NONE
        self._timer = Timer(timing.ack_s, timing.ack_limit)

    @property
    def waiting(self) -> bool:
        """Everything is sent; it is the receiver's turn."""
        return self.phase is Phase.ACTIVE and self._eof_sent and not self._has_due()

    @property
    def left_byte(self) -> int:
        """What is still to be sent, as far as is known."""
        return self._source.size_byte - self._progress + self._requests.total_byte

    def take(self, room_byte: int, now_s: float) -> bytes | None:
        """The next PDU of at most ``room_byte``, or None where nothing is due or fits."""
        if self.phase is Phase.SUSPENDED:
            return None
        pdu = self._next(room_byte)
        if pdu is None:
            return None
        raw = encode(self.header, pdu)
        if len(raw) > room_byte:
            return None
        self._note_sent(pdu, now_s)
        return raw

    def insert(self, pdu: Pdu, now_s: float) -> None:
        """Take what the receiver says."""
        if not self.header.acknowledged or (self.phase in ENDED and not isinstance(pdu, Finished)):
            return
        if self.phase is Phase.SUSPENDED and not isinstance(pdu, Finished):
            self.resume(now_s, ask=False)
        if isinstance(pdu, Nak):
            self._request(pdu)
        elif isinstance(pdu, Ack) and pdu.of_eof:
            self._eof_due = False
        elif isinstance(pdu, Finished):
            self._finished = pdu
        elif not isinstance(pdu, (KeepAlive, Ack)):
            return
        self._timer.start(now_s)

    def tick(self, now_s: float) -> None:
        """Let time pass: what was not answered is sent again, and a silent receiver suspends the transaction."""
        if self._timer.due_s is None and self.waiting:
            self._timer.start(now_s)
        if not self.waiting or not self._timer.ran_out(now_s):
            return
        if self._timer.exhausted:
            self.suspend("the receiver does not answer")
        else:
            self._eof_due = True

    def suspend(self, why: str) -> None:
        """Stand still, for instance until the next pass."""
        if self.phase is Phase.ACTIVE:
            self.phase = Phase.SUSPENDED
            self.why_suspended = why
            self._timer.stop()

    def resume(self, now_s: float, *, ask: bool = True) -> None:
        """Go on. With ``ask``, an EOF that was sent before goes out again, so that the receiver says what it lacks."""
        if self.phase is not Phase.SUSPENDED:
            return
        self.phase = Phase.ACTIVE
        self.why_suspended = ""
        self._timer.start(now_s)
        if ask and self._eof_sent and self._finished is None:
            self._eof_due = True

    def cancel(self, condition: Condition = Condition.CANCELLED) -> None:
        """Give up and tell the receiver."""
        if self.phase in (Phase.ACTIVE, Phase.SUSPENDED):
            self.phase = Phase.ACTIVE
            self._cancelled = condition
            self._requests.clear()
            self._progress = self._source.size_byte
            self._metadata_due = self._prompt_due = False
            self._eof_due = True

    def ask_progress(self) -> None:
        """Ask the receiver to show that it keeps up, before more is sent."""
        self._progress_due = True

    def _has_due(self) -> bool:
        return bool(
            self._finished
            or self._metadata_due
            or self._requests
            or self._progress < self._source.size_byte
            or self._eof_due
            or self._prompt_due
        )

    def _next(self, room_byte: int) -> Pdu | None:
        if self._finished is not None:
            return Ack(False, self._finished.condition, TERMINATED)
        if self.phase is not Phase.ACTIVE:
            return None
        if self._metadata_due:
            return Metadata(self._source.size_byte, *self._names, CRC_32, closure=self.header.acknowledged)
        if self._progress_due:
            return Prompt(keep_alive=True)
        room_byte -= self.header.data_overhead_byte
        if self._requests or self._progress < self._source.size_byte:
            return self._next_data(room_byte) if room_byte >= SMALLEST_DATA_BYTE else None
        if self._eof_due or not self._eof_sent:
            return Eof(self._cancelled, self._source.checksum, self._source.size_byte)
        return Prompt(keep_alive=False) if self._prompt_due else None

    def _next_data(self, room_byte: int) -> FileData:
        if self._requests:
            start, end = self._requests.take(room_byte)
        else:
            start, end = self._progress, min(self._progress + room_byte, self._source.size_byte)
            self._progress = end
        return FileData(start, self._source.read(start, end - start))

    def _note_sent(self, pdu: Pdu, now_s: float) -> None:
        if isinstance(pdu, Metadata):
            self._metadata_due = False
        elif isinstance(pdu, Eof):
            self._eof_due, self._eof_sent, self._prompt_due = False, True, False
            self._repairing = False
            if not self.header.acknowledged:
                self._leave()
                return
        elif isinstance(pdu, Prompt):
            self._prompt_due = self._prompt_due and pdu.keep_alive
            self._progress_due = False
        elif isinstance(pdu, Ack):
            self._end()
        if self._repairing and not self._requests and not self._metadata_due:
            self._repairing = False
            self._prompt_due = self._timing.prompts and self._eof_sent
        if self._timer.due_s is None or not self._timer.tries:
            self._timer.start(now_s)

    def _end(self) -> None:
        assert self._finished is not None
        good = self._finished.condition is Condition.NONE and self._finished.complete and self._finished.retained
        self.phase = Phase.DONE if good else Phase.FAILED
        self.verdict = self._finished.condition
        if not good and self.verdict is Condition.NONE:
            self.verdict = Condition.CHECKSUM_FAILURE
        self._finished = None
        self._timer.stop()

    def _leave(self) -> None:
        """The end of class 1, whatever has arrived."""
        self.phase = Phase.FAILED if self._cancelled else Phase.SENT
        self.verdict = self._cancelled
        self._timer.stop()

    def _request(self, nak: Nak) -> None:
        if self._cancelled:
            return
        for start, end in nak.requests:
            if (start, end) == (0, 0):
                self._metadata_due = True
            else:
                self._requests.add(min(start, self._progress), min(end, self._progress))
        self._repairing = bool(self._requests) or self._metadata_due
