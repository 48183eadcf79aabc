"""Recalls and metre errors against hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.metrics.geolocation import chance, found, recalls_of_ranks


def test_recalls_are_the_ones_of_the_card() -> None:
    at, one_percent = recalls_of_ranks([1, 4, 20], 1000)
    assert [round(at[k], 1) for k in (1, 5, 10)] == [33.3, 66.7, 66.7]
    assert round(one_percent, 1) == 66.7


def test_a_tie_counts_against_the_answer_and_metres_are_of_the_best() -> None:
    scores = np.array([[0.9, 0.9, 0.1], [0.2, 0.8, 0.3]])
    apart = np.array([[0.0, 50.0, 90.0], [70.0, 5.0, 80.0]])
    table = found(scores, apart, 10.0, ks=(1, 2)).as_table()
    assert table["r1"] == 50.0
    assert table["r2"] == 100.0
    assert table["median_m"] == 2.5
    assert table["mrr"] == 0.75


def test_a_query_without_a_right_tile_never_hits() -> None:
    assert found(np.array([[0.9, 0.1]]), np.array([[50.0, 60.0]]), 10.0).at[10] == 0.0


def test_chance_is_what_random_scores_come_to() -> None:
    rng = np.random.default_rng(0)
    apart = rng.uniform(0, 100, (400, 40))
    wanted = chance(apart, 10.0)
    got = [found(rng.random((400, 40)), apart, 10.0) for _ in range(20)]
    for k in (1, 5, 10):
        assert np.mean([one.at[k] for one in got]) == pytest.approx(wanted.at[k], abs=1.5)
    assert np.mean([one.mean_reciprocal_rank for one in got]) == pytest.approx(wanted.mean_reciprocal_rank, abs=0.05)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite scores"):
        found(np.array([[np.nan]]), np.array([[1.0]]), 10.0)
    with pytest.raises(ValueError, match="counted from 1"):
        recalls_of_ranks([0], 5)
