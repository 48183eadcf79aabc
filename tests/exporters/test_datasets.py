from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.datasets import Chips, hold_back, load_chips, read_chips, read_tiles, save_chips
from exporters.errors import DatasetError


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    bands, rows, cols = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="PNG", height=rows, width=cols, count=bands, dtype=pixels.dtype) as image:
            image.write(pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "classes.txt").write_text("forest\nwater\n")
    (tmp_path / "train.txt").write_text("images/water/a.png\nimages/forest/b.png\n")
    for number, name in enumerate(("water/a.png", "forest/b.png")):
        write_image(tmp_path / "images" / name, np.full((3, 8, 8), 10 * number, dtype=np.uint8))
    return tmp_path


def test_the_class_of_a_chip_is_its_folder(folder: Path) -> None:
    chips = read_chips(folder, "train")
    assert chips.classes == ("forest", "water")
    assert chips.labels.tolist() == [1, 0]
    assert chips.pixels.shape == (2, 3, 8, 8)
    assert chips.pixels[:, 0, 0, 0].tolist() == [0, 10]


def test_decoded_pixels_are_kept_and_read_again(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = read_chips(folder, "train", cache=cache)
    (folder / "images/water/a.png").unlink()
    np.testing.assert_array_equal(read_chips(folder, "train", cache=cache).pixels, first.pixels)


def test_a_truncated_image_is_named(folder: Path) -> None:
    path = folder / "images/water/a.png"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DatasetError, match=r"a\.png cannot be decoded"):
        read_chips(folder, "train")


def test_an_image_of_the_wrong_bands_is_refused(folder: Path) -> None:
    write_image(folder / "images/water/a.png", np.zeros((1, 8, 8), dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"1 band of uint8; three of uint8 are needed. Give"):
        read_chips(folder, "train")


def test_chips_of_two_sizes_are_refused(folder: Path) -> None:
    write_image(folder / "images/water/a.png", np.zeros((3, 4, 4), dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"a\.png is 4 x 4 px"):
        read_chips(folder, "train")


def test_a_folder_that_is_no_class_is_refused(folder: Path) -> None:
    (folder / "classes.txt").write_text("forest\nlake\n")
    with pytest.raises(DatasetError, match="'water', which classes"):
        read_chips(folder, "train")


def test_a_missing_list_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Cannot read .*classes\.txt"):
        read_chips(tmp_path, "train")


def test_a_folder_of_rasters_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"There is no folder .*nowhere\. Check the path"):
        read_tiles(tmp_path / "nowhere", "test", edge_px=64)


def test_chips_held_back_are_balanced_disjoint_and_the_same_each_time(chips: Chips) -> None:
    rest, held = hold_back(chips, 20, seed=1)
    assert np.bincount(held.labels).tolist() == [2] * 10
    assert len(rest) + len(held) == len(chips)
    together = {tile.tobytes() for part in (rest, held) for tile in part.pixels}
    assert len(together) == len(chips)
    np.testing.assert_array_equal(hold_back(chips, 20, seed=1)[1].pixels, held.pixels)
    with pytest.raises(DatasetError, match="too few"):
        hold_back(chips, 40, seed=1)


def test_chips_survive_a_file(tmp_path: Path, chips: Chips) -> None:
    save_chips(tmp_path / "c.npz", chips)
    read = load_chips(tmp_path / "c.npz")
    assert (read.name, read.classes) == (chips.name, chips.classes)
    np.testing.assert_array_equal(read.pixels, chips.pixels)
    (tmp_path / "c.npz").write_bytes(b"no")
    with pytest.raises(DatasetError, match="not a chip file"):
        load_chips(tmp_path / "c.npz")


def test_the_eurosat_subset_is_read_whole(data_dir: Path) -> None:
    root = data_dir / "eurosat-rgb-subset"
    if not root.is_dir():
        pytest.skip("needs DATA: eurosat-rgb-subset")
    test = read_chips(root, "test")
    assert test.pixels.shape == (600, 3, 64, 64)
    assert np.bincount(test.labels).tolist() == [60] * 10
