"""OA, AA and kappa, accuracy, F1 and IoU against numbers worked out by hand and printed in the papers."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.metrics.change import Counts
from exporters.metrics.segmentation import confusion, land_cover_measures, mask_counts, mask_measures

HOUSTON = (1053, 1064, 505, 1056, 1056, 143, 1072, 1053, 1059, 1036, 1054, 1041, 285, 247, 473)


def test_land_cover_is_measured_as_the_card_works_out() -> None:
    found = land_cover_measures(np.array([[50, 2, 3], [4, 30, 1], [0, 5, 5]]))
    assert found == pytest.approx({"oa": 0.85, "aa": 0.755411, "kappa": 0.734278}, abs=1e-6)


def test_the_corrected_test_counts_add_up_to_the_sets_size() -> None:
    assert sum(HOUSTON) == 12_197
    perfect = land_cover_measures(np.diag(np.array(HOUSTON)))
    assert perfect == {"oa": 1.0, "aa": 1.0, "kappa": 1.0}


def test_unlabelled_pixels_and_classes_that_do_not_occur_count_nowhere() -> None:
    truth, answer = np.array([0, 0, 1, -1]), np.array([0, 1, 1, 2])
    matrix = confusion(truth, answer, 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert land_cover_measures(matrix, "x-")["x-aa"] == pytest.approx(0.75)
    assert land_cover_measures(np.zeros((2, 2), dtype=np.int64))["oa"] == 0.0
    with pytest.raises(ValueError, match="Cut them alike"):
        confusion(truth, answer[:2], 3)


def test_masks_are_measured_as_the_card_works_out_where_there_is_data() -> None:
    found = mask_measures(Counts(80, 10, 20, 890))
    expected = {"accuracy": 0.97, "precision": 0.888889, "recall": 0.8, "f1": 0.842105, "iou": 0.727273}
    assert found == pytest.approx(expected, abs=1e-6)
    assert found["iou"] == pytest.approx(found["f1"] / (2 - found["f1"]))
    answer, truth, valid = (np.array(values, dtype=bool) for values in ([1, 1, 0], [1, 0, 0], [1, 0, 1]))
    assert mask_counts(answer, truth, valid) == Counts(1, 0, 0, 1)
    assert mask_counts(answer, truth) == Counts(1, 1, 0, 1)
