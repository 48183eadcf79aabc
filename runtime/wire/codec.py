"""Bytes in and out: varints, signed varints, short strings. Every read is bounds-checked and says why it refused."""

from __future__ import annotations

import struct

MAX_NUMBER = 2**63 - 1
"""No number that is received and kept is greater: SQLite keeps signed ones of 64 bits."""


class MalformedError(ValueError):
    """Received bytes do not mean anything; ``reason`` is one word of a fixed list, for counting."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Writer:
    """Appends fields to a buffer."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def varint(self, value: int) -> None:
        """LEB128: seven bits a byte, low bits first; ``value`` is 0 or more."""
        while value > 0x7F:
            self.buffer.append(value & 0x7F | 0x80)
            value >>= 7
        self.buffer.append(value)

    def signed(self, value: int) -> None:
        """Zigzag varint: small magnitudes of either sign stay short."""
        self.varint(value << 1 if value >= 0 else (-value << 1) - 1)

    def pack(self, layout: str, *values: float) -> None:
        """Append ``values`` in big-endian ``struct`` layout."""
        self.buffer += struct.pack(">" + layout, *values)

    def text(self, value: str) -> None:
        """A string, length first. Lower-case hexadecimal takes half its length; a bit of the length tells which."""
        raw, is_hex = _compact(value)
        self.varint(len(raw) << 1 | is_hex)
        self.buffer += raw


class Reader:
    """Takes fields off a buffer; raises MalformedError('truncated') where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left_byte(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise MalformedError("truncated", f"{count} bytes wanted, {self.left_byte} left")
        part = self._data[self._at : end]
        self._at = end
        return part

    def varint(self, limit: int = 0xFFFF_FFFF) -> int:
        """An unsigned number of at most nine bytes that does not exceed ``limit``."""
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise MalformedError("number", "varint longer than nine bytes")
        if value > limit:
            raise MalformedError("number", f"{value} is above {limit}")
        return value

    def signed(self, limit: int = 0xFFFF_FFFF) -> int:
        """A zigzag number of at most ``limit`` in magnitude."""
        raw = self.varint(2 * limit)
        return (raw >> 1) ^ -(raw & 1)

    def unpack(self, layout: str) -> tuple[float, ...]:
        """Numbers in big-endian ``struct`` layout."""
        layout = ">" + layout
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self, limit: int = 512) -> str:
        """A string of at most ``limit`` bytes."""
        head = self.varint(2 * limit + 1)
        raw = self.take(head >> 1)
        if head & 1:
            return raw.hex()
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedError("text", "not UTF-8") from error


_HEX = frozenset("0123456789abcdef")


def _compact(value: str) -> tuple[bytes, int]:
    if value and len(value) % 2 == 0 and _HEX.issuperset(value):
        return bytes.fromhex(value), 1
    return value.encode("utf-8"), 0
