"""Products as bytes: self-contained batches with a small string table; losing a packet loses only its products.

Layout (big-endian), version 1:

    u8   version << 4 | flags (1: acknowledge now)      u64 transfer      u16 index of the batch within the transfer
    i64  capture time of the first product, Unix ms     u16 strings       u16 products
    strings, then products: id, slot, five string numbers (kind, label, frame, package, package hash), f32 score,
    f32 value, capture time as ms after the first, row, column, edge, polygon corners in micro-degrees, each as the
    step from the last

A label with its footprint takes 45 to 60 bytes. ``truth`` is a test's knowledge and stays on board.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ..records import Footprint, Product
from .codec import MAX_NUMBER, MalformedError, Reader, Writer

VERSION = 1
HEAD = "BQHqHH"
HEAD_BYTE = struct.calcsize(">" + HEAD)
PROMPT = 1
MICRO = 1_000_000
MAX_CORNER = 4096
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999, which a date can say."""
MAX_TEXT_BYTE = 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """Products that travel together. ``transfer`` is never used twice, by no store; ``index`` counts within it."""

    transfer: int
    index: int
    products: tuple[Product, ...]
    prompt: bool = False
    """Asks the ground to acknowledge now."""


class BatchBuilder:
    """Collects products while they fit; knows its encoded size at every moment."""

    def __init__(self, transfer: int, index: int) -> None:
        self.transfer = transfer
        self.index = index
        self.products: list[Product] = []
        self.size_byte = HEAD_BYTE
        self._strings: dict[str, int] = {}
        self._table = Writer()
        self._records = Writer()
        self._base_ms = 0

    def add(self, product: Product, room_byte: int) -> int:
        """Add ``product`` if it takes at most ``room_byte`` more bytes; return what it took, 0 if it stays outside."""
        if not self.products:
            self._base_ms = _milliseconds(product)
        new, numbers = self._number(product)
        table, record = Writer(), Writer()
        for text in new:
            table.text(text)
        _write_record(record, product, numbers, self._base_ms)
        cost_byte = len(table.buffer) + len(record.buffer)
        if cost_byte > room_byte:
            return 0
        for text in new:
            self._strings[text] = len(self._strings)
        self._table.buffer += table.buffer
        self._records.buffer += record.buffer
        self.products.append(product)
        self.size_byte += cost_byte
        return cost_byte

    def encode(self, *, prompt: bool = False) -> bytes:
        """The batch as bytes, ``size_byte`` long."""
        head = Writer()
        flags = VERSION << 4 | (PROMPT if prompt else 0)
        head.pack(HEAD, flags, self.transfer, self.index, self._base_ms, len(self._strings), len(self.products))
        return bytes(head.buffer + self._table.buffer + self._records.buffer)

    def _number(self, product: Product) -> tuple[list[str], list[int]]:
        new: list[str] = []
        numbers: list[int] = []
        for text in _shared(product):
            number = self._strings.get(text)
            if number is None:
                if text not in new:
                    new.append(text)
                number = len(self._strings) + new.index(text)
            numbers.append(number)
        return new, numbers


def size_byte(product: Product) -> int:
    """What ``product`` takes in a batch whose string table already holds its names: its price in the queue."""
    record = Writer()
    _write_record(record, product, [0, 1, 2, 3, 4], _milliseconds(product))
    return len(record.buffer)


def encode_batch(transfer: int, index: int, products: Iterable[Product], *, prompt: bool = False) -> bytes:
    """All of ``products`` as one batch, however long."""
    builder = BatchBuilder(transfer, index)
    for product in products:
        builder.add(product, room_byte=1 << 30)
    return builder.encode(prompt=prompt)


def decode_batch(data: bytes) -> Batch:
    """The batch in ``data``; raises MalformedError with a reason for anything that is not exactly one."""
    reader = Reader(data)
    flags, transfer, index, base_ms, strings, count = (int(number) for number in reader.unpack(HEAD))
    if flags >> 4 != VERSION:
        raise MalformedError("version", f"batch version {flags >> 4}")
    if transfer > MAX_NUMBER:
        raise MalformedError("number", f"transfer {transfer}")
    if strings + count > reader.left_byte:
        raise MalformedError("truncated", f"{strings} strings and {count} products announced")
    table = [reader.text(MAX_TEXT_BYTE) for _ in range(strings)]
    products = tuple(_read_record(reader, table, base_ms) for _ in range(count))
    if reader.left_byte:
        raise MalformedError("trailing", f"{reader.left_byte} bytes after the last product")
    return Batch(transfer, index, products, prompt=bool(flags & PROMPT))


