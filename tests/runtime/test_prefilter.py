"""Pre-filters: what is shed before inference, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import FrameError
from runtime.frame import Patch
from runtime.frames import RGB, choose_bands, open_frame
from runtime.georeference import Box
from runtime.prefilter import parse_skip, screen
from runtime.tiles import cut, tile_grid

SENTINEL2 = (*(f"B{number:02}" for number in range(1, 9)), "B8A", *(f"B{number:02}" for number in range(9, 13)))


def flat(*levels: int) -> Patch:
    return Patch(np.array(levels, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2))


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ((3, 5, 9, 4), "dark: more than 90% of it"),
        ((150, 150, 160, 180), "cloud: more than 80% of it"),
        ((20, 40, 40, 12), "water: more than 90% of it"),
        ((90, 80, 60, 120), ""),
        ((200, 40, 40, 60), ""),
    ],
)
def test_a_tile_is_shed_for_what_it_shows(levels: tuple[int, ...], reason: str) -> None:
    names = (*RGB, "nir")
    keep = screen({"dark": 0.9, "cloud": 0.8, "water": 0.9}, names, names, "scene").keep
    assert keep(flat(*levels)) == reason


def test_pixels_without_data_do_not_count(write_tiff: Callable[..., Path]) -> None:
    pixels = flat(90, 80, 60)
    valid = np.zeros((8, 8), dtype=bool)
    valid[:, :5] = True
    night = Patch(pixels.pixels.copy(), valid)
    night.pixels[:, :, :5] = 0
    keep = screen({"dark": 0.9}, RGB, RGB, "scene").keep
    assert keep(night).startswith("dark")
    assert keep(Patch(night.pixels, ~valid)).startswith("nodata")


def test_water_is_found_by_a_band_that_the_network_does_not_see(write_tiff: Callable[..., Path]) -> None:
    pixels = np.full((4, 16, 32), 100, dtype=np.uint8)
    pixels[1, :, 16:], pixels[3, :, 16:] = 60, 10
    path = write_tiff("lake.tif", pixels, descriptions=("red", "green", "blue", "nir"))
    with open_frame(path) as frame:
        chosen = screen({"water": 0.9}, RGB, frame.bands, frame.frame_id)
        refs = [window.ref for window in tile_grid(32, 16, 16)]
        bands = choose_bands(frame.bands, RGB, "lake")
        (batch,) = cut(frame, refs, bands, batch=4, keep=chosen.keep, beside=chosen.beside)
    assert batch.pixels.shape == (1, 3, 16, 16)
    assert [(outcome.ref.col_px, outcome.reason) for outcome in batch.left_out] == [(16, "water: more than 90% of it")]


def test_a_band_that_is_missing_and_a_test_that_is_none_are_refused() -> None:
    with pytest.raises(FrameError, match="no band nir"):
        screen({"water": 0.9}, RGB, RGB, "scene")
    with pytest.raises(FrameError, match="cloud, dark, water"):
        screen({"snow": 0.9}, RGB, RGB, "scene")
    with pytest.raises(FrameError, match="above 0"):
        screen({"dark": 0.0}, RGB, RGB, "scene")
    with pytest.raises(FrameError, match="NAME=SHARE"):
        parse_skip("cloud=much")
    assert parse_skip("dark,cloud=0.8") == {"dark": 0.9, "cloud": 0.8}


def test_real_clouds_over_sentinel_2_are_found_and_clear_ground_is_not(data_dir: Path) -> None:
    shares = {}
    for name in ("clear", "cloudy"):
        path = data_dir / "scenes-geotiff" / f"sen12mscr_p839_s2_{name}.tif"
        with open_frame(path, band_names=SENTINEL2, value_range=(0, 10_000)) as frame:
            chosen = screen({"cloud": 0.9}, RGB, frame.bands, name)
            bands = choose_bands(frame.bands, RGB, name)
            patches = [frame.window(Box(r, c, 16, 16), bands) for r in range(0, 256, 16) for c in range(0, 256, 16)]
        shares[name] = float(np.mean([bool(chosen.keep(patch)) for patch in patches]))
    assert shares["clear"] == 0.0
    assert 0.05 < shares["cloudy"] < 0.5
