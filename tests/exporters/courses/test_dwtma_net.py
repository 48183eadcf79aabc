from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from exporters.courses.dwtma_net import course, hazed_pairs
from exporters.courses.restoration import CropSampler, HazeSampler, score_pairs, tiles_of_pairs, turned
from exporters.datasets import Chips
from exporters.errors import DatasetError, FitError
from exporters.readers.haze import HazeModel
from exporters.readers.pairs import Pairs

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)


def write_image(path: Path, pixels: np.ndarray) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        bands, rows, cols = pixels.shape
        with rasterio.open(path, "w", driver="PNG", width=cols, height=rows, count=bands, dtype="uint8") as image:
            image.write(pixels)


@pytest.fixture(scope="module")
def rice_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs of 32 px, two of them for the test."""
    root = tmp_path_factory.mktemp("rice")
    for number in range(6):
        clear = RNG.integers(0, 120, (3, 32, 32), dtype=np.uint8)
        write_image(root / f"clear/{number}.png", clear)
        write_image(root / f"hazy/{number}.png", (clear // 2 + 100).astype(np.uint8))
    (root / "train.txt").write_text("0\n1\n2\n3\n")
    (root / "test.txt").write_text("4\n5\n")
    return root


@pytest.fixture(scope="module")
def eurosat_like(tmp_path_factory: pytest.TempPathFactory, chips: Chips) -> Path:
    """Forty real chips in the layout of EuroSAT; the test chips are the train chips."""
    root = tmp_path_factory.mktemp("eurosat")
    names = []
    for place, (pixels, label) in enumerate(zip(chips.pixels, chips.labels, strict=True)):
        names.append(f"images/{chips.classes[label]}/{place}.png")
        write_image(root / names[-1], pixels)
    for split in ("train", "test"):
        (root / f"{split}.txt").write_text("\n".join(names))
    (root / "classes.txt").write_text("\n".join(chips.classes))
    return root


def test_figures_judge_the_answers_of_a_package(rice_like: Path) -> None:
    made = course(rice_like, size="edge", seed=3, batch=2, crop_px=16, hold_back=1, tile_px=16)
    clear = made.held_out.clear
    tiles = [image[:, row : row + 16, col : col + 16] for image in clear for row in (0, 16) for col in (0, 16)]
    one_off = made.figures(lambda hazy: np.stack(tiles).astype(np.float32) + 1.2)
    assert one_off["psnr_db"] == pytest.approx(20 * np.log10(255), abs=1e-3)  # answers are rounded to whole values
    untouched = made.figures(lambda hazy: hazy.astype(np.float32))
    assert untouched["psnr_db"] == pytest.approx(score_pairs(made.held_out, lambda image: image)["psnr_db"], abs=0.5)


def test_one_seed_and_epoch_give_the_same_batches(rice_like: Path) -> None:
    made = course(rice_like, size="edge", seed=3, batch=2, crop_px=16, hold_back=1)
    assert made.steps_per_epoch == 3 * 8 // 2
    first, again, other = (list(made.batches(epoch)) for epoch in (0, 0, 1))
    assert len(first) == made.steps_per_epoch
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))
    hazy, clear = first[0]
    assert hazy.shape == clear.shape == (2, 3, 16, 16)
    assert float((hazy - (clear / 2 + 100 / 255)).abs().max()) < 1 / 255  # the crops of a pair belong together


def test_what_is_held_back_and_tested_is_not_trained_on(rice_like: Path) -> None:
    made = course(rice_like, size="edge", seed=3, batch=2, crop_px=16, hold_back=1)
    assert isinstance(made.sampler, CropSampler)
    assert sorted(made.sampler.pairs.names + made.val.names) == ["0", "1", "2", "3"]
    assert made.held_out.names == ("4", "5")


def test_a_course_trains_validates_and_tests_its_network(rice_like: Path) -> None:
    made = course(rice_like, size="edge", seed=3, batch=2, crop_px=16, hold_back=1, steps_per_epoch=2, fam=False)
    torch.manual_seed(0)
    network = made.build()
    before = made.loss(network, next(iter(made.batches(0))))["loss"].item()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for epoch in range(6):
        for batch in made.batches(epoch):
            loss = made.loss(network, batch)["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert loss.item() < before
    network.eval()
    assert made.metric in made.validate(network)
    figures = made.test(network)
    assert figures["gain_db"] == pytest.approx(figures["psnr_db"] - figures["psnr_db_input"])
    assert made.switches == {"fam": False}


def test_clear_chips_are_trained_on_under_fresh_haze(eurosat_like: Path) -> None:
    made = course(eurosat_like, size="edge", seed=1, batch=4, hold_back=10)
    assert isinstance(made.sampler, HazeSampler)
    assert len(made.sampler) == 30
    hazy, clear = next(iter(made.batches(0)))
    assert hazy.shape == (4, 3, 64, 64)
    assert float((hazy - clear).abs().mean()) > 0.02
    assert made.describe().edge_px == 64
    assert len(made.tiles("test")) == 40
    assert score_pairs(made.held_out, lambda image: image)["psnr_db"] < 20.0


def test_some_chips_stay_clear_so_that_clear_tiles_are_left_alone() -> None:
    sampler = HazeSampler(RNG.integers(0, 99, (1, 3, 16, 16), dtype=np.uint8), HazeModel(depth=(1.0, 1.0)), 0.5)
    same = [np.array_equal(*sampler.draw(0, np.random.default_rng(seed))) for seed in range(40)]
    assert 5 < sum(same) < 35


def test_the_eight_symmetries_differ_and_keep_the_pixels() -> None:
    image = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    views = {turned(image, symmetry).tobytes() for symmetry in range(8)}
    assert len(views) == 8
    assert all(sorted(view) == sorted(image.tobytes()) for view in views)


def test_whole_tiles_are_cut_from_degraded_images(chips: Chips) -> None:
    pairs = hazed_pairs(chips.take(np.arange(2), "two"), seed=1)
    tiles = tiles_of_pairs(pairs, 24)
    assert tiles.pixels.shape == (8, 3, 24, 24)
    assert np.array_equal(tiles.pixels[0], pairs.hazy[0][:, :24, :24])
    with pytest.raises(DatasetError, match="no tile of 128 px"):
        tiles_of_pairs(pairs, 128)


def test_settings_that_do_not_exist_or_fit_are_refused(rice_like: Path) -> None:
    with pytest.raises(FitError, match="no setting 'dropout'"):
        course(rice_like, size="edge", seed=1, dropout=True)
    with pytest.raises(FitError, match="crop_px is 50"):
        course(rice_like, size="edge", seed=1, crop_px=50)
    with pytest.raises(DatasetError, match=r"32 px, smaller than crops of 96 px. Set crop_px to 32"):
        course(rice_like, size="edge", seed=1, hold_back=1)


def test_a_folder_without_pairs_or_chips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no pairs for 'train'"):
        course(tmp_path, size="edge", seed=1)


def test_crops_never_leave_the_image() -> None:
    image = RNG.integers(0, 255, (3, 16, 24), dtype=np.uint8)
    sampler = CropSampler(Pairs("one", ("a",), (image,), (image,)), 16)
    shapes = {sampler.draw(0, np.random.default_rng(seed))[0].shape for seed in range(20)}
    assert shapes == {(3, 16, 16)}
