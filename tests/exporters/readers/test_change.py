"""Pairs are read in every layout that the public sets have, and pairs that are none are refused in clear words."""

from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.errors import DatasetError
from exporters.readers.change import Pair, check_order, halved, read_pairs


def write(path: Path, pixels: NDArray[np.uint8], *, taken: str = "", left_m: float | None = None) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.transform import Affine

    place = {} if left_m is None else {"crs": "EPSG:32648", "transform": Affine(2.0, 0.0, left_m, 0.0, -2.0, 4e6)}
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, rows, cols = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", width=cols, height=rows, count=bands, dtype="uint8", **place) as image:
            image.write(pixels)
            if taken:
                image.update_tags(TIFFTAG_DATETIME=taken)


def picture(value: int, edge: int = 8, bands: int = 3) -> NDArray[np.uint8]:
    return np.full((bands, edge, edge), value, dtype=np.uint8)


def write_pair(root: Path, dates: tuple[str, str] = ("A", "B"), mask: str = "label", name: str = "1.tif") -> None:
    write(root / dates[0] / name, picture(10))
    write(root / dates[1] / name, picture(20))
    changed = picture(0, bands=1)
    changed[0, :2] = 255
    changed[0, 2] = 127
    write(root / mask / name, changed)


@pytest.mark.parametrize(
    ("dates", "mask"), [(("A", "B"), "label"), (("t1", "t2"), "mask"), (("image1", "image2"), "label")]
)
def test_folders_of_a_split_are_read_with_the_earlier_date_first(
    tmp_path: Path, dates: tuple[str, str], mask: str
) -> None:
    write_pair(tmp_path / "train", dates, mask)
    (pair,) = read_pairs(tmp_path, "train")
    assert (int(pair.earlier[0, 0, 0]), int(pair.later[0, 0, 0]), int(pair.changed.sum())) == (10, 20, 16)


@pytest.mark.parametrize("listing", ["train.txt", "list/train.txt"])
def test_lists_of_names_are_read(tmp_path: Path, listing: str) -> None:
    write_pair(tmp_path, name="2.png")
    (tmp_path / listing).parent.mkdir(exist_ok=True)
    (tmp_path / listing).write_text("2.png\n")
    assert [pair.name for pair in read_pairs(tmp_path, "train")] == ["2.png"]


def test_one_date_only_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    (tmp_path / "train" / "B" / "1.tif").unlink()
    with pytest.raises(DatasetError, match=r"B/1\.tif is missing: one date of"):
        read_pairs(tmp_path, "train")
    (tmp_path / "train" / "B").rmdir()
    with pytest.raises(DatasetError, match="one date only"):
        read_pairs(tmp_path, "train")


def test_missing_folders_lists_and_masks_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        read_pairs(tmp_path / "none", "train")
    with pytest.raises(DatasetError, match=r"neither test\.txt nor"):
        read_pairs(tmp_path, "test")
    write(tmp_path / "train" / "A" / "1.tif", picture(1))
    write(tmp_path / "train" / "B" / "1.tif", picture(1))
    with pytest.raises(DatasetError, match="no masks"):
        read_pairs(tmp_path, "train")


def test_swapped_dates_are_noticed_where_the_files_say_when(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    write(tmp_path / "train" / "A" / "1.tif", picture(10), taken="2022:05:01 03:00:00")
    write(tmp_path / "train" / "B" / "1.tif", picture(20), taken="2018:05:01 03:00:00")
    with pytest.raises(DatasetError, match=r"2022-05-01.*not before.*2018-05-01.*Swap"):
        read_pairs(tmp_path, "train")
    check_order(datetime(2018, 1, 1), None, "one date is not known")


def test_pairs_on_other_ground_or_grids_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    write(tmp_path / "train" / "A" / "1.tif", picture(10), left_m=3e5)
    write(tmp_path / "train" / "B" / "1.tif", picture(20), left_m=3e5 + 6.0)
    with pytest.raises(DatasetError, match="other ground"):
        read_pairs(tmp_path, "train")
    write_pair(tmp_path / "test")
    write(tmp_path / "test" / "B" / "1.tif", picture(20, edge=9))
    with pytest.raises(DatasetError, match="differ in size"):
        read_pairs(tmp_path, "test")


def test_a_date_of_other_bands_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    write(tmp_path / "train" / "B" / "1.tif", picture(20, bands=4))
    with pytest.raises(DatasetError, match="4 bands of uint8"):
        read_pairs(tmp_path, "train")


def test_half_the_detail_averages_pixels_and_keeps_what_mostly_changed() -> None:
    date = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    changed = np.zeros((4, 4), dtype=bool)
    changed[0, 0] = changed[2, 2] = changed[2, 3] = True
    half = halved(Pair("x", date, date, changed))
    assert half.earlier[0].tolist() == [[2, 4], [10, 12]]
    assert half.changed.tolist() == [[False, False], [False, True]]


def test_the_real_samples_have_the_stated_pairs(data_dir: Path) -> None:
    stated = {"cd-levir-samples": (5, 3, 256), "cd-whu-samples": (3, 3, 512), "cd-dsifn-samples": (5, 2, 256)}
    for name, (train, test, edge) in stated.items():
        if not (data_dir / name).is_dir():
            pytest.skip(f"needs DATA: {name}")
        pairs = read_pairs(data_dir / name, "train")
        assert (len(pairs), len(read_pairs(data_dir / name, "test"))) == (train, test)
        assert {pair.changed.shape for pair in pairs} == {(edge, edge)}
