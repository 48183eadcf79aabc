"""Sources beside the inbox: a camera behind a command, push-broom lines through a FIFO."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.daemon.feeders import Feeder
from runtime.daemon.line_frames import blocks, write_block
from runtime.daemon.sections import SourceSection
from runtime.errors import FrameError
from runtime.frames import open_frame
from runtime.frames.lines import StreamHeader, end_record, line_record
from runtime.georeference import Box, MapGeoreference

HEADER = StreamHeader("sensor", 40, ("red", "green", "blue"), "uint8")


def line(number: int) -> bytes:
    return line_record(number, np.full((3, 40), number % 250, dtype=np.uint8))


def until(check: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + 20.0
    while not check() and time.monotonic() < end_s:
        time.sleep(0.02)
    return check()


def test_lines_become_frames_by_their_numbers_whatever_order_they_come_in() -> None:
    numbers = [*range(0, 60, 2), *range(1, 30, 2), 60, 61, 62]
    stream = io.BytesIO(HEADER.to_bytes() + b"".join(map(line, numbers)) + end_record())
    cut = list(blocks(stream, 32))
    assert [(block.first, block.samples.shape[1]) for block in cut] == [(0, 32), (32, 31)]
    assert not cut[0].came[31]
    assert (cut[1].samples[:, 30] == 62).all()


def test_a_block_says_bands_place_range_and_which_lines_never_came(tmp_path: Path) -> None:
    place = MapGeoreference("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0))
    header = StreamHeader("s", 40, ("nir", "red"), "uint16", (0.0, 1000.0), 1.7e9, place)
    lines = [line_record(n, np.full((2, 40), 500, dtype=np.uint16)) for n in range(32, 64) if n != 40]
    (block,) = blocks(io.BytesIO(header.to_bytes() + b"".join(lines)), 32)
    write_block(tmp_path / "b.tif", block)
    with open_frame(tmp_path / "b.tif") as frame:
        assert frame.bands == ("nir", "red")
        patch = frame.window(Box(0, 0, 32, 40), (0, 1))
        assert patch.valid is not None
        assert not patch.valid[8].any()
        assert patch.pixels[0, 0, 0] == 128
        assert frame.captured_unix_s == 1.7e9
        assert frame.georeference is not None
    assert not (tmp_path / "b.tif.msk").exists()


def test_what_is_no_line_stream_is_refused() -> None:
    with pytest.raises(FrameError, match="no line stream"):
        list(blocks(io.BytesIO(b"nonsense"), 32))


def test_a_fifo_feeds_the_inbox_and_a_second_writer_is_heard(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    feeder = Feeder(SourceSection(kind="stream", stream=str(tmp_path / "fifo"), lines=16), tmp_path, time.time)
    feeder.start()
    for first in (0, 100):
        with (tmp_path / "fifo").open("wb") as writer:
            writer.write(HEADER.to_bytes() + b"".join(line(first + n) for n in range(16)) + end_record())
    found = until(lambda: len(list(tmp_path.glob("lines-*.tif"))) >= 3)
    feeder.close()
    threading.Thread(target=lambda: (tmp_path / "fifo").open("wb").close(), daemon=True).start()
    assert found
    assert feeder.fault == ""


def test_a_camera_behind_a_command_fills_the_inbox_and_one_that_fails_is_told(tmp_path: Path) -> None:
    shoot = (sys.executable, "-c", "import sys; open(sys.argv[1], 'wb').write(b'picture')", "{out}")
    feeder = Feeder(SourceSection(kind="command", command=shoot, period_s=0.05), tmp_path, time.time)
    feeder.start()
    assert until(lambda: len(list(tmp_path.glob("frame-*.tif"))) >= 2)
    feeder.close()
    broken = Feeder(SourceSection(kind="command", command=("/bin/false", "{out}"), period_s=9.0), tmp_path, time.time)
    broken.start()
    assert until(lambda: "gave no image" in broken.fault)
    broken.close()


def test_a_tile_without_data_is_shed_with_its_reason(craft: Any) -> None:
    numbers = [*range(16), *range(32, 48)]
    stream = io.BytesIO(HEADER.to_bytes() + b"".join(map(line, numbers)) + end_record())
    (block,) = blocks(stream, 64)
    (craft.folder / "inbox").mkdir(exist_ok=True)
    write_block(craft.folder / "inbox" / "lines.tif", block)
    craft.fly()
    assert craft.daemon.status["counts"]["done_tile"] == 6
    assert [row for row in craft.daemon._aboard.store.outcomes() if row[1] == "shed"] == [
        (0, "shed", "nodata: 0% of it is valid", 3)
    ]
