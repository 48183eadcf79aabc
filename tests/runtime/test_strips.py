"""Plain strips read past GDAL: the same pixels, the same refusals, and memory that nobody loses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import FrameError
from runtime.frames import open_frame
from runtime.frames.strips import plain_strips
from runtime.georeference import Box
from runtime.scratch import Scratch

WriteTiff = Callable[..., Path]
WINDOWS = (Box(0, 0, 90, 70), Box(17, 0, 40, 70), Box(3, 11, 20, 45), Box(60, 50, 30, 9), Box(89, 69, 1, 1))


def noise(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(5).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("rows_per_strip", [1, 16, 90])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize(
    ("dtype", "more"),
    [
        ("uint8", {}),
        ("uint16", {"ENDIANNESS": "BIG"}),
        ("int16", {"BIGTIFF": "YES"}),
        ("float32", {"ENDIANNESS": "BIG", "BIGTIFF": "YES"}),
        ("int8", {}),
    ],
)
def test_plain_strips_hold_the_pixels_that_gdal_reads(
    write_tiff: WriteTiff, dtype: str, more: dict[str, str], interleave: str, rows_per_strip: int
) -> None:
    import rasterio
    from rasterio.windows import Window

    pixels = noise(4, 90, 70, dtype=dtype)
    path = write_tiff("plain.tif", pixels, interleave=interleave, blockysize=rows_per_strip, **more)
    with rasterio.open(path) as dataset:
        plain = plain_strips(path, dataset)
        assert plain is not None
        for box in WINDOWS:
            window = Window(box.col_px, box.row_px, box.cols_px, box.rows_px)  # pyright: ignore[reportCallIssue]
            for bands in ((0, 1, 2, 3), (1, 2), (3,), (2, 0)):
                expected = dataset.read([band + 1 for band in bands], window=window)
                assert np.array_equal(plain.read(box, bands), expected)
        plain.close()
        plain.close()


def test_strips_that_lie_in_any_order_are_read_in_theirs(tmp_path: Path) -> None:
    import rasterio
    from rasterio.windows import Window

    path, pixels = tmp_path / "upside-down.tif", noise(1, 48, 32)
    layout: dict[str, Any] = {"driver": "GTiff", "width": 32, "height": 48, "count": 1, "dtype": "uint8"}
    layout |= {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_300_000)}
    for top in (40, 0, 24, 8, 32, 16):
        with rasterio.open(
            path, "r+" if path.exists() else "w", **({} if path.exists() else layout), blockysize=8
        ) as target:
            target.write(pixels[:, top : top + 8], window=Window(0, top, 32, 8))  # pyright: ignore[reportCallIssue]
    with rasterio.open(path) as dataset:
        plain = plain_strips(path, dataset)
        assert plain is not None
        assert np.array_equal(plain.read(Box(3, 0, 45, 32), (0,)), pixels[:, 3:])
        plain.close()


@pytest.mark.parametrize(
    "layout",
    [
        {"compress": "deflate"},
        {"compress": "lzw", "predictor": 2},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"NBITS": "4"},
        {"SPARSE_OK": "TRUE", "empty": True},
    ],
)
def test_what_is_not_plain_is_left_to_gdal(write_tiff: WriteTiff, layout: dict[str, Any]) -> None:
    import rasterio

    pixels = noise(3, 90, 70) % 16 * (0 if layout.pop("empty", False) else 1)
    path = write_tiff("other.tif", pixels, **layout)
    with rasterio.open(path) as dataset:
        assert plain_strips(path, dataset) is None
    with open_frame(path) as frame:
        assert np.array_equal(frame.window(Box(5, 5, 40, 60), (0, 1, 2)).pixels, pixels[:, 5:45, 5:65])


def test_a_file_that_is_cut_short_gives_the_rows_it_has_and_refuses_the_others(write_tiff: WriteTiff) -> None:
    path = write_tiff("short.tif", noise(3, 90, 70))
    os.truncate(path, path.stat().st_size - 30 * 70 * 3)
    with open_frame(path) as frame:
        assert frame.window(Box(0, 0, 20, 70), (0, 1, 2)).pixels.shape == (3, 20, 70)
        with pytest.raises(FrameError, match="damaged or cut short"):
            frame.window(Box(40, 0, 50, 70), (0, 1, 2))


def test_a_file_that_shrinks_while_it_is_read_is_refused_and_kills_nobody(write_tiff: WriteTiff) -> None:
    path = write_tiff("shrinks.tif", noise(3, 90, 70))
    with open_frame(path) as frame:
        os.truncate(path, path.stat().st_size - 30 * 70 * 3)
        with pytest.raises(FrameError, match="the file ends before byte"):
            frame.window(Box(40, 0, 50, 70), (0, 1, 2))


def test_windows_that_somebody_keeps_are_not_written_over(write_tiff: WriteTiff) -> None:
    pixels = noise(3, 90, 70)
    for more in ({}, {"compress": "deflate"}):
        with open_frame(write_tiff(f"kept-{len(more)}.tif", pixels, **more)) as frame:
            kept = [frame.window(Box(top, 0, 10, 70), (0, 1, 2)).pixels for top in range(0, 90, 10)]
            assert np.array_equal(np.concatenate(kept, axis=1), pixels)


def test_scratch_memory_is_used_again_only_when_nobody_holds_it() -> None:
    scratch = Scratch(most=2)
    first = scratch.take((4, 4), np.uint16)
    place, view = first.ctypes.data, first[1:].transpose()
    del first
    assert not np.shares_memory(scratch.take((4, 4), np.uint16), view)
    del view
    assert scratch.take((2, 4), np.float32).ctypes.data == place
