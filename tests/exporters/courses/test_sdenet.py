"""A scene is fitted without its labels, and what the fit leaves in the network scores new tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253

from exporters.courses.sdenet import course, scaled
from exporters.errors import DatasetError
from exporters.training.loop import fit_course
from exporters.training.training import Training


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A cube of 72 x 66 px and 12 bands with one strange pixel."""
    rng = np.random.default_rng(0)
    mixture = rng.random((72, 66, 3)) @ rng.random((3, 12)) * 1000
    mixture[40, 30] = rng.random(12) * 3000
    np.save(tmp_path / "field.npy", mixture.astype(np.float32))
    return tmp_path / "field.npy"


def test_one_seed_and_epoch_is_one_sequence_of_batches(scene: Path) -> None:
    made = course(scene, bands=12, steps_per_epoch=2, batch=2)
    first, again, later = (list(made.batches(epoch)) for epoch in (0, 0, 1))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], later[0][0])
    assert first[0][1].shape == (2, 12, 64, 64)
    assert (first[0][0] == 0).sum() > (first[0][1] == 0).sum()


def test_a_fit_finds_the_strange_pixel_and_leaves_the_score_in_the_checkpoint(scene: Path, tmp_path: Path) -> None:
    from exporters.checkpoint import load_checkpoint
    from exporters.zoo.sdenet_deploy import deploy

    made = course(scene, bands=12, steps_per_epoch=1, batch=1, width=8, latent=4)
    result = fit_course(made, Training(epochs=1, lr=1e-3, ema_decay=0.0, threads=1), tmp_path / "fit")
    checkpoint = load_checkpoint(result.best)
    assert checkpoint.dtype == "float32"
    assert checkpoint.bands == tuple(f"band_{number}" for number in range(1, 13))
    tile = made.values()[None, :, 4:68, 2:66]
    with torch.inference_mode():
        score = deploy(checkpoint.build(), checkpoint)(torch.from_numpy(tile))[0, 0].numpy()  # type: ignore[arg-type]
    assert np.unravel_index(score.argmax(), score.shape) == (36, 28)
    assert result.test == {}


def test_scenes_too_small_without_a_name_or_with_odd_settings_are_refused(scene: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "small.npy", np.random.default_rng(0).random((60, 70, 12)).astype(np.float32))
    with pytest.raises(DatasetError, match="at least 64"):
        course(tmp_path / "small.npy")
    with pytest.raises(DatasetError, match="no cube at"):
        course(tmp_path, scene="moon")
    with pytest.raises(DatasetError, match="'residual' or 'output'"):
        course(scene, score_on="input")


def test_constant_cubes_become_zeros_and_nan_is_refused() -> None:
    assert not scaled(np.full((3, 4, 4), 7.0, dtype=np.float32)).any()
    values = scaled(np.arange(48, dtype=np.float32).reshape(3, 4, 4))
    assert (float(values.min()), float(values.max())) == pytest.approx((-0.1, 0.1))
    with pytest.raises(DatasetError, match="NaN"):
        scaled(np.full((3, 4, 4), np.nan, dtype=np.float32))


def test_proof_tiles_are_raw_overlapping_windows(scene: Path) -> None:
    made = course(scene, bands=12)
    tiles = made.tiles("test")
    assert tiles.pixels.shape == (2, 12, 64, 64)
    assert tiles.pixels.dtype == np.float32
    np.testing.assert_array_equal(tiles.pixels[1], made.values()[:, 8:72, :64])
