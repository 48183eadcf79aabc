"""A line stream as a frame that grows: one thread takes lines in while another cuts tiles from those that came."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from io import IOBase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError
from ..frame import BoolArray, Patch, read_square
from ..georeference import Box, pixel_size_m
from ..records import TileArray
from .lines import ByteSource, StreamCounts, StreamHeader, read_header, read_lines
from .scaling import Physical, to_uint8

MAX_GAP_LINE = 100_000
"""A jump in line numbers beyond this is taken for damage."""


class LineFrame:
    """The frame of one line stream. Holds ``buffer_line`` lines, whatever the stream's length.

    Lines may come ``reorder_line`` places late. When the buffer is full the reader waits (a file, a pipe), or, with
    ``drop``, lets lines go and counts them (a sensor that cannot be stopped). Lines that never came are invalid pixels.
    """

    def __init__(
        self,
        source: ByteSource,
        *,
        buffer_line: int = 2048,
        reorder_line: int = 16,
        drop: bool = False,
        owns_source: bool = False,
        tile_dtype: str = "uint8",
    ) -> None:
        self.tile_dtype = tile_dtype
        self._header = read_header(source)
        self._counts = StreamCounts()
        self._buffer_line = buffer_line
        self._reorder_line = reorder_line
        self._drop = drop
        self._owned = source if owns_source else None
        header = self._header
        self._lines: NDArray[Any] = np.zeros((len(header.bands), buffer_line, header.width_px), header.dtype)
        self._present = np.zeros(buffer_line, dtype=bool)
        self._base = 0  # lowest line still held
        self._ready = 0  # lines below this do not change any more
        self._newest = -1
        self._complete = False
        self._closed = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._take_all, args=(source,), name="lines", daemon=True)
        self._reader.start()

    @property
    def header(self) -> StreamHeader:
        """What the stream says of itself."""
        return self._header

    @property
    def counts(self) -> StreamCounts:
        """What became of the lines so far."""
        with self._changed:
            return replace(self._counts)

    @property
    def frame_id(self) -> str:
        """As the header says."""
        return self._header.frame_id

    @property
    def width_px(self) -> int:
        """Columns."""
        return self._header.width_px

    @property
    def height_px(self) -> int:
        """Lines that have come and can be read."""
        return self._ready

    @property
    def bands(self) -> tuple[str, ...]:
        """As the header says."""
        return self._header.bands

    @property
    def dtype(self) -> str:
        """As the header says."""
        return self._header.dtype

    @property
    def georeference(self) -> Any:
        """As the header says."""
        return self._header.georeference

    @property
    def gsd_m(self) -> float | None:
        """At the first line; the frame's middle is not known before its end."""
        place = self._header.georeference
        return None if place is None else pixel_size_m(place, 2, self.width_px)

    @property
    def captured_unix_s(self) -> float | None:
        """Of the first line."""
        return self._header.start_unix_s

    def wait_for(self, rows_px: int) -> int:
        """See ``GrowingFrame.wait_for``."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready >= rows_px or self._complete)
            return self._ready

    def release(self, row_px: int) -> None:
        """See ``GrowingFrame.release``."""
        with self._changed:
            for line in range(self._base, min(row_px, self._ready)):
                self._present[line % self._buffer_line] = False
            self._base = max(self._base, min(row_px, self._ready))
            self._changed.notify_all()

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        """Pixels of lines that are held; see ``Frame.window``."""
        with self._changed:
            if box.row_px < self._base or box.row_px + box.rows_px > self._ready:
                raise FrameError(
                    f"Lines {box.row_px} to {box.row_px + box.rows_px} of {self.frame_id} are not held "
                    f"(those from {self._base} to {self._ready} are). Enlarge the buffer or cut smaller tiles."
                )
        slots = np.arange(box.row_px, box.row_px + box.rows_px) % self._buffer_line
        raw = self._lines[:, slots, box.col_px : box.col_px + box.cols_px][list(bands)]
        present = self._present[slots]
        valid = None if present.all() else np.repeat(present[:, None], box.cols_px, axis=1)
        if self.tile_dtype == "float32":
            return _physical(raw, valid)
        pixels = to_uint8(raw, self._header.value_range)
        if valid is not None:
            pixels[:, ~present] = 0
        return Patch(pixels, valid)

    def read(self, row_px: int, col_px: int, edge_px: int, bands: Sequence[int]) -> TileArray:
        """A square tile; see ``Frame.read``."""
        return read_square(self, row_px, col_px, edge_px, bands).pixels

    def close(self) -> None:
        """Stop taking lines in. The source stays open unless the frame was told to own it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if isinstance(self._owned, IOBase):
            self._reader.join()
            self._owned.close()

    def __enter__(self) -> LineFrame:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take_all(self, source: ByteSource) -> None:
        """The reader's life: a source that breaks or is closed ends the frame."""
        with suppress(OSError, ValueError):
            for number, samples in read_lines(source, self._header, self._counts):
                if not self._take(number, samples):
                    break
        with self._changed:
            self._settle(self._newest + 1)
            self._complete = True
            self._changed.notify_all()

    def _take(self, number: int, samples: NDArray[Any]) -> bool:
        """Put one line into its place; False once closed."""
        with self._changed:
            if number > self._newest + MAX_GAP_LINE:
                self._counts.damaged += 1
                return True
            while number >= self._base + self._buffer_line and not self._closed:
                self._settle(min(number + 1 - self._reorder_line, self._base + self._buffer_line))
                self._newest = max(self._newest, self._ready - 1)
                self._changed.notify_all()
                if self._drop:
                    self._counts.dropped += 1
                    return True
                self._changed.wait()
            if self._closed:
                return False
            slot = number % self._buffer_line
            if number < self._base or (number < self._ready and not self._present[slot]):
                self._counts.late += 1
            elif self._present[slot]:
                self._counts.duplicate += 1
            else:
                self._lines[:, slot], self._present[slot] = samples, True
                self._counts.lines += 1
                self._newest = max(self._newest, number)
                self._settle(self._newest + 1 - self._reorder_line)
                self._changed.notify_all()
            return True

    def _settle(self, ready: int) -> None:
        """Lines below ``ready`` are as they will be; those that follow without a gap are too."""
        fixed = max(self._ready, ready)
        while (
            fixed <= self._newest
            and fixed < self._base + self._buffer_line
            and self._present[fixed % self._buffer_line]
        ):
            fixed += 1
        slots = np.arange(self._ready, fixed) % self._buffer_line
        self._counts.missing += int(np.count_nonzero(~self._present[slots]))
        self._ready = fixed


def _physical(raw: NDArray[Any], valid: BoolArray | None) -> Patch:
    """Lines as they were sent; those that never came are NaN."""
    count = len(raw)
    values = Physical((1.0,) * count, (0.0,) * count, None).of(raw, range(count))
    if valid is not None:
        values[:, ~valid] = np.nan
    return Patch(values, valid)
