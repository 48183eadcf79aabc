"""Raw push-broom lines: a stream that grows while its tiles are already being inferred.

The format, in full (all numbers little-endian):

    magic      8 bytes  ``SUBSLN1\\n``
    length     uint32   of the header that follows, at most 65536
    header     JSON     {"frame_id", "width_px", "bands": [names], "dtype": "uint8"|"uint16"|"float32",
                         "value_range": [low, high] (needed unless uint8), "start_unix_s": number or absent,
                         "place": {"crs": text, "affine": [a, b, c, d, e, f]} or absent}
    then, for each line:
    sync       uint32   0x1ACFFC1D, the attached sync marker of CCSDS 131.0-B
    number     uint32   of the line, from 0
    crc        uint32   CRC-32 of the line's number (4 bytes) and payload
    payload    bands x width samples, band after band

The line ``number`` 0xFFFFFFFF, without a payload and with crc 0, ends the stream; so does the end of the file.
A reader that meets anything else looks for the next sync marker.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError
from ..georeference import MapGeoreference

MAGIC = b"SUBSLN1\n"
SYNC = 0x1ACFFC1D
LAST = 0xFFFFFFFF
_RECORD = struct.Struct("<III")
_SYNC_BYTES = struct.pack("<I", SYNC)
_HEADER_LIMIT_BYTE, _LINE_LIMIT_BYTE = 65_536, 64 * 2**20
DTYPES = ("uint8", "uint16", "float32")


class ByteSource(Protocol):
    """Where bytes come from: a file, a pipe, a socket's file."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """What a line stream says of itself."""

    frame_id: str
    width_px: int
    bands: tuple[str, ...]
    dtype: str
    value_range: tuple[float, float] | None = None
    start_unix_s: float | None = None
    georeference: MapGeoreference | None = None

    @property
    def line_byte(self) -> int:
        """Payload of one line."""
        return self.width_px * len(self.bands) * np.dtype(self.dtype).itemsize

    def to_bytes(self) -> bytes:
        """Magic, length and JSON."""
        place = self.georeference
        table = {
            "frame_id": self.frame_id,
            "width_px": self.width_px,
            "bands": list(self.bands),
            "dtype": self.dtype,
            "value_range": self.value_range,
            "start_unix_s": self.start_unix_s,
            "place": None if place is None else {"crs": place.crs_wkt, "affine": place.affine},
        }
        text = json.dumps(table).encode()
        return MAGIC + struct.pack("<I", len(text)) + text


def line_record(number: int, samples: NDArray[Any]) -> bytes:
    """One line as it goes over the wire. ``samples``: (bands, width) of the header's dtype."""
    payload = np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder("<")).tobytes()
    return _RECORD.pack(SYNC, number, _checksum(number, payload)) + payload


def end_record() -> bytes:
    """The record that ends a stream."""
    return _RECORD.pack(SYNC, LAST, 0)


def read_header(source: ByteSource) -> StreamHeader:
    """Parse the header. Raises ``FrameError`` naming what is wrong with it."""
    start = _exactly(source, len(MAGIC) + 4)
    if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 4:
        raise FrameError(f"This is no line stream (it starts with {start[:8]!r}). See docs/pipeline.md for the format.")
    (length,) = struct.unpack_from("<I", start, len(MAGIC))
    if length > _HEADER_LIMIT_BYTE:
        raise FrameError(f"The line stream's header claims {length} bytes; {_HEADER_LIMIT_BYTE} are allowed. Fix it.")
    try:
        return _header_from(json.loads(_exactly(source, length)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FrameError(f"The line stream's header is wrong: {error!r:.200}. See docs/pipeline.md.") from error


def _header_from(table: dict[str, Any]) -> StreamHeader:
    limits, place = table.get("value_range"), table.get("place")
    start = table.get("start_unix_s")
    header = StreamHeader(
        frame_id=str(table["frame_id"]),
        width_px=int(table["width_px"]),
        bands=tuple(str(name) for name in table["bands"]),
        dtype=str(table["dtype"]),
        value_range=None if limits is None else (float(limits[0]), float(limits[1])),
        start_unix_s=None if start is None else float(start),
        georeference=None if place is None else _place(place),
    )
    if header.dtype not in DTYPES:
        raise ValueError(f"dtype {header.dtype!r}; use one of {', '.join(DTYPES)}")
    if not header.bands or header.width_px < 1 or header.line_byte > _LINE_LIMIT_BYTE:
        raise ValueError(f"{len(header.bands)} bands of {header.width_px} px make no line")
    low, high = header.value_range or (0.0, 255.0)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"value_range {header.value_range} is empty")
    if header.value_range is None and header.dtype != "uint8":
        raise ValueError(f"value_range is missing; {header.dtype} needs one")
    return header


def _place(table: dict[str, Any]) -> MapGeoreference:
    a, b, c, d, e, f = (float(value) for value in table["affine"])
    return MapGeoreference(str(table["crs"]), (a, b, c, d, e, f))


@dataclass
class StreamCounts:
    """What became of a stream, exact to the line."""

    lines: int = 0
    """Taken in."""
    damaged: int = 0
    """Records whose checksum is wrong."""
    skipped_byte: int = 0
    """Bytes between records that belong to none."""
    duplicate: int = 0
    """Lines that had come already."""
    late: int = 0
    """Lines that came after their place had been passed on."""
    missing: int = 0
    """Lines that never came; their pixels are invalid."""
    dropped: int = 0
    """Lines that came while the buffer was full."""


def read_lines(source: ByteSource, header: StreamHeader, counts: StreamCounts) -> Iterator[tuple[int, NDArray[Any]]]:
    """Line numbers and (bands, width) samples as they come; damaged records are counted and left out."""
    dtype, pending, size = np.dtype(header.dtype).newbyteorder("<"), bytearray(), header.line_byte
    while True:
        if not _fill(source, pending, _RECORD.size):
            counts.skipped_byte += len(pending)
            return
        sync, number, crc = _RECORD.unpack_from(pending)
        if sync != SYNC:
            counts.skipped_byte += _to_next_sync(pending)
            continue
        if number == LAST and crc == 0:
            return
        if not _fill(source, pending, _RECORD.size + size):
            counts.skipped_byte += len(pending)
            return
        payload = bytes(pending[_RECORD.size : _RECORD.size + size])
        if _checksum(number, payload) != crc:
            counts.damaged += 1
            del pending[:4]
            counts.skipped_byte += 4 + _to_next_sync(pending)
            continue
        del pending[: _RECORD.size + size]
        yield number, np.frombuffer(payload, dtype=dtype).reshape(len(header.bands), header.width_px)


def _checksum(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<I", number)))


def _to_next_sync(pending: bytearray) -> int:
    """Drop what comes before the next sync marker, but not what may be the start of one; return how much."""
    found = pending.find(_SYNC_BYTES)
    drop = found if found >= 0 else max(len(pending) - 3, 0)
    del pending[:drop]
    return drop


def _fill(source: ByteSource, pending: bytearray, size: int) -> bool:
    while len(pending) < size:
        more = source.read(max(size - len(pending), 65_536) if size - len(pending) > 65_536 else size - len(pending))
        if not more:
            return False
        pending += more
    return True


def _exactly(source: ByteSource, size: int) -> bytes:
    pending = bytearray()
    _fill(source, pending, size)
    return bytes(pending)


def write_stream(header: StreamHeader, lines: Sequence[tuple[int, NDArray[Any]]]) -> bytes:
    """A whole stream in memory, for short ones."""
    return header.to_bytes() + b"".join(line_record(number, samples) for number, samples in lines) + end_record()
