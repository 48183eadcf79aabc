"""GeoTIFFs of plain strips, uncompressed, read straight from the file instead of through GDAL.

GDAL sends every strip of every band through its block cache, which costs more than the pixels where a strip is a row.
Its own ways around that are no way: GTIFF_DIRECT_IO takes what lies behind the end of a file for pixels, and
GTIFF_VIRTUAL_MEM_IO ends the process where a file shrinks or a disk fails. TIFF 6.0, sections 2 and 8; BigTIFF.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..georeference import Box
from ..scratch import Scratch

_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}
"""numpy's names of the types of whole numbers."""
_ENTRY_LIMIT = 4096
_STRIP_LIMIT = 4_000_000
_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _OFFSETS = 258, 259, 262, 266, 273
_SAMPLES, _ROWS_PER_STRIP, _COUNTS, _PLANAR = 277, 278, 279, 284
_NO_COMPRESSION, _GREY_TO_PALETTE, _CHUNKY = 1, (0, 1, 2, 3), 1
Tags = dict[int, NDArray[Any]]


class PlainStrips:
    """The samples of one file. Not for use by two threads at once."""

    def __init__(self, descriptor: int, layout: _Layout) -> None:
        self._descriptor = descriptor
        self._layout = layout
        self._scratch = Scratch(most=2)

    def read(self, box: Box, bands: Sequence[int]) -> NDArray[Any]:
        """(bands, rows, cols) stored values of a window; a view of memory that is used again once it is let go.

        Raises ``OSError`` where the file ends early.
        """
        layout = self._layout
        planes = [0] if layout.chunky else list(bands)
        whole_rows = box.cols_px * 2 >= layout.width_px
        left, cols = (box.col_px, layout.width_px) if whole_rows else (0, box.cols_px)
        raw = self._scratch.take((len(planes), box.rows_px, cols, layout.samples), layout.dtype)
        for plane, into in zip(planes, raw, strict=True):
            place = memoryview(into.reshape(-1).view(np.uint8))
            self._rows(plane, box, place) if whole_rows else self._parts(plane, box, place)
        found = raw[:, :, left : left + box.cols_px]
        return found[0].transpose(2, 0, 1)[_picked(bands)] if layout.chunky else found[..., 0]

    def close(self) -> None:
        """Release the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _rows(self, plane: int, box: Box, into: memoryview) -> None:
        """Whole rows, as many at once as lie behind each other."""
        size = self._layout.row_byte
        for start, stop, at in self._layout.runs(plane, box.row_px, box.row_px + box.rows_px):
            self._fill(into[(start - box.row_px) * size : (stop - box.row_px) * size], at)

    def _parts(self, plane: int, box: Box, into: memoryview) -> None:
        """Of each row what the window shows."""
        pixel_byte = self._layout.samples * self._layout.dtype.itemsize
        size, skip = box.cols_px * pixel_byte, box.col_px * pixel_byte
        for number in range(box.rows_px):
            at = self._layout.row_at(plane, box.row_px + number) + skip
            self._fill(into[number * size : (number + 1) * size], at)

    def _fill(self, into: memoryview, at: int) -> None:
        while into:
            count = os.preadv(self._descriptor, [into], at)
            if count == 0:
                raise OSError(f"the file ends before byte {at}")
            into, at = into[count:], at + count


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Where the samples lie."""

    width_px: int
    height_px: int
    samples: int
    """That lie together: all bands, or one."""
    chunky: bool
    dtype: np.dtype[Any]
    rows_per_strip: int
    offsets: NDArray[np.int64]
    """(planes, strips): bytes from the start of the file."""

    @property
    def row_byte(self) -> int:
        """Of one plane."""
        return self.width_px * self.samples * self.dtype.itemsize

    def row_at(self, plane: int, row_px: int) -> int:
        """Where a row begins."""
        strip, within = divmod(row_px, self.rows_per_strip)
        return int(self.offsets[plane, strip]) + within * self.row_byte

    def runs(self, plane: int, start_px: int, stop_px: int) -> Iterator[tuple[int, int, int]]:
        """First row, row after the last, and place in the file, of rows that lie behind each other there."""
        first, last = start_px // self.rows_per_strip, (stop_px - 1) // self.rows_per_strip
        steps = np.diff(self.offsets[plane, first : last + 1])
        breaks = first + 1 + np.flatnonzero(steps != self.rows_per_strip * self.row_byte)
        edges = [start_px, *(int(strip) * self.rows_per_strip for strip in breaks), stop_px]
        for start, stop in pairwise(edges):
            yield start, stop, self.row_at(plane, start)


