"""DFC30 by files of its layout: relative heights, guides scaled once, a border that is not scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253

rasterio = pytest.importorskip("rasterio")

from rasterio.transform import Affine  # noqa: E402, TID253

from exporters.courses.jspsr import course  # noqa: E402
from exporters.courses.jspsr_dfc30 import DfcCourse  # noqa: E402
from exporters.errors import DatasetError  # noqa: E402

EDGE_PX = 128


def write(path: Path, bands: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=EDGE_PX, height=EDGE_PX, count=len(bands), dtype=bands.dtype,
        crs="EPSG:2154", transform=Affine(8, 0, 4e5, 0, -8, 6e6),
    ) as file:  # fmt: skip
        file.write(bands)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dfc") / "DFC30_8m"
    row, col = np.mgrid[0:EDGE_PX, 0:EDGE_PX].astype(np.float32)
    for region, ids in (("Brest", ("1", "2", "3")), ("Angers", ("4",))):
        for one in ids:
            truth = (50 + 0.1 * row + 0.2 * col)[None]
            given = truth + 3.0
            given[:, :6] = given[:, -6:] = 200.0  # padding, which must not count
            write(folder / region / "BDORTHO" / f"{one}_a.tif", np.full((3, EDGE_PX, EDGE_PX), 51, dtype=np.uint8))
            write(folder / region / "RGEALTI" / f"{one}_b.tif", truth)
            write(folder / region / "COP30" / f"{one}_c.tif", given)
            write(folder / region / "CHM" / f"{one}_d.tif", np.full((1, EDGE_PX, EDGE_PX), 34, dtype=np.uint8))
    return folder


def made(data: Path, **settings: Any) -> DfcCourse:
    found = course(data, width=2, **settings)
    assert isinstance(found, DfcCourse)
    return found


def test_crops_hold_relative_heights_and_scaled_guides(data: Path) -> None:
    dfc = made(data, guide="canopy")
    given, truth = next(iter(dfc.batches(0)))
    assert (given.shape, truth.shape) == ((17, 5, EDGE_PX, EDGE_PX), (17, 1, EDGE_PX, EDGE_PX))
    assert float(given[:, 0].min()) == 0.0
    assert given[:, 1:4].unique().tolist() == pytest.approx([0.2])
    assert given[:, 4].unique().tolist() == pytest.approx([0.5])
    assert bool(dfc.loss(dfc.build(), (given[:2], truth[:2]))["loss"] > 0)
    again, _ = next(iter(made(data, guide="canopy").batches(0)))
    assert torch.equal(given, again)


def test_the_border_is_not_scored_and_an_untrained_network_scores_as_its_input(data: Path) -> None:
    dfc = made(data)
    found = dfc.test(dfc.build().eval())
    assert found["bicubic-rmse_m"] == pytest.approx(3.0, abs=1e-3)
    assert found["rmse_m"] == pytest.approx(3.0, abs=5e-3)
    assert found["n"] == 116**2
    assert dfc.tiles("test").pixels.shape == (1, 4, EDGE_PX, EDGE_PX)
    assert dfc.describe().bands == ("dem", "red", "green", "blue")
    assert made(data, guide="canopy").describe().std[-1] == 68.0


def test_the_fine_set_knows_higher_places(tmp_path: Path, data: Path) -> None:
    fine = tmp_path / "DFC30_3m"
    fine.symlink_to(data)
    dfc = made(fine)
    assert (dfc.peak_m, dfc.gsd_m) == (933.0, 3.0)
    with pytest.raises(DatasetError, match="no region"):
        course(tmp_path / "DFC30_8m")


def test_a_sample_that_the_scale_does_not_reach_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "DFC30_8m"
    for number in ("1", "2"):
        base = folder / "Nice"
        write(base / "BDORTHO" / f"{number}_a.tif", np.zeros((3, EDGE_PX, EDGE_PX), dtype=np.uint8))
        write(base / "COP30" / f"{number}_c.tif", np.full((1, EDGE_PX, EDGE_PX), 150.0, dtype=np.float32))
        write(base / "RGEALTI" / f"{number}_b.tif", np.full((1, EDGE_PX, EDGE_PX), 50.0, dtype=np.float32))
    with pytest.raises(DatasetError, match=r"from -100 to 0 m .* knows -79 to 929 m"):
        next(iter(made(folder).batches(0)))
