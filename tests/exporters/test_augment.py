from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from exporters.augment import augment, normalise, random_shift, random_symmetry  # noqa: E402
from exporters.datasets import Chips  # noqa: E402


def test_a_symmetry_moves_pixels_and_invents_none(chips: Chips) -> None:
    pixels = torch.from_numpy(chips.pixels)
    views = random_symmetry(pixels, torch.Generator().manual_seed(0))
    assert not torch.equal(views, pixels)
    assert torch.equal(views.flatten(2).sort(2).values, pixels.flatten(2).sort(2).values)


def test_all_eight_symmetries_come_up() -> None:
    square = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2).repeat(200, 1, 1, 1)
    views = random_symmetry(square, torch.Generator().manual_seed(0))
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8


def test_a_shift_of_nothing_is_the_chip_and_a_shift_mirrors_at_the_border() -> None:
    chip = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    assert torch.equal(random_shift(chip, 0, torch.Generator()), chip)
    shifted = random_shift(chip.repeat(100, 1, 1, 1), 1, torch.Generator().manual_seed(0))
    assert len({tuple(view.flatten().tolist()) for view in shifted}) == 9
    one_down = np.pad(chip[0, 0].numpy(), 1, mode="reflect")[:4, 1:5]
    assert any(np.array_equal(view[0].numpy(), one_down) for view in shifted)


def test_augmented_chips_stay_in_range_and_follow_the_seed(chips: Chips) -> None:
    pixels = torch.from_numpy(chips.pixels)
    views = [augment(pixels, shift_px=4, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(views[0], views[1])
    assert 0.0 <= float(views[0].min()) <= float(views[0].max()) <= 255.0


def test_normalised_pixels_have_the_stated_mean_and_deviation() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
    out = normalise(pixels, torch.tensor([0.5]), torch.tensor([0.5]))
    assert out.flatten().tolist() == [-1.0, 1.0]
