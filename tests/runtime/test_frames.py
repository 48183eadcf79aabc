"""Opening images: what is read, what is refused, and that refusals are one line and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import FrameError
from runtime.frames import RANGE_TAG, RGB, choose_bands, open_frame
from runtime.frames.bands import name_bands
from runtime.georeference import Box

WriteTiff = Callable[..., Path]


def noise(*shape: int, dtype: str = "uint8", high: int = 256) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, high, shape).astype(dtype)


def test_a_geotiff_says_what_it_is_and_reads_windows(write_tiff: WriteTiff) -> None:
    pixels = noise(4, 50, 70)
    path = write_tiff(
        "scene.tif", pixels, descriptions=("red", "green", "blue", "nir"), tiled=True, blockxsize=16, blockysize=16
    )
    with open_frame(path) as frame:
        assert (frame.frame_id, frame.width_px, frame.height_px, frame.dtype) == ("scene", 70, 50, "uint8")
        assert frame.bands == ("red", "green", "blue", "nir")
        assert frame.gsd_m == pytest.approx(10.0, rel=1e-3)
        assert (frame.read(7, 9, 16, (3, 0)) == pixels[[3, 0], 7:23, 9:25]).all()
        assert (frame.window(Box(40, 3, 10, 60), (1,)).pixels == pixels[1:2, 40:50, 3:63]).all()


@pytest.mark.parametrize(("driver", "ending"), [("PNG", "png"), ("JPEG", "jpg"), ("JP2OpenJPEG", "jp2")])
def test_png_jpeg_and_jpeg_2000_open_whatever_their_ending_says(tmp_path: Path, driver: str, ending: str) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    path = tmp_path / f"photo.{ending}.data"
    with pytest.warns(NotGeoreferencedWarning):
        target = rasterio.open(path, "w", driver=driver, dtype="uint8", count=3, height=64, width=80)
    with target:
        target.write(np.full((3, 64, 80), 77, dtype=np.uint8))
    with open_frame(path) as frame:
        assert frame.bands == RGB
        assert frame.georeference is None
        assert frame.gsd_m is None
        assert abs(int(frame.read(0, 0, 16, (0, 1, 2)).mean()) - 77) <= 1


def test_an_indexed_png_comes_back_in_colour(tmp_path: Path) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    path = tmp_path / "map.png"
    with pytest.warns(NotGeoreferencedWarning):
        target = rasterio.open(path, "w", driver="PNG", dtype="uint8", count=1, height=8, width=8)
    with target:
        target.write_colormap(1, {0: (1, 2, 3, 255), 1: (200, 100, 50, 255)})
        target.write(np.eye(8, dtype=np.uint8), 1)
    with open_frame(path) as frame:
        assert frame.bands == RGB
        assert frame.read(0, 0, 8, (0, 1, 2))[:, 0, :2].T.tolist() == [[200, 100, 50], [1, 2, 3]]


def test_sixteen_bit_scenes_are_scaled_by_their_range_tag(write_tiff: WriteTiff) -> None:
    pixels = np.array([[[0, 1000, 2000, 3000]]], dtype=np.uint16).repeat(4, axis=1)
    path = write_tiff("deep.tif", pixels, descriptions=("red",), tags={RANGE_TAG: "1000,2000"})
    with open_frame(path) as frame:
        assert frame.read(0, 0, 4, (0,))[0, 0].tolist() == [0, 0, 255, 255]
    with open_frame(path, value_range=(0, 3000)) as frame:
        assert frame.read(0, 0, 4, (0,))[0, 0].tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_a_scene_without_a_scale_is_refused_by_name(write_tiff: WriteTiff, dtype: str) -> None:
    path = write_tiff("deep.tif", noise(3, 8, 8, dtype=dtype))
    with pytest.raises(FrameError, match=RANGE_TAG):
        open_frame(path)


@pytest.mark.parametrize("text", ["1000", "low,high", "5,5", "nan,3", "1,2,3"])
def test_a_range_tag_that_is_none_is_refused(write_tiff: WriteTiff, text: str) -> None:
    path = write_tiff("deep.tif", noise(3, 8, 8, dtype="uint16"), tags={RANGE_TAG: text})
    with pytest.raises(FrameError, match="LOW,HIGH"):
        open_frame(path)


def test_nan_pixels_are_invalid_and_do_not_spread(write_tiff: WriteTiff) -> None:
    pixels = np.ones((1, 4, 4), dtype=np.float32)
    pixels[0, 0, 0] = np.nan
    path = write_tiff("float.tif", pixels, nodata=np.nan, tags={RANGE_TAG: "0,2"})
    with open_frame(path) as frame:
        patch = frame.window(Box(0, 0, 4, 4), (0,))
    assert patch.valid is not None
    assert patch.valid.sum() == 15
    assert patch.pixels[0, 0].tolist() == [0, 128, 128, 128]


def test_alpha_says_which_pixels_are_valid(write_tiff: WriteTiff) -> None:
    pixels = noise(4, 8, 8)
    pixels[3] = 255
    pixels[3, :2] = 0
    path = write_tiff("rgba.tif", pixels, photometric="rgb", alpha="yes")
    with open_frame(path) as frame:
        assert frame.bands == (*RGB, "alpha")
        patch = frame.window(Box(0, 0, 8, 8), (2, 1))
    assert patch.valid is not None
    assert patch.valid.sum() == 48
    assert (patch.pixels == pixels[[2, 1]]).all()


def test_a_stored_mask_says_which_pixels_are_valid(write_tiff: WriteTiff) -> None:
    import rasterio

    path = write_tiff("masked.tif", noise(3, 8, 8))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(np.eye(8, dtype=bool))
    with open_frame(path) as frame:
        valid = frame.window(Box(0, 0, 8, 8), (0,)).valid
    assert valid is not None
    assert valid.sum() == 8


def test_bands_are_found_by_common_and_by_sentinel_names() -> None:
    assert choose_bands(("b02", "B3", "Red", "nir"), ("red", "green", "blue"), "scene") == (2, 1, 0)
    assert name_bands(("B8A", None), ("undefined", "undefined"), "uint16") == ("nir08", "band_2")
    assert name_bands((None,) * 3, ("gray", "undefined", "undefined"), "uint8") == RGB
    assert name_bands((None,) * 3, ("gray", "undefined", "undefined"), "uint16") == ("band_1", "band_2", "band_3")


def test_a_missing_band_is_refused_with_what_there_is() -> None:
    with pytest.raises(FrameError, match=r"no band nir; its bands are red, green, blue\."):
        choose_bands(RGB, ("red", "nir"), "scene")


def test_unnamed_bands_can_be_named(write_tiff: WriteTiff) -> None:
    path = write_tiff("four.tif", noise(4, 8, 8))
    with open_frame(path, band_names=("B", "G", "R", "NIR")) as frame:
        assert choose_bands(frame.bands, RGB, "four") == (2, 1, 0)
    with pytest.raises(FrameError, match="Name every band"):
        open_frame(path, band_names=("red",))


def test_capture_time_is_read_as_utc(write_tiff: WriteTiff) -> None:
    path = write_tiff("dated.tif", noise(3, 8, 8), tags={"TIFFTAG_DATETIME": "2018:07:16 06:06:23"})
    with open_frame(path) as frame:
        assert frame.captured_unix_s == 1_531_721_183.0


@pytest.mark.parametrize(
    "content", [b"", b"II", b"II*\0", b"<VRTDataset/>", b"hello world", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]
)
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scene.tif"
    path.write_bytes(content)
    with pytest.raises(FrameError) as refusal:
        open_frame(path)
    assert "\n" not in str(refusal.value)
    assert "scene.tif" in str(refusal.value)


def test_a_missing_file_a_folder_and_an_address_are_refused(tmp_path: Path) -> None:
    for path in (
        tmp_path / "none.tif",
        tmp_path,
        Path("/vsicurl/http://localhost/x.tif"),
        Path("http://localhost/x.tif"),
    ):
        with pytest.raises(FrameError, match="There is no image"):
            open_frame(path)


def test_blocks_too_large_for_memory_are_refused(write_tiff: WriteTiff) -> None:
    layout = {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16}
    path = write_tiff("tile.tif", np.zeros((1, 16, 16), dtype=np.uint8), **layout)
    content = bytearray(path.read_bytes())
    for tag in (256, 257, 322, 323):  # width and height of the image and of its tiles become 59 904
        at = content.index(tag.to_bytes(2, "little") + b"\x03\x00\x01\x00\x00\x00")
        content[at + 8 : at + 10] = (59_904).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(FrameError, match="3422 MiB each"):
        open_frame(path)


def test_a_truncated_file_is_refused_when_opened_or_when_read(write_tiff: WriteTiff) -> None:
    whole = write_tiff(
        "whole.tif", noise(3, 256, 256), compress="deflate", tiled=True, blockxsize=64, blockysize=64
    ).read_bytes()
    cut_file = write_tiff("cut.tif", noise(3, 8, 8))
    for kept in range(0, len(whole) - 1000, len(whole) // 40):
        cut_file.write_bytes(whole[:kept])
        with pytest.raises(FrameError) as refusal, open_frame(cut_file) as frame:
            frame.window(Box(0, 0, 256, 256), (0, 1, 2))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "options", [{}, {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16}, {"compress": "lzw"}]
)
def test_a_thousand_damaged_files_end_in_pixels_or_in_one_line(write_tiff: WriteTiff, options: dict[str, Any]) -> None:
    whole = write_tiff("whole.tif", noise(3, 32, 32), **options).read_bytes()
    path = write_tiff("damaged.tif", noise(3, 8, 8))
    rng, refusals = np.random.default_rng(29), list[str]()
    for _ in range(350):
        content = bytearray(whole)
        for at in rng.integers(0, len(content) if rng.random() < 0.5 else 300, rng.integers(1, 8)):
            content[at] = rng.integers(0, 256)
        path.write_bytes(content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.3 else content)
        try:
            with open_frame(path, value_range=(0, 255)) as frame:
                edge = min(frame.width_px, frame.height_px, 64)
                assert frame.read(0, 0, edge, (0,)).shape == (1, edge, edge)
        except FrameError as error:
            refusals.append(str(error))
    assert refusals
    assert not any("\n" in refusal for refusal in refusals)


def test_damage_prints_nothing_but_the_refusal(write_tiff: WriteTiff, repo: Path) -> None:
    path = write_tiff("cut.tif", noise(3, 256, 256), compress="deflate", tiled=True, blockxsize=64, blockysize=64)
    path.write_bytes(path.read_bytes()[:100_000])
    program = (
        "import sys\nfrom runtime.frames import open_frame\nfrom runtime.georeference import Box\n"
        "from runtime.errors import FrameError\n"
        "try:\n    open_frame(sys.argv[1]).window(Box(0, 0, 256, 256), (0,))\n"
        "except FrameError as error:\n    print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=repo,
    )
    assert ran.stderr == ""
    assert ran.stdout.count("\n") == 1
    assert "damaged or cut short" in ran.stdout
