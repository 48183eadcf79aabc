"""R13: thousands of broken rasters end in pixels or in one line, in bounded time and memory."""

from __future__ import annotations

import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporters.package import ModelPackage
from runtime.errors import FrameError
from runtime.frames import open_frame
from runtime.infer import infer_scenes

from .mutations import FORMATS, campaign, write_whole


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_r13_two_hundred_broken_rasters_of_each_format_end_in_pixels_or_in_one_line(tmp_path: Path, name: str) -> None:
    findings = campaign(tmp_path, name, 200, seed=13)
    assert findings.wrong == []
    assert findings.all == 200
    assert findings.refused > (20 if name != "lines" else 0)  # a stream counts damage where a raster refuses
    assert findings.slowest_s < 5.0
    assert findings.widest_byte < 300 * 2**20


def test_r13_a_decompression_bomb_is_refused_or_read_in_small_pieces(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb)
    with pytest.raises(FrameError), open_frame(path) as frame:
        frame.read(0, 0, 64, (0,))


@pytest.mark.parametrize(("at", "value"), [(8, 2**31), (12, 2**31), (24, 0), (32, 2**31), (40, 16_384 << 16)])
def test_r13_a_jpeg_2000_that_claims_too_many_tiles_is_refused_before_it_takes_memory(
    tmp_path: Path, at: int, value: int
) -> None:
    content = bytearray(write_whole(tmp_path, "jpeg2000", 64))
    siz = content.find(b"\xff\x4f\xff\x51") + 4
    content[siz + at - 4 : siz + at] = struct.pack(">I", value)
    path = tmp_path / "claims.jp2"
    path.write_bytes(content)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FrameError), open_frame(path) as frame:
        frame.read(0, 0, 16, (0,))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 150 * 1024


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 15), (17, 17), (1, 4000), (20_000, 8)])
def test_r29_tiny_thin_and_tall_scenes_are_covered_once(
    make_package: Callable[..., ModelPackage], write_tiff: Callable[..., Path], tmp_path: Path, height: int, width: int
) -> None:
    path = write_tiff("odd.tif", np.full((3, height, width), 90, dtype=np.uint8))
    (done,) = infer_scenes(make_package(), [path], tmp_path / "out", overlap_px=4).scenes
    assert done.error == ""
    assert done.done == done.tiles == max(1, -(-(height - 16) // 12) + 1) * max(1, -(-(width - 16) // 12) + 1)


def test_a_scene_of_many_bands_gives_those_that_are_wanted(
    make_package: Callable[..., ModelPackage], write_tiff: Callable[..., Path], tmp_path: Path
) -> None:
    names = ("coastal", "blue", "green", "red", *(f"b{n}" for n in range(5, 14)))
    pixels = np.zeros((13, 16, 16), dtype=np.uint16)
    pixels[2] = 9000
    path = write_tiff("thirteen.tif", pixels, descriptions=names)
    (done,) = infer_scenes(make_package(), [path], tmp_path / "out", value_range=(0, 10_000)).scenes
    assert done.labels == {"green": 1}
