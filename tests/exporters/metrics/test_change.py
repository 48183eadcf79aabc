"""Measures of change masks by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.metrics.change import Counts


def test_the_measures_are_those_of_the_card() -> None:
    counts = Counts(tp=80, fp=10, fn=20, tn=890)
    expected = {"precision": 0.888889, "recall": 0.8, "f1": 0.842105, "iou": 0.727273, "kappa": 0.825581}
    assert counts.measures() == pytest.approx(expected, abs=1e-6)


@given(st.tuples(*[st.integers(0, 1000)] * 4))
def test_iou_is_f1_over_two_minus_f1(parts: tuple[int, int, int, int]) -> None:
    counts = Counts(*parts)
    assert counts.iou == pytest.approx(counts.f1 / (2 - counts.f1), abs=1e-12)


def test_nothing_found_and_nothing_there_divides_by_nothing() -> None:
    empty = np.zeros((4, 4), dtype=bool)
    assert set(Counts.of(empty, empty).measures().values()) == {0.0}
    assert Counts.sum([]).f1 == 0.0


def test_counts_of_parts_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    answer, truth = rng.random((2, 6, 6)) > 0.5
    assert Counts.sum([Counts.of(answer[:3], truth[:3]), Counts.of(answer[3:], truth[3:])]) == Counts.of(answer, truth)
    with pytest.raises(ValueError, match="Cut them alike"):
        Counts.of(answer, truth[:3])
