"""Interferograms: two dates, one grid, a velocity by hand, a picture of it in which no data is black."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.readers.interferogram import (
    Interferograms,
    dates_of,
    read_interferograms,
    render,
    velocity_mm_a,
    write_rendering,
)


def write(path: Path, values: np.ndarray, *, west: float = 10.0) -> None:
    import rasterio
    from affine import Affine

    place = {"crs": "EPSG:4326", "transform": Affine(0.001, 0.0, west, 0.0, -0.001, 50.0), "nodata": 0.0}
    rows, cols = values.shape
    with rasterio.open(path, "w", driver="GTiff", width=cols, height=rows, count=1, dtype="float32", **place) as image:
        image.write(values.astype(np.float32), 1)


def test_a_steady_motion_is_found_whatever_offset_each_map_has(tmp_path: Path) -> None:
    true = np.zeros((6, 8))
    true[:, 6:] = -120.0
    for number, (first, second, days) in enumerate(
        (("20180106", "20180130", 24), ("20180130", "20180307", 36), ("20180106", "20180307", 60))
    ):
        phase = -true * days / 365.25 * 4 * np.pi / (0.0555 * 1e3) + 3.0 * number + 0.5
        phase[0, 0] = 0.0
        write(tmp_path / f"crop_{first}-{second}_VV_unw.tif", phase)
        coherence = np.full(true.shape, 0.8)
        coherence[1, 1] = 0.1
        write(tmp_path / f"crop_{first}-{second}_VV_cc.tif", coherence)
    source = read_interferograms(tmp_path)
    assert source.days.tolist() == [24.0, 60.0, 36.0]
    velocity = velocity_mm_a(source)
    assert np.isnan(velocity[0, 0])
    assert np.isnan(velocity[1, 1])
    known = np.isfinite(velocity)
    np.testing.assert_allclose(velocity[known], true[known], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crop_20180106-20180106_unw.tif", "one date only, 2018-01-06: nothing can have moved"),
        ("crop_20180106_unw.tif", "names no two dates"),
        ("crop_20180130-20180106_unw.tif", "2018-01-30 is after 2018-01-06"),
        ("crop_20181306-20181406_unw.tif", "a day that does not exist"),
    ],
)
def test_one_date_only_is_said_plainly(name: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        dates_of(name)


def test_an_empty_folder_and_other_grids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no unwrapped interferogram"):
        read_interferograms(tmp_path)
    write(tmp_path / "a_20180106-20180130_unw.tif", np.ones((4, 5)))
    write(tmp_path / "a_20180130-20180307_unw.tif", np.ones((4, 5)), west=11.0)
    with pytest.raises(DatasetError, match="another grid"):
        read_interferograms(tmp_path)


def test_a_scene_of_which_nothing_is_known_gets_no_invented_velocity() -> None:
    nothing = Interferograms(np.full((2, 3, 3), np.nan), ((date(2018, 1, 1), date(2018, 2, 1)),) * 2, {})
    velocity = velocity_mm_a(nothing)
    assert np.isnan(velocity).all()
    assert not render(velocity).any()


def test_colours_go_around_once_a_fringe_and_black_is_no_data() -> None:
    steps = np.array([[0.0, 14.0, 28.0, -28.0, np.nan]])
    pixels = render(steps)[:, 0].T.tolist()
    assert pixels[0] == pixels[2] == pixels[3] == [255, 0, 0]
    assert pixels[1] == [0, 255, 255]
    assert pixels[4] == [0, 0, 0]


def test_mexico_city_sinks_as_it_is_known_to(data_dir: Path, tmp_path: Path) -> None:
    import rasterio

    folder = data_dir / "insar-mexico-city"
    if not folder.is_dir():
        pytest.skip("needs DATA: insar-mexico-city")
    source = read_interferograms(folder)
    assert len(source.dates) == 30
    velocity = write_rendering(source, tmp_path / "velocity.tif")
    low, high = np.nanpercentile(velocity, [1, 99])
    assert (low, high) == pytest.approx((-208, 102), abs=5)
    with rasterio.open(tmp_path / "velocity.tif") as image:
        assert image.crs.to_epsg() == 4326
        np.testing.assert_array_equal(image.dataset_mask() > 0, np.isfinite(velocity))
