"""Push-broom lines cut into frames while they arrive: every so many lines become one GeoTIFF for the inbox."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError
from ..frames import RANGE_TAG
from ..frames.lines import ByteSource, StreamCounts, StreamHeader, read_header, read_lines
from ..gdal import gdal_errors, one_line

REORDER_LINE = 16
"""A block is closed once a line came from so far beyond its end; lines later than that are lost."""


@dataclass(frozen=True, slots=True, eq=False)
class LineBlock:
    """Lines ``first`` and up. ``samples``: (bands, rows, width) of the header's dtype; ``came``: (rows,) bool."""

    header: StreamHeader
    first: int
    samples: NDArray[Any]
    came: NDArray[np.bool_]


def blocks(source: ByteSource, rows: int) -> Iterator[LineBlock]:
    """Yield the stream in blocks of ``rows`` lines by their numbers; the last one ends with its last line.

    Holds two blocks at most. Raises ``FrameError`` for what is no line stream.
    """
    header = read_header(source)
    held: dict[int, LineBlock] = {}
    closed = -1
    for number, samples in read_lines(source, header, StreamCounts()):
        index = number // rows
        if index <= closed:
            continue
        if index not in held:
            shape = len(header.bands), rows, header.width_px
            held[index] = LineBlock(header, index * rows, np.zeros(shape, header.dtype), np.zeros(rows, dtype=bool))
        held[index].samples[:, number % rows] = samples
        held[index].came[number % rows] = True
        for done in sorted(key for key in held if number >= (key + 1) * rows + REORDER_LINE):
            closed = done
            yield held.pop(done)
    for index in sorted(held):
        yield _trimmed(held[index])


def write_block(path: Path, block: LineBlock) -> None:
    """Write a block as a GeoTIFF with the bands' names, its place, its value range; lines that never came are masked.

    Raises ``FrameError`` where it cannot be written.
    """
    import rasterio
    from rasterio.transform import Affine

    header, (count, rows, width) = block.header, block.samples.shape
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": header.dtype, "count": count, "height": rows, "width": width}
    place = header.georeference
    if place is not None and place.affine is not None:
        a, b, c, d, e, f = place.affine
        moved = Affine(a, b, c + b * block.first, d, e, f + e * block.first)
        profile |= {"crs": place.crs_wkt, "transform": moved}
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore")  # a frame without a place is fine
            with rasterio.open(path, "w", **profile) as target:
                target.write(block.samples)
                target.descriptions = header.bands
                target.update_tags(**_tags(header, block.first))
                if not block.came.all():
                    target.write_mask(np.repeat(block.came[:, None], width, axis=1))
    except gdal_errors() as error:
        raise FrameError(f"{path} cannot be written: {one_line(error)}. Free space.") from error


def _tags(header: StreamHeader, first: int) -> dict[str, str]:
    tags = {"SUBSOLAR_LINES": f"{header.frame_id}:{first}"}
    if header.value_range is not None:
        tags[RANGE_TAG] = "{:g},{:g}".format(*header.value_range)
    if header.start_unix_s is not None:
        moment = datetime.fromtimestamp(header.start_unix_s, timezone.utc)
        tags["TIFFTAG_DATETIME"] = moment.strftime("%Y:%m:%d %H:%M:%S")
    return tags


def _trimmed(block: LineBlock) -> LineBlock:
    last = int(np.flatnonzero(block.came)[-1]) + 1
    return LineBlock(block.header, block.first, block.samples[:, :last], block.came[:last])
