"""The measures of the card, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.metrics.terrain import height_error, psnr_db


def test_measures_are_those_of_the_card() -> None:
    e = np.array([-1.0, 0.0, 0.0, 1.0, 10.0])
    found = height_error([(e, np.zeros(5))])
    assert found.rmse_m == pytest.approx(4.5166, abs=1e-4)
    assert (found.median_m, found.n) == (0.0, 5)
    assert found.nmad_m == pytest.approx(1.4826)
    assert found.le95_m == pytest.approx(8.2)


def test_psnr_is_that_of_the_published_tables() -> None:
    assert psnr_db(1.0596) == pytest.approx(58.857, abs=1e-3)
    assert psnr_db(3.7492) == pytest.approx(47.881, abs=1e-3)
    assert psnr_db(1.0851, 933.0) == pytest.approx(58.688, abs=1e-3)
    assert math.isinf(psnr_db(0.0))


def test_errors_are_pooled_over_areas_of_any_size_and_gaps_do_not_count() -> None:
    one = (np.array([[1.0, np.nan]]), np.array([[0.0, 0.0]]))
    other = (np.array([2.0, 5.0, 2.0]), np.array([0.0, np.nan, 0.0]))
    found = height_error([one, other])
    assert (found.n, found.rmse_m) == (3, pytest.approx(math.sqrt(3.0)))
    assert set(found.named("a-")) == {"a-rmse_m", "a-median_m", "a-nmad_m", "a-le95_m", "a-psnr_db", "a-n"}


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(DatasetError, match="nodata"):
        height_error([(np.array([np.nan]), np.array([1.0]))])
    with pytest.raises(DatasetError, match="nodata"):
        height_error([])
