from __future__ import annotations

import numpy as np
import pytest

from exporters.baselines.dark_channel import (
    DarkChannel,
    airlight_of,
    dark_channel,
    dehaze_dark_channel,
    guided_filter,
)
from exporters.errors import DatasetError
from exporters.metrics.restoration import psnr_db


def test_the_dark_channel_is_the_lowest_value_of_a_patch() -> None:
    image = np.ones((3, 7, 7))
    image[1, 3, 3] = 0.2
    dark = dark_channel(image, 3)
    assert np.argwhere(dark < 1.0).min(axis=0).tolist() == [2, 2]
    assert np.argwhere(dark < 1.0).max(axis=0).tolist() == [4, 4]
    assert dark[3, 3] == 0.2


def test_the_airlight_is_the_brightest_among_the_haziest() -> None:
    image = np.zeros((3, 4, 4))
    image[:, 0, 0], image[:, 1, 1] = 0.8, [0.9, 0.9, 0.95]
    dark = image.min(axis=0)
    assert airlight_of(image, dark, 2 / 16).tolist() == [0.9, 0.9, 0.95]


def test_a_guided_filter_keeps_the_edges_of_its_guide() -> None:
    guide = np.zeros((20, 20))
    guide[:, 10:] = 1.0
    kept = guided_filter(guide, guide, 4, 1e-4)
    assert np.abs(kept - guide).max() < 0.01
    flat = guided_filter(np.zeros((20, 20)), guide, 4, 1e-4)
    assert 0.3 < flat[5, 10] < 0.7


def test_an_even_veil_over_a_scene_with_shadows_comes_off() -> None:
    rng = np.random.default_rng(0)
    clear = rng.integers(0, 120, (3, 96, 96)).astype(np.uint8)
    clear[:, :20, :20] = 255  # a cloud: the airlight
    hazy = np.rint(0.5 * clear + 0.5 * 255).astype(np.uint8)
    restored = dehaze_dark_channel(hazy, DarkChannel(radius_px=8))
    assert restored.dtype == np.uint8
    far = np.s_[:, 40:, 40:]
    assert psnr_db(restored[far], clear[far]) > psnr_db(hazy[far], clear[far]) + 10.0


def test_what_is_no_image_or_no_setting_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"not \(1, 8, 8\)"):
        dehaze_dark_channel(np.zeros((1, 8, 8), dtype=np.uint8))
    with pytest.raises(DatasetError, match="patch_px is 4"):
        DarkChannel(patch_px=4)
