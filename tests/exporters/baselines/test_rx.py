"""RX finds what stands out, and gives the figures that the data set states for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.baselines.rx import global_rx, local_rx
from exporters.errors import DatasetError
from exporters.metrics.anomaly import auc, mahalanobis
from exporters.readers.hyperspectral import read_scenes

STATED = {
    "sandiego": 0.8885,
    "hydice1": 0.9932,
    "pavia": 0.9934,
    "muufl": 0.9919,
    "abu-airport-1": 0.8221,
    "abu-airport-4": 0.9526,
}


def test_global_rx_has_the_stated_area_on_every_real_scene(data_dir: Path) -> None:
    folder = data_dir / "had-hyperspectral-anomaly"
    if not folder.is_dir():
        pytest.skip("needs DATA: had-hyperspectral-anomaly")
    scenes = read_scenes(folder)
    assert scenes.keys() == STATED.keys()
    for name, scene in scenes.items():
        assert scene.anomalies is not None
        assert auc(global_rx(scene.values), scene.anomalies) == pytest.approx(STATED[name], abs=5e-5)


def test_both_windows_see_a_foreign_pixel_and_global_rx_is_mahalanobis_without_ridge() -> None:
    cube = np.random.default_rng(0).normal(size=(6, 24, 24))
    cube[:, 10, 12] += 8.0
    for score in (global_rx(cube), local_rx(cube, inner_px=3, outer_px=11)):
        assert np.unravel_index(score.argmax(), score.shape) == (10, 12)
    np.testing.assert_allclose(global_rx(cube), mahalanobis(cube, ridge=0.0), rtol=1e-9)


def test_a_local_window_sees_what_is_odd_only_here() -> None:
    rng = np.random.default_rng(0)
    cube = rng.normal(0, 0.05, (6, 24, 24))
    cube[:, :, 12:] += 5.0
    cube[:, 12, 4] += 5.0  # normal for the other half, foreign in this one
    where = np.unravel_index(local_rx(cube, inner_px=3, outer_px=7).argmax(), (24, 24))
    assert where == (12, 4)


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DatasetError, match="odd, growing"):
        local_rx(np.zeros((3, 10, 10)), inner_px=9, outer_px=21)
