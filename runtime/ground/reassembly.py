"""Joins a payload that was cut into several packets; bounded, whatever arrives."""

from __future__ import annotations

from collections import OrderedDict

from spacepackets.ccsds.spacepacket import SequenceFlags

MAX_SEGMENTS = 512


class Reassembler:
    """Holds segments by their unwrapped number until an unbroken run from first to last is there."""

    def __init__(self) -> None:
        self._parts: OrderedDict[int, tuple[SequenceFlags, bytes]] = OrderedDict()
        self.dropped = 0
        """Segments given up because too many waited."""

    def insert(self, number: int, flags: SequenceFlags, data: bytes) -> bytes | None:
        """Add a segment; return the whole payload where it completes one."""
        if flags == SequenceFlags.UNSEGMENTED:
            return data
        self._parts[number] = (flags, data)
        while len(self._parts) > MAX_SEGMENTS:
            self._parts.popitem(last=False)
            self.dropped += 1
        first = self._walk(number, -1, SequenceFlags.FIRST_SEGMENT)
        last = self._walk(number, +1, SequenceFlags.LAST_SEGMENT)
        if first is None or last is None:
            return None
        return b"".join(self._parts.pop(part)[1] for part in range(first, last + 1))

    def _walk(self, number: int, step: int, end: SequenceFlags) -> int | None:
        """The number of the segment with flags ``end`` that an unbroken run leads to."""
        while (part := self._parts.get(number)) is not None:
            if part[0] == end:
                return number
            number += step
        return None
