"""The two short messages beside the products: what the ground acknowledges, and how the spacecraft is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .codec import MalformedError, Reader, Writer

ACK_VERSION = 1
MAX_RANGE = 1024
MAX_INDEX = 0xFFFF


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the ground holds of one transfer: batch indices as (first, count), ascending, not touching."""

    transfer: int
    prompt: int
    """The index of the batch that asked, so that a late answer is not taken for a newer one."""
    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and any(first <= index < first + count for first, count in self.ranges)


def encode_acknowledgement(acknowledgement: Acknowledgement) -> bytes:
    """Version, transfer, prompt, and each range as the gap since the last and its length."""
    writer = Writer()
    writer.pack("BIH", ACK_VERSION, acknowledgement.transfer, acknowledgement.prompt)
    writer.varint(len(acknowledgement.ranges))
    last = 0
    for first, count in acknowledgement.ranges:
        writer.varint(first - last)
        writer.varint(count)
        last = first + count
    return bytes(writer.buffer)


def decode_acknowledgement(data: bytes) -> Acknowledgement:
    """The acknowledgement in ``data``; raises MalformedError for anything else."""
    reader = Reader(data)
    version, transfer, prompt = (int(number) for number in reader.unpack("BIH"))
    if version != ACK_VERSION:
        raise MalformedError("version", f"acknowledgement version {version}")
    ranges: list[tuple[int, int]] = []
    last = 0
    for _ in range(reader.varint(MAX_RANGE)):
        first = last + reader.varint(MAX_INDEX)
        count = reader.varint(MAX_INDEX + 1)
        last = first + count
        if count == 0 or last > MAX_INDEX + 1:
            raise MalformedError("range", f"{first} + {count}")
        ranges.append((first, count))
    if reader.left_byte:
        raise MalformedError("trailing", f"{reader.left_byte} bytes after the last range")
    return Acknowledgement(transfer, prompt, tuple(ranges))


def to_ranges(indices: Iterable[int], *, limit: int = MAX_RANGE) -> tuple[tuple[int, int], ...]:
    """Sorted indices as (first, count), at most ``limit`` of them: what an answer leaves out is only sent again.

    >>> to_ranges([4, 0, 1, 2, 9])
    ((0, 3), (4, 1), (9, 1))
    """
    ranges: list[tuple[int, int]] = []
    for index in sorted(set(indices)):
        if ranges and sum(ranges[-1]) == index:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((index, 1))
    return tuple(ranges[:limit])


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """The state of the spacecraft in one line, sent at the start of each pass."""

    slot: int
    charge_frac: float
    temperature_c: float
    backlog_product: int
    backlog_byte: int
    delivered_product: int
    shed_product: int


_HOUSEKEEPING = "BIHhIIII"
HOUSEKEEPING_VERSION = 1


def encode_housekeeping(state: Housekeeping) -> bytes:
    """Fixed layout: charge in 1/65535, temperature in 0.01 degrees, counts capped at 32 bits."""
    writer = Writer()
    counts = (state.backlog_product, state.backlog_byte, state.delivered_product, state.shed_product)
    writer.pack(
        _HOUSEKEEPING,
        HOUSEKEEPING_VERSION,
        state.slot,
        round(_within(state.charge_frac, 0.0, 1.0) * 0xFFFF),
        round(_within(state.temperature_c, -327.0, 327.0) * 100),
        *(min(count, 0xFFFF_FFFF) for count in counts),
    )
    return bytes(writer.buffer)


def decode_housekeeping(data: bytes) -> Housekeeping:
    """The state in ``data``; raises MalformedError for anything else."""
    reader = Reader(data)
    version, slot, charge, temperature, *counts = (int(number) for number in reader.unpack(_HOUSEKEEPING))
    if version != HOUSEKEEPING_VERSION or reader.left_byte:
        raise MalformedError("version", f"housekeeping version {version}, {reader.left_byte} bytes too many")
    return Housekeeping(slot, charge / 0xFFFF, temperature / 100, *counts)


def _within(number: float, low: float, high: float) -> float:
    return min(max(number, low), high) if math.isfinite(number) else low