def plain_strips(file: Path, dataset: Any) -> PlainStrips | None:
    """A reader for ``file``, which ``dataset`` is open on; None where GDAL is to read it: whatever is not plain, cut
    short, or stored out of the ordinary.
    """
    rows, cols = dataset.block_shapes[0]
    if dataset.driver != "GTiff" or dataset.compression is not None or cols != dataset.width or rows == 0:
        return None
    if not hasattr(os, "preadv"):
        return None
    with file.open("rb") as opened:
        try:
            order, tags = _tags(opened)
            layout = _layout(order, tags, dataset, os.fstat(opened.fileno()).st_size)
        except (struct.error, LookupError, ValueError, ArithmeticError):
            return None
        return None if layout is None else PlainStrips(os.dup(opened.fileno()), layout)


def _layout(order: str, tags: Tags, dataset: Any, file_byte: int) -> _Layout | None:
    """The layout that the tags describe, None unless all of it is plain and in the file, and as GDAL understands it."""
    dtype = np.dtype(order + np.dtype(dataset.dtypes[0]).str[1:])
    chunky = int(tags.get(_PLANAR, np.array([_CHUNKY]))[0]) == _CHUNKY
    samples = dataset.count if chunky else 1
    rows_per_strip = min(int(tags.get(_ROWS_PER_STRIP, np.array([dataset.height]))[0]), dataset.height)
    strips, planes = -(-dataset.height // rows_per_strip), 1 if chunky else dataset.count
    offsets, counts = (tags[tag].astype(np.int64).reshape(planes, strips) for tag in (_OFFSETS, _COUNTS))
    layout = _Layout(dataset.width, dataset.height, samples, chunky, dtype, rows_per_strip, offsets)
    rows = np.full(strips, rows_per_strip)
    rows[-1] = dataset.height - (strips - 1) * rows_per_strip
    plain = (
        int(tags.get(_COMPRESSION, np.array([_NO_COMPRESSION]))[0]) == _NO_COMPRESSION
        and int(tags[_PHOTOMETRIC][0]) in _GREY_TO_PALETTE
        and int(tags.get(_FILL_ORDER, np.array([1]))[0]) == 1
        and int(tags.get(_SAMPLES, np.array([1]))[0]) == dataset.count
        and set(tags[_BITS].tolist()) == {dtype.itemsize * 8}
        and bool((counts == rows * layout.row_byte).all())
        and bool(((offsets > 0) & (offsets + counts <= file_byte)).all())
    )
    return layout if plain else None


def _tags(file: BinaryIO) -> tuple[str, Tags]:
    """Byte order, and the whole numbers of the first directory by tag."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    (version,) = struct.unpack_from(order + "H", head, 2)
    big = {42: False, 43: True}[version]
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    file.seek(at)
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    if count > _ENTRY_LIMIT:
        raise ValueError(count)
    size, word = (20, "Q") if big else (12, "I")
    entries, room = file.read(count * size), struct.calcsize(word)
    found: Tags = {}
    for start in range(0, count * size, size):
        tag, kind, many = struct.unpack_from(order + "HH" + word, entries, start)
        if kind not in _TYPES or not 0 < many <= _STRIP_LIMIT:
            continue
        dtype = np.dtype(order + _TYPES[kind])
        value = entries[start + size - room : start + size]
        if many * dtype.itemsize > room:
            file.seek(struct.unpack(order + word, value)[0])
            value = file.read(many * dtype.itemsize)
        found[tag] = np.frombuffer(value, dtype, many)
    return order, found


def _picked(bands: Sequence[int]) -> slice | list[int]:
    """Bands as a slice where they follow each other: that costs no copy."""
    if list(bands) == list(range(bands[0], bands[0] + len(bands))):
        return slice(bands[0], bands[0] + len(bands))
    return list(bands)
