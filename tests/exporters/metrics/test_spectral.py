"""SAM, MAE and the figures of one image, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.metrics.spectral import fidelity, mae_dn, sam_rad

NOWHERE = np.zeros((16, 16), dtype=bool)


def test_a_constant_error_gives_the_figures_of_the_card() -> None:
    clear = np.full((3, 16, 16), 3000.0)
    found = fidelity(clear + 195.2, clear, NOWHERE)
    assert found.mae_dn == pytest.approx(195.2)
    assert found.psnr_db == pytest.approx(34.19, abs=0.005)
    assert found.sam_rad == pytest.approx(0.0, abs=1e-7)
    assert math.isnan(found.psnr_cloud_db)


def test_equal_images_are_perfect_and_nothing_is_out_of_range() -> None:
    clear = np.random.default_rng(0).uniform(1, 9000, (3, 16, 16))
    found = fidelity(clear, clear, ~NOWHERE)
    assert found.psnr_db == found.psnr_cloud_db == math.inf
    assert found.ssim == pytest.approx(1.0)
    assert found.sam_rad == pytest.approx(0.0, abs=1e-6)
    assert found.mae_dn == found.mae_cloud_dn == 0.0


def test_the_angle_between_two_spectra_is_what_one_finds_by_hand() -> None:
    one, other = np.array([1.0, 0, 0]), np.array([1.0, 1, 0])
    assert sam_rad(one[:, None, None], other[:, None, None]) == pytest.approx(0.785398, abs=1e-6)
    assert sam_rad(np.zeros((3, 2, 2)), np.ones((3, 2, 2))) == 0.0


def test_figures_under_the_cloud_count_its_pixels_alone() -> None:
    clear, cloud = np.full((3, 16, 16), 2000.0), NOWHERE.copy()
    cloud[:4] = True
    found = fidelity(np.where(cloud, clear + 400.0, clear), clear, cloud)
    assert (found.mae_dn, found.mae_cloud_dn) == pytest.approx((100.0, 400.0))
    assert found.psnr_cloud_db == pytest.approx(20 * math.log10(10000 / 400))


def test_what_is_brighter_than_white_counts_as_white() -> None:
    clear = np.full((3, 16, 16), 10000.0)
    assert fidelity(clear + 5000.0, clear, NOWHERE).mae_dn == 0.0


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(DatasetError, match="cannot be compared"):
        mae_dn(np.zeros((3, 4, 4)), np.zeros((3, 4, 5)))
