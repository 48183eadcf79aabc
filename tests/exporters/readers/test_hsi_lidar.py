"""Cubes with LiDAR: grids that must agree, labels from crowns, splits whose patches do not overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.readers.hsi_lidar import (
    LandCoverSet,
    Scene,
    _crown_labels,
    _fields_of,
    _test_fields,
    overlap_frac,
    read_land_cover,
    redrawn,
)


def write_plain(folder: Path, *, lidar: bool = True, edge: int = 12) -> Path:
    rng = np.random.default_rng(0)
    train = np.zeros((edge, edge), dtype=np.uint8)
    test = train.copy()
    train[:, :3], test[:, 8:] = 1, 1
    train[6:, :3], test[6:, 8:] = 2, 2
    folder.mkdir(exist_ok=True)
    np.save(folder / "hsi.npy", rng.uniform(size=(edge, edge, 12)).astype(np.float32))
    np.save(folder / "train.npy", train)
    np.save(folder / "test.npy", test)
    if lidar:
        np.save(folder / "lidar.npy", rng.uniform(size=(edge, edge)).astype(np.float32))
    return folder


def test_the_plain_layout_is_read_and_its_patches_do_not_overlap(tmp_path: Path) -> None:
    found = read_land_cover(write_plain(tmp_path / "set"))
    assert found.scenes[0].hsi.shape == (12, 12, 12)
    assert (found.counts("train"), found.counts("test")) == ([18, 18], [24, 24])
    assert overlap_frac(found, 4) == 0.0
    assert overlap_frac(found, 14) > 0.0


def test_a_random_split_keeps_the_counts_and_leaks(tmp_path: Path) -> None:
    found = read_land_cover(write_plain(tmp_path / "set"))
    drawn = redrawn(found, 0)
    assert drawn.counts("train") == found.counts("train")
    assert drawn.counts("test") == found.counts("test")
    assert overlap_frac(drawn, 4) > 0.8
    one, other = drawn.scenes[0], redrawn(found, 0).scenes[0]
    np.testing.assert_array_equal(one.train, other.train)
    assert not ((one.train > 0) & (one.test > 0)).any()


def test_missing_lidar_other_grids_and_unknown_layouts_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"lidar\.npy is missing: the LiDAR heights"):
        read_land_cover(write_plain(tmp_path / "set", lidar=False))
    folder = write_plain(tmp_path / "other")
    np.save(folder / "lidar.npy", np.zeros((5, 5), dtype=np.float32))
    with pytest.raises(DatasetError, match=r"differ\. Give one grid"):
        read_land_cover(folder)
    np.save(folder / "lidar.npy", np.full((12, 12), np.nan, dtype=np.float32))
    with pytest.raises(DatasetError, match="no number"):
        read_land_cover(folder)
    with pytest.raises(DatasetError, match="no hyperspectral and LiDAR set"):
        read_land_cover(tmp_path)
    with pytest.raises(DatasetError, match="There is no split 'lucky'"):
        read_land_cover(folder, "lucky")


def test_a_crown_labels_the_pixels_whose_centre_it_holds_and_two_species_none() -> None:
    def crown(taxon: str, left: float, right: float) -> dict[str, str]:
        box = {"left_px": left, "top_px": 0.6, "right_px": right, "bottom_px": 9.0}
        return {"taxonID": taxon, **{key: str(value) for key, value in box.items()}}

    labels = _crown_labels([crown("A", -2.0, 2.4), crown("B", 1.2, 4.0), crown("C", 4.2, 5.9)], ("A", "B"), (3, 6))
    assert labels[0].tolist() == [0] * 6
    assert labels[1].tolist() == [1, 0, 2, 2, 0, 0]


def test_pixels_that_lie_in_each_others_windows_are_one_field_and_stay_on_one_side() -> None:
    lidar = np.arange(10, dtype=np.float64)[:, None]
    windows = np.stack([np.array([[n - 1.0], [n], [n + 1.0]]) for n in (*range(4), *range(10, 16))])
    lidar[4:] += 6.0
    truth = np.array([1] * 4 + [1] * 3 + [2] * 3)
    fields = _fields_of(lidar, windows, truth)
    assert [len(set(fields[part])) for part in (slice(0, 4), slice(4, 7), slice(7, 10))] == [1, 1, 1]
    assert len(set(fields)) == 3
    tested = set(_test_fields(truth, fields))
    assert tested <= set(fields[:7])
    assert fields[7] not in tested


def test_the_real_plots_are_disjoint_and_a_plot_without_heights_is_refused(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "hsi-lidar-idtrees"
    if not folder.is_dir():
        pytest.skip("needs DATA: hsi-lidar-idtrees")
    found = read_land_cover(folder)
    assert len(found.scenes) == 47
    assert found.scenes[0].hsi.shape == (369, 20, 20)
    assert overlap_frac(found, 8) == 0.0
    assert overlap_frac(redrawn(found, 0), 8) > 0.95
    for name in ("crowns.csv", "train.txt", "test.txt", "hsi"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "chm").mkdir()
    with pytest.raises(DatasetError, match=r"is missing: the LiDAR heights of .* both sensors"):
        read_land_cover(tmp_path)


def test_the_real_houston_pixels_fall_into_fields_that_the_split_keeps_whole(data_dir: Path) -> None:
    folder = data_dir / "hsi-lidar-houston2013-pixels"
    if not folder.is_dir():
        pytest.skip("needs DATA: hsi-lidar-houston2013-pixels")
    found = read_land_cover(folder)
    scene = found.scenes[0]
    both = [a + b for a, b in zip(found.counts("train"), found.counts("test"), strict=True)]
    assert both == [198, 190, 192, 188, 186, 182, 196, 191, 193, 191, 181, 192, 184, 181, 187]
    sides = [set(scene.fields[grid > 0].tolist()) for grid in (scene.train, scene.test)]
    assert not sides[0] & sides[1]
    assert 100 < len(sides[0] | sides[1]) < 300
    with pytest.raises(DatasetError, match="pixels without a place"):
        overlap_frac(found, 8)


def test_scenes_on_one_map_overlap_by_their_place() -> None:
    labels = np.zeros((4, 4), dtype=np.int64)
    labels[1, 1] = 1
    nothing, cube = np.zeros_like(labels), np.zeros((1, 4, 4), dtype=np.float32)
    taught = Scene("a", cube, cube, labels, nothing, nothing, (100.0, 50.0))
    tested = Scene("b", cube, cube, nothing, labels, nothing, (101.0, 50.0))
    assert overlap_frac(LandCoverSet("two", ("x",), (taught, tested)), 4) == 1.0
    assert overlap_frac(LandCoverSet("two", ("x",), (taught, tested)), 1) == 0.0
