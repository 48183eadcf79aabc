from __future__ import annotations

import numpy as np
import pytest

from exporters.baselines.cfar import CfarSettings, box_sum, connected, detect, ring_mean
from exporters.errors import ExporterError


def speckle(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Amplitude of fully developed speckle, mean power 100."""
    return np.sqrt(np.random.default_rng(seed).exponential(100.0, (rows, columns)))


def test_ships_in_speckle_are_found_where_they_are_and_nothing_else() -> None:
    picture = speckle(120, 160)
    picture[30:40, 50:70] = 100.0
    picture[80:100, 120:126] = 80.0
    found = detect(picture, CfarSettings(guard_px=20, ring_px=40))
    assert found[:, :4].tolist() == [[50, 30, 70, 40], [120, 80, 126, 100]]
    assert (np.diff(found[:, 4]) < 0).all()
    assert (found[:, 4] > 0.5).all()


def test_the_share_of_false_alarms_is_the_one_asked_for() -> None:
    power = np.square(speckle(400, 400, seed=1))
    clutter, cells = ring_mean(power, 4, 12)
    from exporters.baselines.cfar import cfar_factor

    share = float((power > cfar_factor(cells, 1e-2) * clutter).mean())
    assert share == pytest.approx(1e-2, rel=0.1)


def test_sums_over_squares_stop_at_the_border() -> None:
    values = np.arange(12.0).reshape(3, 4)
    assert box_sum(values, 1)[0, 0] == values[:2, :2].sum()
    assert box_sum(values, 1)[1, 2] == values[:, 1:].sum()
    assert box_sum(values, 9).min() == values.sum()


def test_groups_are_joined_by_side_and_corner() -> None:
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]], bool)
    groups = connected(mask)
    assert len(np.unique(groups)) - 1 == 4
    assert groups[0, 0] == groups[1, 1]
    assert groups[0, 3] == groups[1, 3] != groups[3, 3]
    assert connected(np.zeros((3, 3), bool)).max() == 0


def test_an_empty_picture_has_no_ships_and_a_ring_needs_width() -> None:
    assert detect(np.zeros((64, 64))).shape == (0, 6)
    with pytest.raises(ExporterError, match="ring from 9 to 9 px"):
        CfarSettings(guard_px=9, ring_px=9)
