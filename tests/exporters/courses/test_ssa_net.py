"""Pairs are cut away from what is held back, lit date by date, and scored tile by tile without seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253

from exporters.courses.ssa_net import ChangeCourse, corner, course, jitter, probability
from exporters.errors import DatasetError
from exporters.readers.change import Pair
from exporters.zoo.ssa_net import SSANet


def pair_of(edge: int = 96) -> Pair:
    """A pair whose held-back corner alone holds the value 255."""
    rng = np.random.default_rng(0)
    earlier = rng.integers(0, 128, (3, edge, edge)).astype(np.uint8)
    later = earlier.copy()
    later[:, edge // 2 :, edge // 2 :] = 255
    return Pair("field", earlier, later, later[0] == 255)


def small(**settings: object) -> ChangeCourse:
    given = {"edge_px": 32, "batch": 4, "steps_per_epoch": 2, "switches": {"width": 4}, **settings}
    return ChangeCourse(train={"a": [pair_of()]}, tests={"a": [pair_of()]}, **given)  # type: ignore[arg-type]


def test_one_seed_and_epoch_is_one_sequence_of_batches() -> None:
    first, again, other = (list(made.batches(3)) for made in (small(), small(), small(seed=1)))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    assert (first[0][0].shape, first[0][1].shape) == ((4, 6, 32, 32), (4, 1, 32, 32))


def test_no_training_crop_touches_the_corner_that_is_held_back() -> None:
    pair = pair_of()
    marked = Pair("field", pair.earlier, pair.later, np.zeros_like(pair.changed))
    marked.changed[64:, 64:] = True
    made = ChangeCourse(train={"a": [marked]}, tests={}, edge_px=32, batch=16, steps_per_epoch=20)
    assert not any(masks.any() for _, masks in made.batches(0))
    assert corner(marked, 32).changed.all()


def test_light_changes_by_date_and_stays_within_bounds() -> None:
    rng = np.random.default_rng(0)
    date = pair_of().earlier
    one, other = jitter(date, rng, 0.2), jitter(date, rng, 0.2)
    assert not np.allclose(one, other)
    assert 0.0 <= one.min() < one.max() <= 1.0
    np.testing.assert_allclose(jitter(date, rng, 0.0), date / 255.0, atol=1e-6)


def test_a_large_pair_has_no_seams_between_tiles() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (6, 16, 16)), np.ones((1, 16, 16))).astype(np.uint8)
    pair = Pair("field", smooth[:3], smooth[3:], np.zeros((256, 256), dtype=bool))
    answer = probability(SSANet(8).eval(), pair, 128)
    seams = (112, 176)  # halfway through the overlaps of tiles that begin at 0, 96 and 128
    inside = np.abs(np.diff(answer, axis=1))
    for seam in seams:
        assert inside[:, seam - 1].mean() <= 2 * inside.mean() + 1e-6


def test_test_figures_stand_beside_those_of_differencing() -> None:
    made = small()
    found = made.test(made.build())
    assert {"f1", "iou", "kappa", "a-f1", "a-differencing-f1", "differencing-kappa"} <= found.keys()
    assert found["differencing-f1"] > 0.8
    assert made.validate(made.build()).keys() == {"precision", "recall", "f1", "iou", "kappa"}


def test_the_description_says_which_date_comes_first() -> None:
    about = small().describe()
    assert about.bands[:3] == ("reference_red", "reference_green", "reference_blue")
    assert about.classes == ("unchanged", "change")


def test_the_real_samples_make_a_course_and_small_ones_are_refused(data_dir: Path) -> None:
    if not (data_dir / "cd-levir-samples").is_dir():
        pytest.skip("needs DATA: cd-levir-samples")
    made = course(data_dir, sets="cd-levir-samples", steps_per_epoch=1, batch=2)
    (images, _) = next(made.batches(0))
    assert images.shape == (2, 6, 128, 128)
    with pytest.raises(DatasetError, match="smaller edge_px"):
        course(data_dir, sets="cd-levir-samples", edge_px=160)
