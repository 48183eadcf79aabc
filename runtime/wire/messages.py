"""The two short messages beside the products: what the ground acknowledges, and how the spacecraft is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from .codec import MAX_NUMBER, MalformedError, Reader, Writer
from .fields import Field, decode_fields, encode_fields

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
    writer.pack("BQH", ACK_VERSION, acknowledgement.transfer, acknowledgement.prompt)
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
    version, transfer, prompt = (int(number) for number in reader.unpack("BQH"))
    if transfer > MAX_NUMBER:
        raise MalformedError("number", f"transfer {transfer}")
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


HOUSEKEEPING_VERSION = 1
HOUSEKEEPING_FIELDS = (
    Field("version", "B", "version of this layout"),
    Field("slot", "I", "number of the time slot"),
    Field("charge_frac", "H", "charge of the battery at the start of the last slot, 1 is full", scale=1 / 0xFFFF),
    Field("temperature_c", "h", "temperature of the compute module", unit="degC", scale=0.01),
    Field("backlog_product", "I", "products that are not yet delivered"),
    Field("backlog_byte", "I", "what they take on the link", unit="B"),
    Field("delivered_product", "I", "products delivered since the start of the mission"),
    Field("shed_product", "I", "products given up for want of room since the start of the mission"),
)


def encode_housekeeping(state: Housekeeping) -> bytes:
    """The fields of ``HOUSEKEEPING_FIELDS``; what does not fit its field is capped."""
    return encode_fields(HOUSEKEEPING_FIELDS, {"version": HOUSEKEEPING_VERSION, **asdict(state)})


def decode_housekeeping(data: bytes) -> Housekeeping:
    """The state in ``data``; raises MalformedError for anything else."""
    values = decode_fields(HOUSEKEEPING_FIELDS, data)
    if values.pop("version") != HOUSEKEEPING_VERSION:
        raise MalformedError("version", "housekeeping of another version")
    whole = {name: int(value) for name, value in values.items() if name not in ("charge_frac", "temperature_c")}
    return Housekeeping(charge_frac=values["charge_frac"], temperature_c=values["temperature_c"], **whole)
