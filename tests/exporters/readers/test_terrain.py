"""Elevation models as they come: gaps, depths, undeclared values, grids that do not match; DFC30's folders."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")

from rasterio.errors import NotGeoreferencedWarning  # noqa: E402, TID253
from rasterio.transform import Affine  # noqa: E402, TID253

from exporters.errors import DatasetError  # noqa: E402
from exporters.readers.terrain import (  # noqa: E402
    Heights,
    block_mean,
    dfc30_samples,
    make_pair,
    outlines,
    read_dfc30,
    read_heights,
)


def write(path: Path, values: Any, *, gsd_m: float = 2.0, crs: str | None = "EPSG:26918", **more: Any) -> Path:
    bands = values if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", width=bands.shape[2], height=bands.shape[1], count=len(bands),
            dtype=bands.dtype, crs=crs, transform=Affine(gsd_m, 0, 321498, 0, -gsd_m, 4298018), **more,
        ) as file:  # fmt: skip
            file.write(bands)
    return path


def heights(values: Any, gsd_m: float = 2.0) -> Heights:
    return Heights("here", np.asarray(values, dtype=np.float32), gsd_m, (gsd_m, 0, 0, 0, -gsd_m, 0), "")


def test_gaps_become_nan_and_heights_below_the_sea_stay(tmp_path: Path) -> None:
    values = np.full((6, 8), -3.5, dtype=np.float32)
    values[2, 3], values[4, 4] = -9999.0, np.inf
    found = read_heights(write(tmp_path / "polder.tif", values, nodata=-9999.0))
    assert np.isnan(found.values_m).sum() == 2
    assert np.nanmax(found.values_m) == np.nanmin(found.values_m) == -3.5
    assert (found.gsd_m, found.values_m.shape) == (2.0, (6, 8))


@pytest.mark.parametrize("value", [-9999.0, -32767.0, 3.4e38, 29032.0])
def test_what_is_no_height_on_earth_is_refused_with_the_remedy(tmp_path: Path, value: float) -> None:
    values = np.zeros((6, 8), dtype=np.float32)
    values[2, 3] = value
    with pytest.raises(DatasetError, match=r"no height on Earth.*gdal_edit\.py -a_nodata"):
        read_heights(write(tmp_path / "odd.tif", values))


def test_files_that_are_no_elevation_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="3 bands"):
        read_heights(write(tmp_path / "rgb.tif", np.zeros((3, 4, 4), dtype=np.uint8)))
    with pytest.raises(DatasetError, match="no height at all"):
        read_heights(write(tmp_path / "empty.tif", np.full((4, 4), -9999.0, dtype=np.float32), nodata=-9999.0))
    with pytest.raises(DatasetError, match="There is no"):
        read_heights(tmp_path / "missing.tif")
    (tmp_path / "text.tif").write_text("heights")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_heights(tmp_path / "text.tif")


def test_block_means_leave_out_gaps_and_say_where_too_much_is_missing() -> None:
    values = np.arange(16.0).reshape(4, 4)
    assert block_mean(values, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    values[0, 0] = np.nan
    values[2:, 2] = np.nan
    values[2, 3] = np.nan
    found = block_mean(values, 2)
    assert found[0, 0] == pytest.approx((1 + 4 + 5) / 3)
    assert np.isnan(found[1, 1])
    assert block_mean(np.zeros((5, 7)), 2).shape == (2, 3)
    with pytest.raises(DatasetError, match="smaller blocks"):
        block_mean(values, 5)


def test_a_pair_is_the_blocks_of_one_place_on_two_grids() -> None:
    rng = np.random.default_rng(0)
    terrain = rng.normal(size=(62, 95)).astype(np.float32)
    pair = make_pair("here", heights(terrain + 3), heights(terrain), fine_m=6.0, guide=np.ones((1, 62, 95), np.float32))
    assert (pair.coarse_m.shape, pair.given_m.shape, pair.truth_m.shape) == ((4, 6), (20, 30), (20, 30))
    assert pair.guide.shape == (1, 20, 30)
    assert pair.stacked.shape == (2, 20, 30)
    np.testing.assert_allclose(pair.coarse_m, block_mean(terrain, 15) + 3, atol=1e-5)
    np.testing.assert_allclose(pair.truth_m, block_mean(terrain, 3)[:20, :30])
    np.testing.assert_allclose(block_mean(pair.given_m, 5).mean(), pair.coarse_m.mean(), atol=0.05)


def test_pairs_that_do_not_fit_are_refused() -> None:
    flat = np.zeros((60, 60))
    with pytest.raises(DatasetError, match="one grid"):
        make_pair("", heights(flat), heights(flat[:30]))
    with pytest.raises(DatasetError, match="no multiple of the grid"):
        make_pair("", heights(flat), heights(flat), fine_m=5.0)
    with pytest.raises(DatasetError, match="divide each other"):
        make_pair("", heights(flat), heights(flat), fine_m=8.0)
    gap = flat.copy()
    gap[:15, :15] = np.nan
    with pytest.raises(DatasetError, match="gaps"):
        make_pair("", heights(gap), heights(flat), fine_m=6.0)


def test_outlines_are_drawn_where_they_lie(tmp_path: Path) -> None:
    from rasterio.warp import transform_geom

    like = read_heights(write(tmp_path / "dsm.tif", np.ones((40, 50), dtype=np.float32)))
    left, top = 321498 + 20, 4298018 - 10  # ten columns and five rows in
    ring = [(left, top), (left + 16, top), (left + 16, top - 8), (left, top - 8), (left, top)]
    shape = transform_geom("EPSG:26918", "OGC:CRS84", {"type": "Polygon", "coordinates": [ring]})
    file = tmp_path / "buildings.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [{"geometry": shape}]}))
    drawn = outlines(file, like)
    assert drawn.sum() == 8 * 4
    assert drawn[5:9, 10:18].all()
    file.write_text('{"type": "Feature"}')
    with pytest.raises(DatasetError, match="no GeoJSON collection"):
        outlines(file, like)
    with pytest.raises(DatasetError, match="Georeference"):
        outlines(file, heights(np.ones((4, 4))))


def dfc(folder: Path, region: str, ids: tuple[str, ...]) -> None:
    for one in ids:
        base = folder / region
        write(base / "BDORTHO" / f"{one}_bdortho.tif", np.full((3, 16, 16), 7, dtype=np.uint8), gsd_m=8.0)
        write(base / "RGEALTI" / f"{one}_rgealti.tif", np.full((16, 16), 5.0, dtype=np.float32), gsd_m=8.0)
        write(base / "COP30" / f"{one}_cop30.tif", np.full((16, 16), 6.0, dtype=np.float32), gsd_m=8.0)
        write(base / "UA2012" / f"{one}_ua2012.tif", np.ones((15, 16, 16), dtype=np.uint8), gsd_m=8.0)
        write(base / "CHM" / f"{one}_chm.tif", np.full((16, 16), 34, dtype=np.uint8), gsd_m=8.0)


def test_dfc30_is_paired_by_id_and_split_by_region(tmp_path: Path) -> None:
    dfc(tmp_path, "Brest", ("12", "7"))
    dfc(tmp_path, "Angers", ("3",))
    train, test = dfc30_samples(tmp_path, "train"), dfc30_samples(tmp_path, "test", guide="landuse")
    assert [(one.region, one.truth.stem) for one in train] == [("Brest", "12_rgealti"), ("Brest", "7_rgealti")]
    assert [one.region for one in test] == ["Angers"]
    pair, picture = read_dfc30(test[0])
    assert pair.guide[:, 0, 0].tolist() == pytest.approx([(i + 1) / 16 for i in range(15)])
    assert (float(pair.given_m[0, 0]), float(pair.truth_m[0, 0]), picture.shape) == (6.0, 5.0, (3, 16, 16))
    canopy, _ = read_dfc30(dfc30_samples(tmp_path, "test", guide="canopy")[0])
    assert canopy.guide.shape == (1, 16, 16)
    assert canopy.guide.max() == 34.0


def test_a_region_whose_folders_do_not_match_is_refused(tmp_path: Path) -> None:
    dfc(tmp_path, "Brest", ("12", "7"))
    (tmp_path / "Brest" / "COP30" / "7_cop30.tif").unlink()
    with pytest.raises(DatasetError, match="2 files in RGEALTI and 1 in COP30"):
        dfc30_samples(tmp_path, "train")
    with pytest.raises(DatasetError, match="no region"):
        dfc30_samples(tmp_path / "nothing", "train")
    with pytest.raises(DatasetError, match="'canopy'"):
        dfc30_samples(tmp_path, "train", guide="clouds")
