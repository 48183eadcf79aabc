"""CAB-HL's course: the labelled pixel, what is held back, components from training pixels alone, a package of it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch  # noqa: TID253

from exporters.checkpoint import Checkpoint
from exporters.courses.cab_hl import LandCoverCourse, course, cut, fit_components
from exporters.errors import DatasetError
from exporters.export import ExportSettings, export_checkpoint
from exporters.onnx_cpu import inferrer
from exporters.readers.hsi_lidar import Scene
from exporters.zoo.cab_hl import CABHL

BANDS, EDGE = 12, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that differ in one band and in height; training on the left, test on the right."""
    path, rng = tmp_path_factory.mktemp("set"), np.random.default_rng(0)
    truth = (np.indices((EDGE, EDGE)).sum(axis=0) // 10 % 2 + 1).astype(np.uint8)
    cube = rng.normal(1000.0, 20.0, (EDGE, EDGE, BANDS)).astype(np.float32)
    cube[:, :, 3] += 200.0 * truth
    train, test = truth.copy(), truth.copy()
    train[:, 8:], test[:, :12] = 0, 0
    np.save(path / "hsi.npy", cube)
    np.save(path / "lidar.npy", (10.0 * truth + rng.normal(size=truth.shape)).astype(np.float32))
    np.save(path / "train.npy", train)
    np.save(path / "test.npy", test)
    return path


def small(folder: Path, **settings: object) -> LandCoverCourse:
    given = {"components": 4, "patch": 4, "batch": 8, "steps_per_epoch": 2, **settings}
    return course(folder, **given)  # type: ignore[arg-type]


def test_the_labelled_pixel_is_at_half_the_patch_at_borders_too(folder: Path) -> None:
    made, rng = small(folder), np.random.default_rng(0)
    scene = made.source.scenes[0]
    for _ in range(1000):
        row, col, patch = int(rng.integers(EDGE)), int(rng.integers(EDGE)), int(rng.integers(1, 9))
        window = cut(scene, row, col, patch)
        assert window.shape == (BANDS + 1, patch, patch)
        np.testing.assert_array_equal(window[:BANDS, patch // 2, patch // 2], scene.hsi[:, row, col])
        assert window[BANDS, patch // 2, patch // 2] == scene.lidar[0, row, col]


def test_a_border_is_mirrored_without_repeating_it() -> None:
    grid = np.arange(4, dtype=np.float32)[None, None, :]
    none = np.zeros((1, 4), dtype=np.int64)
    scene = Scene("row", grid, grid, none, none, none)
    assert cut(scene, 0, 0, 4)[0, 0].tolist() == [2.0, 1.0, 0.0, 1.0]
    assert cut(scene, 0, 3, 4)[0, 0].tolist() == [1.0, 2.0, 3.0, 2.0]


def test_what_is_held_back_is_not_trained_on_and_no_test_pixel_lies_in_a_training_patch(folder: Path) -> None:
    made = small(folder)
    trained, held, tested = (set(map(tuple, s.places.tolist())) for s in (made.train, made.held, made.tests))
    assert not trained & held
    assert not (trained | held) & tested
    assert made.describe().notes["overlap_frac"] == 0.0
    assert small(folder, split="random").describe().notes["overlap_frac"] > 0.5
    assert max(np.bincount(small(folder, most_per_class=10).train.labels)) == 10


def test_components_come_from_training_pixels_alone(folder: Path) -> None:
    made = small(folder)
    scene = made.source.scenes[0]
    pixels = np.stack([scene.hsi[:, r, c] for _, r, c in made.train.places]).astype(np.float64)
    scores = made.components.scores(pixels)
    np.testing.assert_allclose(scores.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(scores.std(axis=0, ddof=1), 1.0, atol=1e-3)
    again = fit_components(pixels, pixels[:, :1], 12)
    mean = pixels.mean(axis=0)
    back = (again.scores(pixels) @ np.linalg.pinv(again.projection.T.astype(np.float64))) + mean
    np.testing.assert_allclose(back, pixels, rtol=1e-4)
    with pytest.raises(DatasetError, match="have no 13 components"):
        fit_components(pixels, pixels[:, :1], 13)


def test_one_seed_and_epoch_is_one_sequence_of_batches(folder: Path) -> None:
    first, again, other = (list(small(folder, seed=seed).batches(3)) for seed in (0, 0, 1))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])


def test_the_package_takes_raw_bands_and_heights_and_answers_as_torch_does(folder: Path, tmp_path: Path) -> None:
    made = small(folder)
    torch.manual_seed(0)
    network = cast("CABHL", made.build())
    about = made.describe()
    checkpoint = Checkpoint(
        network="cab_hl", size="edge", switches=dict(made.switches), classes=about.classes, bands=about.bands,
        edge_px=about.edge_px, mean=about.mean, std=about.std, dtype=about.dtype, licence="CC0-1.0",
        dataset="synthetic", state_dict=network.state_dict(),
        notes={"metric": "oa", "test": {"oa": 0.5, "n": 10, "ci95_low": 0.2, "ci95_high": 0.8}},
    )  # fmt: skip
    tiles = made.tiles("test")
    package = export_checkpoint(
        checkpoint, tiles, tmp_path / "package", None, settings=ExportSettings(batches=(1, 2), repeats=2)
    )
    assert package.info.bands == (*(f"band_{n + 1}" for n in range(BANDS)), "lidar")
    assert package.info.proofs[-1].top1_agreement == 1.0
    with torch.inference_mode():
        expected = torch.softmax(network.eval()(torch.from_numpy(tiles.pixels)), dim=1).numpy()
    answer = inferrer(package.read_onnx(), batch=7)(tiles.pixels)
    assert float(np.abs(answer - expected).max()) < 1e-2  # weights are stored in float16


def test_unknown_splits_are_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match="There is no split 'official'"):
        small(folder, split="official")
