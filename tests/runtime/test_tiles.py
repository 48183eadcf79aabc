"""Cutting: each pixel once, whatever the sizes, and no tile lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.errors import FrameError
from runtime.frame import Patch, read_square
from runtime.frames import open_frame
from runtime.georeference import Box
from runtime.records import TileRef, UInt8Array
from runtime.tiles import cut, skip_empty, tile_grid


class ArrayFrame:
    """A frame in memory. ``damaged`` rows cannot be read."""

    dtype = tile_dtype = "uint8"
    gsd_m = None
    georeference = None
    captured_unix_s = None

    def __init__(self, pixels: UInt8Array, damaged: range = range(0)) -> None:
        self.pixels = pixels
        self.damaged = damaged
        self.reads = 0
        self.frame_id = "array"
        self.bands = tuple(f"band_{number}" for number in range(len(pixels)))
        self.height_px, self.width_px = pixels.shape[1:]

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        self.reads += 1
        assert box.row_px >= 0
        assert box.col_px >= 0
        assert box.row_px + box.rows_px <= self.height_px
        assert box.col_px + box.cols_px <= self.width_px
        if set(self.damaged) & set(range(box.row_px, box.row_px + box.rows_px)):
            raise FrameError(f"row {self.damaged.start} is damaged. Fetch it again.")
        rows, cols = slice(box.row_px, box.row_px + box.rows_px), slice(box.col_px, box.col_px + box.cols_px)
        return Patch(self.pixels[list(bands), rows, cols])

    def read(self, row_px: int, col_px: int, edge_px: int, bands: Sequence[int]) -> UInt8Array:
        return read_square(self, row_px, col_px, edge_px, bands).pixels

    def close(self) -> None:
        pass


def numbered(height: int, width: int) -> UInt8Array:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (3, height, width), dtype=np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 120), height=st.integers(1, 120), edge=st.integers(1, 60), overlap_frac=st.floats(0.0, 0.99)
)
@example(width=1, height=1, edge=224, overlap_frac=0.0)
@example(width=223, height=225, edge=224, overlap_frac=0.2)
@example(width=224, height=224, edge=224, overlap_frac=0.5)
def test_r29_every_pixel_lies_in_exactly_one_core(width: int, height: int, edge: int, overlap_frac: float) -> None:
    owners = np.zeros((height, width), dtype=int)
    for window in tile_grid(width, height, edge, min(int(edge * overlap_frac), edge - 1)):
        core = window.core
        owners[core.row_px : core.row_px + core.rows_px, core.col_px : core.col_px + core.cols_px] += 1
        assert core.rows_px > 0
        assert core.cols_px > 0
        assert window.ref.row_px <= core.row_px
        assert window.ref.col_px <= core.col_px
        assert core.row_px + core.rows_px <= window.ref.row_px + edge
        assert core.col_px + core.cols_px <= window.ref.col_px + edge
    assert (owners == 1).all()


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), edge=st.integers(2, 80), data=st.data())
def test_windows_stay_inside_and_neighbours_share_at_least_the_overlap(
    width: int, height: int, edge: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, edge - 1))
    grid = tile_grid(width, height, edge, overlap)
    cols = [window.ref.col_px for window in grid[: grid.cols]]
    assert cols[0] == 0
    assert max(cols) + edge <= max(width, edge)
    assert all(right - left <= edge - overlap for left, right in pairwise(cols))


def test_a_grid_of_a_huge_scene_is_counted_without_being_listed() -> None:
    grid = tile_grid(40_000, 40_000, 224, 32)
    assert len(grid) == 209**2
    assert grid[-1].ref == TileRef("", 39_776, 39_776, 224)
    with pytest.raises(IndexError):
        grid[len(grid)]


@pytest.mark.parametrize(("edge", "overlap"), [(64, 64), (64, -1), (1, 1)])
def test_an_overlap_that_does_not_fit_is_refused(edge: int, overlap: int) -> None:
    with pytest.raises(FrameError, match="overlap"):
        tile_grid(100, 100, edge, overlap)


@pytest.mark.parametrize("size", [(1, 1), (15, 40), (16, 16), (17, 33), (64, 100)])
def test_cut_pixels_are_those_of_the_scene(size: tuple[int, int]) -> None:
    pixels = numbered(*size)
    grid = tile_grid(size[1], size[0], 16, 5)
    rebuilt = np.zeros_like(pixels)
    batches = list(cut(ArrayFrame(pixels), (window.ref for window in grid), (0, 1, 2), batch=7))
    cut_tiles = [(ref, tile) for batch in batches for ref, tile in zip(batch.refs, batch.pixels, strict=True)]
    for window, (ref, tile) in zip(grid, cut_tiles, strict=True):
        assert ref == window.ref
        row, col, core = window.core.row_px, window.core.col_px, window.core
        inner = tile[:, row - ref.row_px :, col - ref.col_px :][:, : core.rows_px, : core.cols_px]
        rebuilt[:, row : row + core.rows_px, col : col + core.cols_px] = inner
    assert (rebuilt == pixels).all()
    assert all(len(batch.refs) == 7 for batch in batches[:-1])


def test_a_scene_smaller_than_a_tile_is_continued_by_its_last_row_and_column() -> None:
    frame = ArrayFrame(numbered(3, 2))
    tile = frame.read(0, 0, 5, (0, 2))
    assert (tile[:, :3, :2] == frame.pixels[[0, 2]]).all()
    assert (tile[:, 2:, 1:] == frame.pixels[[0, 2], 2:, 1:]).all()


def test_a_row_of_tiles_is_read_as_one_strip() -> None:
    frame = ArrayFrame(numbered(32, 160))
    list(cut(frame, (window.ref for window in tile_grid(160, 32, 16)), (0,), batch=100))
    assert frame.reads == 2


def test_scattered_tiles_come_in_the_order_asked_for() -> None:
    frame = ArrayFrame(numbered(64, 64))
    refs = [TileRef("array", row, col, 16) for row, col in ((48, 0), (0, 48), (0, 0), (16, 16))]
    (batch,) = cut(frame, refs, (1,), batch=8)
    assert batch.refs == tuple(refs)
    assert all(
        (tile == frame.pixels[1:2, ref.row_px : ref.row_px + 16, ref.col_px : ref.col_px + 16]).all()
        for ref, tile in zip(refs, batch.pixels, strict=True)
    )


def test_damage_fails_the_tiles_it_touches_and_no_others() -> None:
    frame = ArrayFrame(numbered(48, 64), damaged=range(20, 21))
    grid = tile_grid(64, 48, 16)
    batches = list(cut(frame, (window.ref for window in grid), (0,), batch=5))
    failed = [outcome for batch in batches for outcome in batch.left_out]
    assert {outcome.ref.row_px for outcome in failed} == {16}
    assert {outcome.outcome for outcome in failed} == {"failed"}
    assert all("damaged" in outcome.reason for outcome in failed)
    assert sum(len(batch.refs) for batch in batches) + len(failed) == len(grid)


def test_tiles_without_data_are_shed_with_the_reason(write_tiff: Callable[..., Path]) -> None:
    pixels = np.full((3, 32, 32), 9, dtype=np.uint8)
    pixels[:, :16] = 0
    pixels[:, :, :4] = 0
    with open_frame(write_tiff("half.tif", pixels, nodata=0)) as frame:
        refs = [window.ref for window in tile_grid(32, 32, 16)]
        (batch,) = cut(frame, refs, (0, 1, 2), batch=8, keep=skip_empty(0.5))
    assert [ref.row_px for ref in batch.refs] == [16, 16]
    assert [(outcome.outcome, outcome.reason) for outcome in batch.left_out] == [
        ("shed", "nodata: 0% of it is valid")
    ] * 2


def test_a_scene_of_nothing_but_nodata_yields_no_tile_but_loses_none(write_tiff: Callable[..., Path]) -> None:
    with open_frame(write_tiff("void.tif", np.zeros((3, 20, 20), dtype=np.uint8), nodata=0)) as frame:
        refs = [window.ref for window in tile_grid(20, 20, 16)]
        (batch,) = cut(frame, refs, (0, 1, 2), batch=2, keep=skip_empty())
    assert (len(batch.refs), len(batch.pixels), len(batch.left_out)) == (0, 0, 4)