def unfit(product: Product) -> str:
    """Why ``product`` cannot be stored or sent, or an empty string where it can."""
    if not (math.isfinite(product.score) and math.isfinite(product.value) and math.isfinite(product.captured_unix_s)):
        return "its score, value or time is not finite"
    if not FIRST_MS <= _milliseconds(product) <= LAST_MS:
        return "its time is outside the years 1 to 9999"
    if min(product.slot, product.row_px, product.col_px, product.edge_px) < 0:
        return "its slot or window is negative"
    names = (product.product_id, *_shared(product))
    if any(len(name.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTE for name in names):
        return f"one of its names is longer than {MAX_TEXT_BYTE} bytes"
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        return "one of its names is not valid Unicode"
    return _unfit_ring(product.footprint)


def _unfit_ring(footprint: Footprint | None) -> str:
    if footprint is None:
        return ""
    if not 4 <= len(footprint.ring_deg) <= MAX_CORNER:
        return f"its footprint has {len(footprint.ring_deg)} corners"
    if not all(abs(lon) <= 360 and abs(lat) <= 90 for lon, lat in footprint.ring_deg):
        return "its footprint leaves the Earth"
    return ""


def _shared(product: Product) -> tuple[str, ...]:
    return product.kind, product.label, product.frame_id, product.package_id, product.package_sha256


def _milliseconds(product: Product) -> int:
    return round(product.captured_unix_s * 1000)


def _write_record(writer: Writer, product: Product, numbers: list[int], base_ms: int) -> None:
    writer.text(product.product_id)
    writer.varint(product.slot)
    for number in numbers:
        writer.varint(number)
    writer.pack("ff", product.score, product.value)
    writer.signed(_milliseconds(product) - base_ms)
    for window_px in (product.row_px, product.col_px, product.edge_px):
        writer.varint(window_px)
    _write_ring(writer, product.footprint)


def _write_ring(writer: Writer, footprint: Footprint | None) -> None:
    if footprint is None:
        writer.varint(0)
        return
    ring = [(round(lon * MICRO), round(lat * MICRO)) for lon, lat in footprint.ring_deg]
    corners = ring[:-1] if ring[0] == ring[-1] else ring
    writer.varint(len(corners))
    last = (0, 0)
    for corner in corners:
        writer.signed(corner[0] - last[0])
        writer.signed(corner[1] - last[1])
        last = corner


def _read_record(reader: Reader, table: list[str], base_ms: int) -> Product:
    product_id = reader.text(MAX_TEXT_BYTE)
    slot = reader.varint()
    kind, label, frame_id, package_id, package_sha256 = (_string(reader, table) for _ in range(5))
    score, value = reader.unpack("ff")
    if not product_id or not (math.isfinite(score) and math.isfinite(value)):
        raise MalformedError("number", "a product without an identity or with a score that is no number")
    captured_ms = base_ms + reader.signed(1 << 50)
    if not FIRST_MS <= captured_ms <= LAST_MS:
        raise MalformedError("time", f"captured at {captured_ms} ms")
    row_px, col_px, edge_px = (reader.varint() for _ in range(3))
    return Product(
        product_id=product_id,
        slot=slot,
        kind=kind,
        label=label,
        score=score,
        value=value,
        footprint=_read_ring(reader),
        captured_unix_s=captured_ms / 1000,
        frame_id=frame_id,
        row_px=row_px,
        col_px=col_px,
        edge_px=edge_px,
        package_id=package_id,
        package_sha256=package_sha256,
    )


def _string(reader: Reader, table: list[str]) -> str:
    number = reader.varint()
    if number >= len(table):
        raise MalformedError("string", f"string {number} of {len(table)}")
    return table[number]


def _read_ring(reader: Reader) -> Footprint | None:
    count = reader.varint()
    if count == 0:
        return None
    if not 3 <= count <= MAX_CORNER:
        raise MalformedError("geometry", f"{count} corners")
    lon = lat = 0
    ring: list[tuple[float, float]] = []
    for _ in range(count):
        lon += reader.signed(720 * MICRO)
        lat += reader.signed(180 * MICRO)
        if abs(lon) > 360 * MICRO or abs(lat) > 90 * MICRO:
            raise MalformedError("geometry", "a corner outside the Earth")
        ring.append((lon / MICRO, lat / MICRO))
    return Footprint((*ring, ring[0]))


def prompted(payload: bytes) -> bytes:
    """The same batch, asking the ground to acknowledge now."""
    return bytes((payload[0] | PROMPT,)) + payload[1:]
