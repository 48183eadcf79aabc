"""Push-broom line streams: the same tiles as from a file, exact counts of what went wrong, flat memory."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.errors import FrameError
from runtime.frames.growing import LineFrame
from runtime.frames.lines import StreamHeader, end_record, line_record, write_stream
from runtime.georeference import Box, MapGeoreference
from runtime.tiles import cut, growing_windows, skip_empty, tile_grid

HEADER = StreamHeader("pass-7", 20, ("red", "green", "blue"), "uint8", start_unix_s=5.0)


def image(lines: int, header: StreamHeader = HEADER) -> NDArray[np.uint8]:
    return np.random.default_rng(lines).integers(1, 256, (len(header.bands), lines, header.width_px), dtype=np.uint8)


def stream(pixels: NDArray[np.uint8], order: list[int] | None = None) -> io.BytesIO:
    numbers = list(range(pixels.shape[1])) if order is None else order
    return io.BytesIO(write_stream(HEADER, [(number, pixels[:, number]) for number in numbers]))


def whole(frame: LineFrame) -> NDArray[np.uint8]:
    height = frame.wait_for(10**9)
    return frame.window(Box(0, 0, height, frame.width_px), range(len(frame.bands))).pixels


@settings(max_examples=60, deadline=None)
@given(lines=st.integers(1, 90), edge=st.integers(2, 24), data=st.data())
def test_a_stream_gives_the_windows_and_pixels_of_the_finished_scene(
    lines: int, edge: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, edge - 1))
    pixels = image(lines)
    with LineFrame(stream(pixels), buffer_line=4 * edge + 32, reorder_line=3) as frame:
        windows = []

        def refs() -> Iterator[object]:
            for window in growing_windows(frame, edge, overlap):
                windows.append(window)
                yield window.ref

        tiles = [tile for batch in cut(frame, refs(), (0, 1, 2), batch=5) for tile in batch.pixels]  # type: ignore[arg-type]
        counts = frame.counts
    grid = tile_grid(20, lines, edge, overlap, frame_id="pass-7")
    assert windows == list(grid)
    assert (counts.lines, counts.missing, counts.duplicate) == (lines, 0, 0)
    for window, tile in zip(grid, tiles, strict=True):
        rows, cols = min(edge, lines), min(edge, 20)
        at = window.ref
        assert (tile[:, :rows, :cols] == pixels[:, at.row_px : at.row_px + rows, at.col_px : at.col_px + cols]).all()


def test_r14_lines_that_come_late_twice_damaged_or_never_are_counted_to_the_line() -> None:
    pixels = image(40)
    records = {number: line_record(number, pixels[:, number]) for number in range(40)}
    damaged = bytearray(records[30])
    damaged[20] ^= 1
    order = [0, 1, 3, 2, 2, *range(4, 10), *range(12, 30)]  # 10 and 11 never come, 2 comes twice
    content = HEADER.to_bytes() + b"".join(records[number] for number in order)
    content += (
        b"noise" + bytes(damaged) + b"".join(records[number] for number in range(31, 40)) + records[5] + records[10]
    )
    with LineFrame(io.BytesIO(content + end_record()), buffer_line=64, reorder_line=4) as frame:
        assert frame.wait_for(1000) == 40
        counts = frame.counts
        patch = frame.window(Box(0, 0, 40, 20), (0, 1, 2))
    assert (counts.lines, counts.missing, counts.duplicate, counts.late, counts.damaged) == (37, 3, 2, 1, 1)
    assert counts.skipped_byte == len(b"noise") + len(damaged)
    assert patch.valid is not None
    assert np.flatnonzero(~patch.valid[:, 0]).tolist() == [10, 11, 30]
    assert (patch.pixels[:, patch.valid] == pixels[:, patch.valid]).all()


def test_r14_a_sensor_that_cannot_wait_loses_counted_lines_and_no_others() -> None:
    pixels = image(500)
    with LineFrame(stream(pixels), buffer_line=100, reorder_line=0, drop=True) as frame:
        while not frame._complete:  # nobody reads: all that does not fit is dropped
            frame.wait_for(1000)
        counts = frame.counts
        kept = frame.window(Box(0, 0, 100, 20), (0,)).pixels
    assert (counts.lines, counts.dropped) == (100, 400)
    assert (kept == pixels[:1, :100]).all()


def test_a_slow_reader_holds_a_file_back_and_loses_nothing() -> None:
    pixels = image(700)
    with LineFrame(stream(pixels), buffer_line=64, reorder_line=2) as frame:
        refs = (window.ref for window in growing_windows(frame, 16))
        done = sum(len(batch.refs) for batch in cut(frame, refs, (0,), batch=4))
        assert frame.counts.lines == 700
    assert done == len(tile_grid(20, 700, 16))


def test_tiles_are_cut_before_the_last_line_has_come() -> None:
    pixels, (reading, writing) = image(64), os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as source, os.fdopen(writing, "wb", buffering=0) as sensor:
        sensor.write(HEADER.to_bytes())
        frame = LineFrame(source, reorder_line=0)
        first = threading.Event()

        def work() -> None:
            for _ in growing_windows(frame, 16):
                first.set()

        worker = threading.Thread(target=work)
        worker.start()
        for number in range(40):
            sensor.write(line_record(number, pixels[:, number]))
        assert first.wait(10)
        for number in range(40, 64):
            sensor.write(line_record(number, pixels[:, number]))
        sensor.write(end_record())
        worker.join(10)
    assert not worker.is_alive()
    assert frame.height_px == 64


def test_a_gap_longer_than_the_buffer_is_passed_over_without_a_standstill() -> None:
    pixels = image(600)
    order = [*range(50), *range(400, 600)]
    with LineFrame(stream(pixels, order), buffer_line=100, reorder_line=4) as frame:
        refs = (window.ref for window in growing_windows(frame, 16))
        outcomes = list(cut(frame, refs, (0,), batch=8, keep=skip_empty()))
        counts = frame.counts
    assert (counts.lines, counts.missing) == (250, 350)
    assert sum(len(b.refs) + len(b.left_out) for b in outcomes) == len(tile_grid(20, 600, 16))
    assert all(o.reason.startswith("nodata") for b in outcomes for o in b.left_out)


def test_numbers_from_nowhere_are_damage_not_a_gap_of_a_billion_lines() -> None:
    pixels = image(8)
    content = HEADER.to_bytes() + b"".join(line_record(n, pixels[:, n]) for n in range(4))
    content += line_record(2**31, pixels[:, 4]) + line_record(4, pixels[:, 4])
    with LineFrame(io.BytesIO(content)) as frame:
        assert frame.wait_for(100) == 5
        assert (frame.counts.damaged, frame.counts.missing) == (1, 0)


def test_sixteen_bit_lines_are_scaled_and_placed() -> None:
    place = MapGeoreference("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0))
    header = replace(HEADER, dtype="uint16", value_range=(0.0, 1000.0), bands=("red",), georeference=place)
    lines = [(n, np.full((1, 20), 500, dtype=np.uint16)) for n in range(4)]
    with LineFrame(io.BytesIO(write_stream(header, lines))) as frame:
        assert set(whole(frame).ravel().tolist()) == {128}
        assert frame.gsd_m == pytest.approx(10.0, rel=1e-3)
        assert frame.header == header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"II*\0 not a stream at all",
        HEADER.to_bytes()[:20],
        b"SUBSLN1\n" + (2**31).to_bytes(4, "little"),
        replace(HEADER, width_px=0).to_bytes(),
        replace(HEADER, width_px=10**9).to_bytes(),
        replace(HEADER, bands=()).to_bytes(),
        replace(HEADER, dtype="uint16").to_bytes(),
        replace(HEADER, dtype="object").to_bytes(),
        replace(HEADER, value_range=(3.0, 3.0)).to_bytes(),
        b"SUBSLN1\n" + (5).to_bytes(4, "little") + b"[[[[[",
    ],
)
def test_what_is_no_stream_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(FrameError) as refusal:
        LineFrame(io.BytesIO(content))
    assert "\n" not in str(refusal.value)


def test_three_hundred_damaged_streams_end_in_counted_lines() -> None:
    pixels, rng = image(30), np.random.default_rng(14)
    good = bytearray(stream(pixels).getvalue())
    start = len(HEADER.to_bytes())
    for _ in range(300):
        content = bytearray(good)
        for at in rng.integers(start, len(content), rng.integers(1, 20)):
            content[at] = rng.integers(0, 256)
        if rng.random() < 0.3:
            del content[rng.integers(start, len(content)) :]
        with LineFrame(io.BytesIO(content), buffer_line=64) as frame:
            height, counts = frame.wait_for(10**9), frame.counts
            patch = frame.window(Box(0, 0, height, 20), (0, 1, 2))
        assert counts.lines + counts.missing == height <= 30
        valid = np.ones((height, 20), dtype=bool) if patch.valid is None else patch.valid
        assert (patch.pixels[:, valid] == pixels[:, :height][:, valid]).all()
