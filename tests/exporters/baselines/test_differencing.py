"""Differencing sees what differs, and not another light."""

from __future__ import annotations

import numpy as np

from exporters.baselines.differencing import change_vector, difference_mask, otsu_threshold


def test_the_length_is_that_of_the_spectral_difference() -> None:
    earlier = np.zeros((3, 1, 2), dtype=np.uint8)
    later = np.array([[[0, 3]], [[0, 4]], [[0, 0]]], dtype=np.uint8)
    assert change_vector(earlier, later, match=False).tolist() == [[0.0, 5.0]]


def test_otsu_parts_two_groups_between_them() -> None:
    values = np.concatenate([np.full(90, 10.0), np.full(10, 200.0)])
    assert 10 < otsu_threshold(values) < 200


def test_a_new_block_is_found_and_a_brighter_day_is_not() -> None:
    rng = np.random.default_rng(0)
    earlier = rng.integers(60, 120, (3, 64, 64)).astype(np.uint8)
    later = (earlier * 1.5).astype(np.uint8)
    later[:, 10:20, 30:40] = 250
    truth = np.zeros((64, 64), dtype=bool)
    truth[10:20, 30:40] = True
    mask = difference_mask(earlier, later)
    assert (mask == truth).mean() > 0.97


def test_dates_that_are_equal_have_no_change() -> None:
    date = np.full((3, 8, 8), 7, dtype=np.uint8)
    assert not difference_mask(date, date).any()
