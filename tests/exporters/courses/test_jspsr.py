"""Nothing of a test area is trained on; crops, towns and mosaics are what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from exporters.courses.jspsr import HELD_COLS, TRAIN_ROWS, TerrainCourse, blended, course
from exporters.courses.jspsr_objects import town
from exporters.errors import DatasetError
from exporters.readers.terrain import Heights, make_pair


def ground(rows: int = 480, cols: int = 540, name: str = "hills") -> Heights:
    row, col = np.mgrid[0:rows, 0:cols].astype(np.float32)
    values = 200 + 30 * np.sin(row / 40) * np.cos(col / 30) + row / 50
    return Heights(name, values.astype(np.float32), 1.0, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), "")


def small(**settings: object) -> TerrainCourse:
    held = ground(300, 300)
    guided = bool(settings.get("guided"))
    pair = make_pair(
        "elsewhere", ground(330, 360), ground(330, 360), fine_m=6.0 if settings.get("relief") == "surface" else 5.0,
        guide=np.ones((1, 330, 360), dtype=np.float32) if guided else None,
    )  # fmt: skip
    switches = {"image_bands": 0, "aux_bands": int(guided), "width": 4}
    given = {"ground": ground(), "held": held, "tests": (pair,), "switches": switches, "batch": 2, "steps_per_epoch": 2}
    return TerrainCourse(**{**given, **settings})  # type: ignore[arg-type]


def test_one_seed_and_epoch_is_one_sequence_of_batches() -> None:
    first, again, other = (list(made.batches(3)) for made in (small(), small(), small(seed=1)))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    assert (first[0][0].shape, first[0][1].shape) == ((2, 1, 48, 48), (2, 1, 48, 48))


def test_a_crop_of_the_surface_comes_with_its_guide_and_lies_above_the_ground() -> None:
    given, truth = next(iter(small(relief="surface", guided=True, batch=6).batches(0)))
    assert given.shape == (6, 2, 48, 48)
    assert 0 <= float(given[:, 1].min()) <= float(given[:, 1].max()) <= 1
    assert float((given[:, :1] - truth).mean()) > 0.3


def test_bare_crops_differ_from_the_truth_by_sharpness_alone() -> None:
    given, truth = next(iter(small().batches(0)))
    assert abs(float((given - truth).mean())) < 0.2
    assert float((given - truth).abs().max()) < 8


def test_towns_hold_buildings_and_trees_of_plausible_size() -> None:
    rng = np.random.default_rng(0)
    drawn = [town(rng, (100, 120), 3.0) for _ in range(16)]
    shares = [float(built.mean()) for _, built in drawn]
    assert 0.0 <= min(shares) < max(shares) <= 0.7
    assert all(heights.min() >= 0.0 and heights.max() < 30 for heights, _ in drawn)
    assert any((heights[built == 0] > 0).any() for heights, built in drawn)  # trees
    assert any(heights.max() == 0 for heights, _ in drawn)  # open land


class Same(nn.Module):
    """Answers its first band."""

    def forward(self, tiles: Tensor) -> Tensor:
        return tiles[:, :1]


def test_identity_tiles_give_the_area_back() -> None:
    area = np.random.default_rng(0).uniform(0, 300, (2, 85, 90)).astype(np.float32)
    np.testing.assert_allclose(blended(Same(), area, 48), area[0], atol=1e-4)
    tile = np.random.default_rng(0).uniform(0, 1, (1, 334, 334)).astype(np.float32)
    np.testing.assert_allclose(blended(Same(), tile, 128), tile[0], atol=1e-6)
    with pytest.raises(DatasetError, match="larger area"):
        blended(Same(), area, 96)


def test_an_untrained_network_scores_as_cubic_upsampling_does() -> None:
    made = small()
    network = made.build().eval()
    found, tested = made.validate(network), made.test(network)
    assert found["gain_frac"] == pytest.approx(0.0, abs=1e-3)
    assert tested["elsewhere-rmse_m"] == pytest.approx(tested["elsewhere-cubic-rmse_m"], abs=1e-3)
    assert {"elsewhere-spline-rmse_m", "elsewhere-le95_m", "gain_frac"} <= set(tested)


def test_the_surface_is_scored_beside_a_ground_filter_whose_window_is_chosen_on_training_ground() -> None:
    made = small(relief="surface", guided=True)
    tested = made.test(made.build().eval())
    assert tested["filter_px"] == made.filter_px > 1
    assert "elsewhere-filter-rmse_m" in tested


def test_the_loss_moves_the_network() -> None:
    made = small(relief="surface", guided=True)
    network = made.build()
    parts = made.loss(network, next(iter(made.batches(0))))
    parts["loss"].backward()  # type: ignore[no-untyped-call]
    assert set(parts) == {"loss", "l1", "l2", "edges"}
    assert sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None) > 0


def test_the_description_names_unit_and_bands() -> None:
    about = small(relief="surface", guided=True).describe()
    assert (about.bands, about.unit, about.dtype, about.classes) == (("dem", "built"), "m", "float32", ("terrain",))
    assert small().tiles("test").pixels.shape[1:] == (1, 48, 48)


def test_training_test_and_validation_areas_are_apart(data_dir: Path) -> None:
    if not (data_dir / "dem-lidar-tiles").is_dir():
        pytest.skip("needs DATA: dem-lidar-tiles")
    made = course(data_dir)
    assert isinstance(made, TerrainCourse)
    assert made.ground.values_m.shape == (TRAIN_ROWS, 1000 - HELD_COLS)
    assert made.held.values_m.shape == (TRAIN_ROWS, HELD_COLS)
    assert [pair.truth_m.shape for pair in made.tests] == [(60, 198), (90, 156)]
    surface = course(data_dir, relief="surface")
    assert isinstance(surface, TerrainCourse)
    assert [pair.name for pair in surface.tests] == ["alexandria"]
    assert surface.tests[0].guide.shape == (1, 85, 90)
    assert 0.05 < float(surface.tests[0].guide.mean()) < 0.3
    assert surface.ground.values_m.shape == made.ground.values_m.shape


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="relief"):
        course(tmp_path, relief="sea")
    with pytest.raises(DatasetError, match="guide"):
        course(tmp_path, guided=True)
    with pytest.raises(DatasetError, match="multiple of 8"):
        course(tmp_path, edge_px=50)
    with pytest.raises(DatasetError, match="There is no"):
        course(tmp_path)
