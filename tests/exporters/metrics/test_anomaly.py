"""Scores and areas that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.metrics.anomaly import auc, mahalanobis, whitening_of


def test_five_points_have_the_distances_of_the_card() -> None:
    points = np.array([[0, 0], [2, 0], [0, 2], [2, 2], [6, 6]], dtype=float).T.reshape(2, 1, 5)
    np.testing.assert_allclose(mahalanobis(points, ridge=0.0)[0], [0.7273, 2.1818, 2.1818, 0, 2.9091], atol=1e-4)


def test_the_mean_score_is_bands_times_n_minus_one_over_n() -> None:
    cube = np.random.default_rng(0).normal(size=(50, 64, 64))
    assert mahalanobis(cube, ridge=0.0).mean() == pytest.approx(50 * 4095 / 4096, abs=1e-6)


def test_a_constant_cube_has_no_anomaly_and_nan_is_refused() -> None:
    assert np.array_equal(mahalanobis(np.full((5, 8, 8), 3.0)), np.zeros((8, 8)))
    with pytest.raises(DatasetError, match="NaN"):
        whitening_of(np.full((5, 8, 8), np.nan))


def test_the_area_counts_ties_half() -> None:
    assert auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1], dtype=bool)) == 0.75
    assert auc(np.ones(6), np.array([0, 1, 0, 1, 0, 1], dtype=bool)) == 0.5


def test_an_area_needs_both_kinds_of_pixels_and_finite_scores() -> None:
    with pytest.raises(DatasetError, match="both kinds"):
        auc(np.ones(4), np.ones(4, dtype=bool))
    with pytest.raises(DatasetError, match="NaN"):
        auc(np.array([np.nan, 1.0]), np.array([True, False]))
