"""Scenes of one place laid over each other: bands by name, places by georeference, nothing where one is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import FrameError
from runtime.frames import Beside, choose_bands, open_any, open_frame, open_stack, parse_beside
from runtime.georeference import Box
from runtime.records import UInt8Array

WriteTiff = Callable[..., Path]


def noise(height: int, width: int, seed: int = 1) -> UInt8Array:
    return np.random.default_rng(seed).integers(1, 256, (3, height, width), dtype=np.uint8)


def shifted(down_px: float, right_px: float, gsd_m: float = 10.0) -> object:
    from affine import Affine

    return Affine(gsd_m, 0.0, 500_000.0 + 10 * right_px, 0.0, -gsd_m, 5_300_000.0 - 10 * down_px)


def test_scenes_on_one_grid_are_read_as_they_are_and_bands_are_found_by_role(write_tiff: WriteTiff) -> None:
    now, before = noise(40, 50), noise(60, 70, seed=2)
    first, other = write_tiff("now.tif", now), write_tiff("before.tif", before, transform=shifted(-5, -7))
    with open_stack(first, [Beside("reference", other)]) as stack:
        wanted = ("reference_red", "reference_green", "reference_blue", "red", "green", "blue")
        bands = choose_bands(stack.bands, wanted, stack.frame_id)
        patch = stack.window(Box(3, 4, 20, 30), bands)
        assert (patch.pixels[3:] == now[:, 3:23, 4:34]).all()
        assert (patch.pixels[:3] == before[:, 8:28, 11:41]).all()
        assert patch.valid is None


def test_pixels_that_one_scene_lacks_are_not_valid(write_tiff: WriteTiff) -> None:
    first = write_tiff("now.tif", noise(40, 50))
    other = write_tiff("part.tif", noise(10, 10), transform=shifted(30, 45))
    for dtype, nothing in (("uint8", 0), ("float32", np.nan)):
        with open_stack(first, [Beside("reference", other)], tile_dtype=dtype) as stack:
            patch = stack.window(Box(0, 0, 40, 50), (0, 3))
            assert patch.valid is not None
            assert patch.valid.sum() == 10 * 5
            assert patch.valid[30:, 45:].all()
            assert np.array_equal(patch.pixels[1, 0, 0], nothing, equal_nan=True)


def test_a_scene_on_a_finer_grid_or_in_another_crs_is_resampled_onto_the_first(write_tiff: WriteTiff) -> None:
    import rasterio
    from affine import Affine
    from rasterio.warp import Resampling, reproject, transform

    rows, cols = np.mgrid[0:200, 0:240].astype(np.float32)
    fine = write_tiff("fine.tif", (rows + 2 * cols)[None], transform=shifted(0, 0, gsd_m=2.5))
    first = write_tiff("now.tif", np.stack([np.ones((40, 50), dtype=np.float32)] * 3))
    corner = transform("EPSG:32632", "EPSG:4326", [500_000], [5_300_000])
    grid = Affine(3.3e-5, 0.0, corner[0][0], 0.0, -2.25e-5, corner[1][0] + 1e-5)
    warped = np.full((1, 260, 260), -1, dtype=np.float32)
    with rasterio.open(fine) as source:
        reproject(
            rasterio.band(source, 1),
            warped,
            dst_transform=grid,
            dst_crs="EPSG:4326",
            dst_nodata=-1,
            resampling=Resampling.bilinear,
        )
    degrees = write_tiff("degrees.tif", warped, crs="EPSG:4326", transform=grid, nodata=-1)
    down, right = np.mgrid[10:30, 10:30]
    expected = (4 * down + 1.5) + 2 * (4 * right + 1.5)
    for path in (fine, degrees):
        with open_stack(first, [Beside("dem", path)], tile_dtype="float32") as stack:
            (dem,) = choose_bands(stack.bands, ("dem",), stack.frame_id)
            patch = stack.window(Box(10, 10, 20, 20), (dem,))
        assert patch.valid is None or patch.valid.all()
        assert np.abs(patch.pixels[0] - expected).max() < 1.5


def test_scenes_of_different_places_or_without_a_place_are_refused(write_tiff: WriteTiff) -> None:
    first = write_tiff("now.tif", noise(40, 50))
    far = write_tiff("far.tif", noise(40, 50), transform=shifted(400, 0))
    lost = write_tiff("lost.tif", noise(40, 50), crs=None, transform=None)
    with pytest.raises(FrameError, match="different places: it lies 360 rows and 0 columns off"):
        open_stack(first, [Beside("reference", far)])
    with pytest.raises(FrameError, match="does not say where it lies"):
        open_stack(first, [Beside("reference", lost)])
    with pytest.raises(FrameError, match="not all different"):
        open_stack(first, [Beside("reference", far), Beside("reference", far)])
    with pytest.raises(FrameError, match="Write ROLE=FILE"):
        parse_beside("before.tif")


def test_pictures_without_a_place_must_have_one_size(write_tiff: WriteTiff) -> None:
    one, two = (write_tiff(f"{n}.tif", noise(40, 50, n), crs=None, transform=None) for n in (1, 2))
    small = write_tiff("small.tif", noise(20, 50), crs=None, transform=None)
    with open_any(one, beside=[Beside("reference", two)]) as stack:
        assert (stack.window(Box(0, 0, 40, 50), (3, 4, 5)).pixels == noise(40, 50, 2)).all()
    with pytest.raises(FrameError, match="neither says where it lies"):
        open_stack(one, [Beside("reference", small)])


def test_bands_answer_to_their_role_and_names_that_two_scenes_share_are_no_answer() -> None:
    have = ("red", "sar:vv", "sar:vh", "before:red", "dem:band_1")
    assert choose_bands(have, ("red", "vv", "sar_vh", "before_red", "dem"), "s") == (0, 1, 2, 3, 4)
    with pytest.raises(FrameError, match="no band nir"):
        choose_bands(have, ("nir",), "s")
    with pytest.raises(FrameError, match="no band vv"):
        choose_bands(("red", "one:vv", "two:vv"), ("vv",), "s")


def test_real_radar_lies_on_real_optical_pixels(data_dir: Path) -> None:
    folder = data_dir / "scenes-geotiff"
    optical, radar = folder / "sen12mscr_p839_s2_clear.tif", folder / "sen12mscr_p839_s1.tif"
    names = ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b8a", "b9", "b10", "b11", "b12")
    beside = [parse_beside(f"sar:vv,vh={radar}")]
    with (
        open_stack(optical, beside, band_names=names, tile_dtype="float32") as stack,
        open_frame(radar, tile_dtype="float32", band_names=("vv", "vh")) as alone,
    ):
        bands = choose_bands(stack.bands, ("red", "nir", "vv", "sar_vh"), stack.frame_id)
        assert bands == (3, 7, 13, 14)
        box = Box(100, 30, 64, 64)
        patch = stack.window(box, bands)
        assert np.array_equal(patch.pixels[2:], alone.window(box, (0, 1)).pixels)
        assert -40 < patch.pixels[2:].mean() < 0 < patch.pixels[:2].mean()
    with pytest.raises(FrameError, match="different places"):
        open_stack(
            optical, [Beside("dem", data_dir / "dem-lidar-tiles" / "alexandria_dtm_2m.tif")], tile_dtype="float32"
        )
