"""Interpolations that keep what they must keep, and a filter that cuts off what stands out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.baselines.upsampling import KERNELS, cubic, opened
from exporters.errors import DatasetError
from exporters.metrics.terrain import height_error
from exporters.readers.terrain import make_pair, read_heights


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_plane_stays_a_plane_and_a_constant_a_constant(kernel: str) -> None:
    rows, cols = np.mgrid[0:16, 0:12].astype(float)
    fine = cubic(3 * rows - 2 * cols, 4, kernel=kernel)
    at_row, at_col = (np.mgrid[0:64, 0:48] + 0.5) / 4 - 0.5
    inner = (slice(26, 38), slice(20, 28)) if kernel == "spline" else (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(fine[inner], (3 * at_row - 2 * at_col)[inner], atol=0.02)
    np.testing.assert_allclose(cubic(np.full((3, 5), 7.5), 6, kernel=kernel), 7.5, atol=1e-9)


def test_keys_kernel_gives_quadratic_surfaces_exactly() -> None:
    x = np.arange(12.0)
    fine = cubic((x**2)[None].repeat(4, axis=0), 3)[5]
    at = (np.arange(36) + 0.5) / 3 - 0.5
    np.testing.assert_allclose(fine[6:-6], at[6:-6] ** 2, atol=1e-9)


def test_the_spline_passes_through_what_it_was_given() -> None:
    coarse = np.random.default_rng(0).normal(size=(9, 7))
    np.testing.assert_allclose(cubic(coarse, 5, kernel="spline")[2::5, 2::5], coarse, atol=1e-9)


def test_opening_takes_a_tower_off_and_leaves_a_hill() -> None:
    rows, cols = np.mgrid[0:41, 0:41].astype(float)
    hill = 0.2 * rows + 0.1 * cols
    tower = hill.copy()
    tower[10:13, 20:23] += 15.0
    assert np.abs(opened(tower, 5) - hill).max() < 2.0
    assert opened(tower, 1).max() == tower.max()


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(DatasetError, match="keys, spline"):
        cubic(np.zeros((4, 4)), 2, kernel="lanczos")


def test_the_floors_of_the_data_set_are_reproduced(data_dir: Path) -> None:
    folder = data_dir / "dem-lidar-tiles"
    if not folder.is_dir():
        pytest.skip("needs DATA: dem-lidar-tiles")
    sandiego, ubc = read_heights(folder / "sandiego_dtm_1m.nc"), read_heights(folder / "ubc_dtm_1m.tif")
    found = [
        height_error([(pair.given_m, pair.truth_m)]).rmse_m
        for pair in (make_pair("", one, one, kernel="spline") for one in (sandiego, ubc))
    ]
    assert found == pytest.approx([3.35, 0.17], abs=0.015)
    terrain, surface = (read_heights(folder / f"alexandria_{kind}_2m.tif") for kind in ("dtm", "dsm"))
    pair = make_pair("", surface, terrain, fine_m=6.0, kernel="spline")
    assert pair.truth_m.shape == (85, 90)
    assert height_error([(pair.given_m, pair.truth_m)]).rmse_m == pytest.approx(4.04, abs=0.15)
