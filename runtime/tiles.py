"""Cutting: which windows cover a frame, and their pixels in batches.

Every pixel of the frame lies in exactly one tile's core. Windows never leave the frame unless the frame is smaller than
a tile: the last one in a row or column moves back inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import numpy as np

from .errors import FrameError
from .frame import BoolArray, Frame, Patch, pad_to
from .georeference import Box
from .records import TileArray, TileOutcome, TileRef
from .scratch import Scratch

Filter = Callable[[Patch], str]
"""Why a tile is not worth inferring, empty if it is."""
_BATCHES_HELD = 8
"""Batches whose memory is used again, at most."""
_STRIP_PX = 4096
"""Widest strip read at once: bounds memory whatever the frame's width."""


@dataclass(frozen=True, slots=True)
class Window:
    """A tile and the part of it that it alone answers for."""

    ref: TileRef
    core: Box


@dataclass(frozen=True, slots=True)
class TileGrid(Sequence[Window]):
    """The windows that cover a frame, row by row. Holds four numbers, whatever the frame's size."""

    frame_id: str
    width_px: int
    height_px: int
    edge_px: int
    overlap_px: int

    @property
    def rows(self) -> int:
        """Windows from top to bottom."""
        return _count(self.height_px, self.edge_px, self.overlap_px)

    @property
    def cols(self) -> int:
        """Windows from left to right."""
        return _count(self.width_px, self.edge_px, self.overlap_px)

    def __len__(self) -> int:
        return self.rows * self.cols

    @overload
    def __getitem__(self, index: int) -> Window: ...
    @overload
    def __getitem__(self, index: slice) -> list[Window]: ...
    def __getitem__(self, index: int | slice) -> Window | list[Window]:
        if isinstance(index, slice):
            return [self._window(position) for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._window(index % len(self))

    def __iter__(self) -> Iterator[Window]:
        across = [_span(col, self.width_px, self.edge_px, self.overlap_px) for col in range(self.cols)]
        for row in range(self.rows):
            top, core_top, core_bottom = _span(row, self.height_px, self.edge_px, self.overlap_px)
            for left, core_left, core_right in across:
                core = Box(core_top, core_left, core_bottom - core_top, core_right - core_left)
                yield Window(TileRef(self.frame_id, top, left, self.edge_px), core)

    def _window(self, index: int) -> Window:
        row, col = divmod(index, self.cols)
        top, core_top, core_bottom = _span(row, self.height_px, self.edge_px, self.overlap_px)
        left, core_left, core_right = _span(col, self.width_px, self.edge_px, self.overlap_px)
        core = Box(core_top, core_left, core_bottom - core_top, core_right - core_left)
        return Window(TileRef(self.frame_id, top, left, self.edge_px), core)


def tile_grid(width_px: int, height_px: int, edge_px: int, overlap_px: int = 0, *, frame_id: str = "") -> TileGrid:
    """The windows of ``edge_px`` that cover a frame, neighbours sharing at least ``overlap_px``.

    >>> [window.ref.col_px for window in tile_grid(225, 224, 224)]
    [0, 1]
    """
    if width_px < 1 or height_px < 1:
        raise FrameError(f"A frame of {width_px} x {height_px} px has nothing to cut. Give one with pixels.")
    if not 0 <= overlap_px < edge_px:
        raise FrameError(f"An overlap of {overlap_px} px does not fit tiles of {edge_px} px. Use 0 to {edge_px - 1}.")
    return TileGrid(frame_id, width_px, height_px, edge_px, overlap_px)


class GrowingFrame(Frame, Protocol):
    """A frame whose last rows have not come yet; ``height_px`` counts those that have."""

    def wait_for(self, rows_px: int) -> int:
        """Block until the frame has ``rows_px`` rows or is complete; return its height."""
        ...

    def release(self, row_px: int) -> None:
        """Rows above ``row_px`` are not needed any more."""
        ...


def growing_windows(frame: GrowingFrame, edge_px: int, overlap_px: int = 0) -> Iterator[Window]:
    """The windows that ``tile_grid`` gives for the complete frame, each as soon as it can be known.

    Rows are released one row of windows late, because ``cut`` reads a row when it sees the next.
    """
    tile_grid(frame.width_px, 1, edge_px, overlap_px)
    row, stride = 0, edge_px - overlap_px
    while True:
        below_px = (row + 1) * stride + edge_px  # where the next row of windows ends, unless it is the last
        height = frame.wait_for(below_px)
        grid = tile_grid(frame.width_px, min(height, below_px), edge_px, overlap_px, frame_id=frame.frame_id)
        if height < below_px:
            yield from grid[row * grid.cols :]
            return
        yield from grid[row * grid.cols : (row + 1) * grid.cols]
        frame.release(row * stride)
        row += 1


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tiles ready for an engine. ``pixels``: (len(refs), bands, edge, edge). ``left_out``: others, and why."""

    refs: tuple[TileRef, ...]
    pixels: TileArray
    left_out: tuple[TileOutcome, ...] = ()
    valid: tuple[BoolArray | None, ...] = ()
    """(edge, edge) of each tile, None where all of its pixels hold data; empty unless it was asked for."""


def cut(
    frame: Frame,
    refs: Iterable[TileRef],
    bands: Sequence[int],
    *,
    batch: int,
    keep: Filter | None = None,
    beside: Sequence[int] = (),
    fill: float | None = None,
    with_valid: bool = False,
) -> Iterator[Batch]:
    """Read ``refs`` of ``frame`` in order, up to ``batch`` tiles at a time. Only ``keep`` sees the bands ``beside``.

    ``fill`` takes the place of NaN in float32 tiles; None leaves them.

    Tiles that follow each other along a row are read as one strip. ``keep`` may shed a tile, a damaged part of the file
    fails the tiles on it; either way the tile is in some batch's ``left_out``, and no tile is lost. The last batch is
    smaller, and may hold no tile at all where only left-out ones remain.
    """
    scratch, buffer = Scratch(_BATCHES_HELD), None
    taken: list[TileRef] = []
    valid: list[BoolArray | None] = []
    left_out: list[TileOutcome] = []
    for ref, patch in _patches(frame, refs, [*bands, *beside]):
        outcome = patch if isinstance(patch, TileOutcome) else _judge(ref, patch, keep)
        if isinstance(outcome, TileOutcome):
            left_out.append(outcome)
            continue
        if buffer is None:
            buffer = scratch.take((batch, len(bands), *outcome.pixels.shape[1:]), outcome.pixels.dtype)
        buffer[len(taken)] = outcome.pixels[: len(bands)]
        if with_valid:
            valid.append(outcome.valid)
        taken.append(ref)
        if len(taken) == batch:
            yield Batch(tuple(taken), _filled(buffer, fill), tuple(left_out), tuple(valid))
            buffer, taken, left_out, valid = None, [], [], []
    if taken or left_out:
        pixels = np.empty((0, len(bands), 0, 0), dtype=np.uint8) if buffer is None else buffer[: len(taken)]
        yield Batch(tuple(taken), _filled(pixels, fill), tuple(left_out), tuple(valid))


def _filled(pixels: TileArray, fill: float | None) -> TileArray:
    if fill is not None and pixels.dtype.kind == "f":
        np.nan_to_num(pixels, copy=False, nan=fill)
    return pixels


def skip_empty(min_valid_frac: float = 0.5) -> Filter:
    """A filter that sheds tiles of which less than ``min_valid_frac`` holds data (nodata, alpha or mask), or none."""

    def judge(patch: Patch) -> str:
        if patch.valid is None:
            return ""
        valid_frac = float(patch.valid.mean())
        if valid_frac >= min_valid_frac and valid_frac > 0:
            return ""
        return f"nodata: {valid_frac:.0%} of it is valid"

    return judge


def _judge(ref: TileRef, patch: Patch, keep: Filter | None) -> Patch | TileOutcome:
    reason = keep(patch) if keep is not None else ""
    return TileOutcome(ref, "shed", reason) if reason else patch


def _patches(
    frame: Frame, refs: Iterable[TileRef], bands: Sequence[int]
) -> Iterator[tuple[TileRef, Patch | TileOutcome]]:
    for run in _runs(refs):
        yield from _cut_run(frame, run, bands)


def _cut_run(frame: Frame, run: Sequence[TileRef], bands: Sequence[int]) -> list[tuple[TileRef, Patch | TileOutcome]]:
    """The tiles of a strip; where it cannot be read as a whole, those tiles of it that can."""
    try:
        return _cut_strip(frame, run, bands)
    except FrameError as error:
        if len(run) == 1:
            return [(run[0], TileOutcome(run[0], "failed", str(error)))]
        return [part for ref in run for part in _cut_run(frame, [ref], bands)]


def _cut_strip(frame: Frame, run: Sequence[TileRef], bands: Sequence[int]) -> list[tuple[TileRef, Patch | TileOutcome]]:
    """Read the strip under ``run`` once, and slice it. Raises ``FrameError`` if any of it is unreadable."""
    first, last = run[0], run[-1]
    rows = min(first.edge_px, frame.height_px - first.row_px)
    cols = min(last.col_px + last.edge_px, frame.width_px) - first.col_px
    strip = frame.window(Box(first.row_px, first.col_px, rows, cols), bands)
    return [(ref, _slice(strip, ref, ref.col_px - first.col_px)) for ref in run]


def _slice(strip: Patch, ref: TileRef, left_px: int) -> Patch:
    span = slice(left_px, left_px + ref.edge_px)
    patch = Patch(strip.pixels[:, :, span], None if strip.valid is None else strip.valid[:, span])
    return pad_to(patch, ref.edge_px, ref.edge_px)


def _runs(refs: Iterable[TileRef]) -> Iterator[list[TileRef]]:
    """Group tiles that touch or overlap along one row, in the order given."""
    run: list[TileRef] = []
    for ref in refs:
        if run and not _continues(run, ref):
            yield run
            run = []
        run.append(ref)
    if run:
        yield run


def _continues(run: Sequence[TileRef], ref: TileRef) -> bool:
    first, last = run[0], run[-1]
    return (
        ref.row_px == last.row_px
        and last.col_px <= ref.col_px <= last.col_px + last.edge_px
        and ref.edge_px == last.edge_px
        and ref.frame_id == last.frame_id
        and ref.col_px + ref.edge_px - first.col_px <= _STRIP_PX
    )


def _count(size_px: int, edge_px: int, overlap_px: int) -> int:
    return 1 if size_px <= edge_px else -((size_px - edge_px) // -(edge_px - overlap_px)) + 1


def _start(index: int, size_px: int, edge_px: int, overlap_px: int) -> int:
    return min(index * (edge_px - overlap_px), max(size_px - edge_px, 0))


def _span(index: int, size_px: int, edge_px: int, overlap_px: int) -> tuple[int, int, int]:
    """Start of a window along one axis, and where its core begins and ends: halfway through each overlap."""
    start = _start(index, size_px, edge_px, overlap_px)
    core_from, core_to = 0, size_px
    if index > 0:
        core_from = (start + _start(index - 1, size_px, edge_px, overlap_px) + edge_px) // 2
    if index + 1 < _count(size_px, edge_px, overlap_px):
        core_to = (start + _start(index + 1, size_px, edge_px, overlap_px) + edge_px) // 2
    return start, core_from, core_to
