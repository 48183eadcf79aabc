from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.readers.pairs import hold_back_pairs, read_pairs, read_rgb


def write_png(path: Path, value: int, *, bands: int = 3, edge_px: int = 8) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((bands, edge_px, edge_px), value, dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="PNG", width=edge_px, height=edge_px, count=bands, dtype="uint8") as image:
            image.write(pixels)


def write_pairs(hazy: Path, clear: Path, names: str = "abc") -> None:
    for place, name in enumerate(names):
        write_png(hazy / f"{name}.png", 100 + place)
        write_png(clear / f"{name}.png", 10 + place)


@pytest.mark.parametrize(
    ("hazy", "clear", "split"),
    [
        ("dataset/train/input", "dataset/train/target", "train"),
        ("dataset/valid/input", "dataset/valid/target", "val"),
        ("test/hazy", "test/GT", "test"),
        ("val/hazy_images", "val/clean_images", "val"),
        ("test/hazy images", "test/clean images", "test"),
        ("train/hazy", "train/clear", "train"),
    ],
)
def test_each_documented_layout_is_read_in_the_order_of_names(
    tmp_path: Path, hazy: str, clear: str, split: str
) -> None:
    write_pairs(tmp_path / hazy, tmp_path / clear)
    pairs = read_pairs(tmp_path, split)
    assert pairs.names == ("a", "b", "c")
    assert [int(image[0, 0, 0]) for image in pairs.hazy] == [100, 101, 102]
    assert [int(image[0, 0, 0]) for image in pairs.clear] == [10, 11, 12]


def test_the_folders_of_rice_are_split_by_lists_of_names(tmp_path: Path) -> None:
    write_pairs(tmp_path / "cloud", tmp_path / "label")
    (tmp_path / "train.txt").write_text("c\na\n")
    (tmp_path / "test.txt").write_text("b.png\n")
    assert read_pairs(tmp_path, "train").names == ("c", "a")
    assert read_pairs(tmp_path, "test").names == ("b",)


def test_rice1_is_read_as_its_readme_says(data_dir: Path) -> None:
    root = data_dir / "rice1-thin-cloud-pairs"
    if not root.is_dir():
        pytest.skip("needs DATA: rice1-thin-cloud-pairs")
    test = read_pairs(root, "test")
    assert len(test) == 20
    assert {image.shape for image in (*test.hazy, *test.clear)} == {(3, 256, 256)}
    hazy, clear = test.hazy[0], test.clear[0]
    assert hazy.mean() > clear.mean()
    assert set(test.names).isdisjoint((root / "train.txt").read_text().split())


def test_a_data_set_half_downloaded_is_named_as_such(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train/hazy", tmp_path / "train/clear")
    (tmp_path / "train/clear/b.png").unlink()
    with pytest.raises(DatasetError, match=r"clear lacks 1 of 3 images, the first 'b'.*half downloaded"):
        read_pairs(tmp_path, "train")


def test_a_grey_image_is_refused_by_name(tmp_path: Path) -> None:
    write_png(tmp_path / "grey.png", 7, bands=1)
    with pytest.raises(DatasetError, match=r"grey\.png is grey; red, green and blue"):
        read_rgb(tmp_path / "grey.png")


def test_the_transparency_of_a_png_is_left_out(tmp_path: Path) -> None:
    write_png(tmp_path / "rgba.png", 7, bands=4)
    assert read_rgb(tmp_path / "rgba.png").shape == (3, 8, 8)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("404 not found")
    with pytest.raises(DatasetError, match=r"page\.png cannot be decoded"):
        read_rgb(tmp_path / "page.png")


def test_a_pair_of_two_sizes_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train/hazy", tmp_path / "train/clear")
    write_png(tmp_path / "train/clear/c.png", 1, edge_px=16)
    with pytest.raises(DatasetError, match=r"8 x 8 px.*16 x 16 px"):
        read_pairs(tmp_path, "train")


@pytest.mark.parametrize("split", ["train", "night"])
def test_an_unknown_layout_or_split_is_named(tmp_path: Path, split: str) -> None:
    with pytest.raises(DatasetError, match=split):
        read_pairs(tmp_path, split)


def test_empty_folders_and_lists_are_refused(tmp_path: Path) -> None:
    for name in ("train/hazy", "train/clear", "hazy", "clear"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no image"):
        read_pairs(tmp_path, "train")
    (tmp_path / "test.txt").write_text("")
    with pytest.raises(DatasetError, match="is empty"):
        read_pairs(tmp_path, "test")


def test_held_back_pairs_and_the_rest_are_disjoint_and_complete(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train/hazy", tmp_path / "train/clear", names="abcdef")
    pairs = read_pairs(tmp_path, "train")
    rest, held = hold_back_pairs(pairs, 2, seed=0)
    assert (len(rest), len(held)) == (4, 2)
    assert sorted(rest.names + held.names) == list("abcdef")
    with pytest.raises(DatasetError, match="6 pairs; 6 cannot be held back"):
        hold_back_pairs(pairs, 6, seed=0)
