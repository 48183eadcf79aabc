"""The classical matcher, where OpenCV is there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exporters.baselines.matcher import Matcher, available
from exporters.errors import DatasetError


def ground(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse, fine = (np.kron(rng.integers(0, 256, (3, 256 // n, 256 // n)), np.ones((n, n))) for n in (16, 8))
    return (0.6 * coarse + 0.4 * fine).astype(np.uint8)


@pytest.mark.skipif(not available(), reason="needs OpenCV")
@pytest.mark.parametrize("features", ["sift", "orb"])
def test_a_part_of_the_map_is_found_and_a_part_of_another_is_not(features: str) -> None:
    matcher = Matcher(ground(0), features)
    found = matcher.find(np.rot90(ground(0)[:, 60:188, 90:218], axes=(1, 2)).copy())
    assert math.hypot(found.row_px - 123.5, found.col_px - 153.5) < 3
    assert found.inliers >= 6
    bare = matcher.find(np.full((3, 64, 64), 90, dtype=np.uint8))
    assert bare.inliers == 0
    assert math.isnan(bare.row_px)


def test_unknown_features_are_refused() -> None:
    with pytest.raises(DatasetError, match="Use one of sift, orb"):
        Matcher(ground(0), "surf")


@pytest.mark.skipif(available(), reason="OpenCV is here")
def test_without_opencv_it_says_how_to_get_it() -> None:
    with pytest.raises(DatasetError, match="bench"):
        Matcher(ground(0))
