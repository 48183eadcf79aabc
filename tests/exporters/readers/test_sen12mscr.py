"""SEN12MS-CR as published and as the samples lay it out: partners, splits by region, clouds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from exporters.errors import DatasetError
from exporters.readers.sen12mscr import (
    cloud_mask,
    cropped,
    dilated,
    overlaid,
    read_triplets,
    regions_for_test,
)

SIZE = 24


def write(path: Path, bands: int, value: float, dtype: str, *, east_m: float = 0.0, edge_px: int = SIZE) -> None:
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {"width": edge_px, "height": edge_px, "count": bands, "dtype": dtype, "crs": "EPSG:32632"}
    with rasterio.open(
        path, "w", driver="GTiff", transform=Affine(10, 0, 500_000 + east_m, 0, -10, 5_300_000), **profile
    ) as file:
        file.write(np.full((bands, edge_px, edge_px), value, dtype=dtype))


def write_sample(root: Path, name: str, *, radar: bool = True) -> None:
    folder = root / ("triplets" if radar else "pairs")
    if radar:
        write(folder / "s1" / f"{name}.tif", 2, -12.0, "float32")
    write(folder / "s2_cloudy" / f"{name}.tif", 13, 6000, "uint16")
    write(folder / "s2_cloudfree" / f"{name}.tif", 13, 1000, "uint16")


def test_samples_split_by_region_and_patches_without_radar_come_when_asked_for(tmp_path: Path) -> None:
    for name in ("ROIs1970_fall_139_p839", "ROIs2017_winter_112_p797"):
        write_sample(tmp_path, name)
    write_sample(tmp_path, "ROIs1868_summer_102_p500", radar=False)
    (train,), (test,) = (read_triplets(tmp_path, split) for split in ("train", "test"))
    assert (train.name, test.region) == ("ROIs1970_fall_139_p839", "ROIs2017_winter_112")
    assert train.sar is not None
    assert train.sar.shape == (2, SIZE, SIZE)
    assert train.clear.shape == (13, SIZE, SIZE)
    both = read_triplets(tmp_path, "train", radar=False)
    assert [one.sar is None for one in both] == [True, False]
    (swapped,) = read_triplets(tmp_path, "test", test=("ROIs1970_fall_139",))
    assert swapped.name == train.name


def test_the_published_layout_is_found_and_no_region_is_in_both_splits(tmp_path: Path) -> None:
    for number in range(1, 7):
        for patch in (30, 31):
            for kind, bands, dtype in (("s1", 2, "float32"), ("s2", 13, "uint16"), ("s2_cloudy", 13, "uint16")):
                stem = f"ROIs1158_spring_{kind}_{number}_p{patch}"
                write(tmp_path / f"ROIs1158_spring_{kind}" / f"{kind}_{number}" / f"{stem}.tif", bands, 5, dtype)
    train, test = read_triplets(tmp_path, "train"), read_triplets(tmp_path, "test")
    assert (len(train), len(test)) == (10, 2)
    assert not {one.region for one in train} & {one.region for one in test}
    names = [one.name for one in (*train, *test)]
    assert regions_for_test(names) == regions_for_test(names[::-1])


def test_what_does_not_fit_together_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no patches of SEN12MS-CR"):
        read_triplets(tmp_path, "train")
    name = "ROIs1970_fall_139_p839"
    write_sample(tmp_path, name)
    write_sample(tmp_path, "ROIs2017_winter_112_p797")
    with pytest.raises(DatasetError, match="no split 'val'"):
        read_triplets(tmp_path, "val")
    with pytest.raises(DatasetError, match="has no region ROIs1_x_1"):
        read_triplets(tmp_path, "train", test=("ROIs1_x_1",))
    radar = tmp_path / "triplets" / "s1" / f"{name}.tif"
    write(radar, 2, -12.0, "float32", east_m=640.0)
    with pytest.raises(DatasetError, match="shows one place on one grid"):
        read_triplets(tmp_path, "train")
    write(radar, 3, -12.0, "float32")
    with pytest.raises(DatasetError, match="has 3 bands"):
        read_triplets(tmp_path, "train")
    radar.write_bytes(b"II*\0 no image")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_triplets(tmp_path, "train")
    (tmp_path / "triplets" / "s2_cloudy" / f"{name}.tif").unlink()
    with pytest.raises(DatasetError, match=r"has no s2_cloudy\. Copy"):
        read_triplets(tmp_path, "train")


def test_bright_white_is_cloud_and_snow_and_ground_are_not() -> None:
    scene = np.zeros((13, 40, 60), dtype=np.float32)
    scene[:, :, :20] = np.linspace(1200, 3000, 13)[:, None, None]  # ground
    scene[:, :, 20:40] = 6500  # cloud: as bright in the short-wave infrared
    scene[:, :, 40:] = 8000  # snow: dark there
    scene[10:, :, 40:] = 500
    mask = cloud_mask(scene)
    assert mask[:, 24:36].all()
    assert not mask[:, :16].any()
    assert not mask[:, 46:].any()


def test_a_mask_grows_by_its_radius_on_every_side() -> None:
    mask = np.zeros((11, 11), dtype=bool)
    mask[5, 5] = True
    grown = dilated(mask, 3)
    assert grown.sum() == 49
    assert grown[2:9, 2:9].all()


def test_clouds_of_another_patch_hide_the_clear_image(tmp_path: Path) -> None:
    write_sample(tmp_path, "ROIs1970_fall_139_p839")
    write_sample(tmp_path, "ROIs2017_winter_112_p797")
    (one,) = read_triplets(tmp_path, "train")
    assert one.cloud.all()
    half = cropped(one, slice(0, SIZE), slice(0, SIZE // 2))
    assert half.clear.shape == (13, SIZE, SIZE // 2)
    laid = overlaid(one, one)
    assert np.array_equal(laid.cloudy, one.cloudy)
    assert np.array_equal(laid.cloud, one.cloud)


def test_the_real_samples_are_read(data_dir: Path) -> None:
    root = data_dir / "cr-sen12mscr-samples"
    if not root.is_dir():
        pytest.skip("needs DATA: cr-sen12mscr-samples")
    (train,), (test,) = (read_triplets(root, split) for split in ("train", "test"))
    assert train.cloud.mean() == pytest.approx(0.66, abs=0.01)
    assert not test.cloud.any()
    assert len(read_triplets(root, "train", radar=False)) == 3
