from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.errors import DatasetError
from exporters.readers.haze import HazeModel, add_haze, add_haze_to_all, scatter, smooth_field

CLEAR = np.random.default_rng(0).integers(0, 200, (3, 16, 24), dtype=np.uint8)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_haze_keeps_within_what_the_model_says(seed: int) -> None:
    model = HazeModel(depth=(0.5, 1.0), thinnest_frac=(0.5, 0.5), airlight=(0.8, 0.9), angstrom=(0.0, 0.0))
    hazed = add_haze(CLEAR, np.random.default_rng(seed), model)
    assert hazed.transmission.min() >= np.exp(-1.0) - 1e-6
    assert hazed.transmission.max() <= np.exp(-0.25) + 1e-6
    assert hazed.airlight.min() >= 0.77
    assert hazed.airlight.max() <= 0.93
    expected = 255.0 * scatter(CLEAR.astype(np.float32) / 255.0, hazed.transmission, hazed.airlight)
    assert np.abs(hazed.pixels - expected).max() <= 0.501


def test_no_depth_is_no_haze_and_endless_depth_is_the_airlight() -> None:
    none = add_haze(CLEAR, np.random.default_rng(1), HazeModel(depth=(0.0, 0.0)))
    assert np.array_equal(none.pixels, CLEAR)
    wall = add_haze(CLEAR, np.random.default_rng(1), HazeModel(depth=(50.0, 50.0), thinnest_frac=(1.0, 1.0)))
    assert np.abs(wall.pixels / 255.0 - wall.airlight[:, None, None]).max() < 0.003


def test_fine_aerosol_hides_blue_more_than_red() -> None:
    hazed = add_haze(CLEAR, np.random.default_rng(2), HazeModel(angstrom=(1.3, 1.3)))
    red, green, blue = hazed.transmission
    assert (red > green).all()
    assert (green > blue).all()


def test_the_same_seed_makes_the_same_haze_whatever_the_company() -> None:
    chips = np.stack([CLEAR, CLEAR, CLEAR])
    all_of_them, first = add_haze_to_all(chips, seed=4), add_haze_to_all(chips[:1], seed=4)
    assert np.array_equal(all_of_them[0], first[0])
    assert not np.array_equal(all_of_them[0], all_of_them[1])
    assert not np.array_equal(all_of_them, add_haze_to_all(chips, seed=5))


def test_a_smooth_field_fills_zero_to_one_without_steps() -> None:
    field = smooth_field(64, 96, np.random.default_rng(3))
    assert (field.min(), field.max()) == (0.0, 1.0)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in (0, 1)) < 0.1


def test_what_is_no_clear_image_or_no_range_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DatasetError, match="uint8"):
        add_haze(CLEAR.astype(np.float32), rng)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"\(1, 16, 24\)"):
        add_haze(CLEAR[:1], rng)
    with pytest.raises(DatasetError, match=r"depth runs from 2\.0 to 1\.0"):
        HazeModel(depth=(2.0, 1.0))
