"""The course of the geo-localisation encoder and its readers, on synthetic and real surveys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch  # noqa: TID253

from exporters.courses.geo_encoder import PairCourse, SurveyCourse, course
from exporters.errors import DatasetError
from exporters.readers.geolocation import read_places, read_surveys, read_view_pairs


def surveys(
    folder: Path, *, side: int = 256, edge: int = 32, lines: str | None = None, other: int | None = None
) -> Path:
    import rasterio
    from affine import Affine

    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(30, 220, (3, side // 8, side // 8)), np.ones((8, 8)))
    for name, rows, shade in (("a_DOP.tif", side, 1.0), ("a_xDOP.tif", other or side, 0.8)):
        pixels = np.clip(shade * ground[:, :rows] + rng.normal(0, 4, ground[:, :rows].shape), 0, 255).astype(np.uint8)
        with rasterio.open(
            folder / name, "w", driver="GTiff", width=side, height=rows, count=3, dtype="uint8", crs="EPSG:32632",
            transform=Affine(0.5, 0, 5e5, 0, -0.5, 5.3e6),
        ) as file:  # fmt: skip
            file.write(pixels)
    places = [
        f"t{row}{col},{row},{col},{edge},{'train' if col < 5 * edge else 'test'}"
        for row in range(0, side, edge)
        for col in range(0, side, edge)
    ]
    (folder / "tiles.csv").write_text("place,row_px,col_px,edge_px,split\n" + (lines or "\n".join(places)) + "\n")
    return folder


def small(data: Path, **settings: object) -> SurveyCourse:
    made = course(data, edge_px=16, batch=8, steps=2, channels=8, layers=1, **settings)  # type: ignore[arg-type]
    assert isinstance(made, SurveyCourse)
    return made


def test_the_same_epoch_has_the_same_batches_and_no_two_places_overlap_by_half(tmp_path: Path) -> None:
    made = small(surveys(tmp_path))
    one, again, later = (list(made.batches(epoch)) for epoch in (0, 0, 1))
    assert torch.equal(one[1].query, again[1].query)
    assert not torch.equal(one[0].query, later[0].query)
    centres = made._centres(np.random.default_rng(0), 40)
    apart = np.abs(centres[:, None] - centres[None]).max(2) + 99 * np.eye(len(centres))
    assert apart.min() >= 16
    left, right = made.fit_cols()
    assert (left, right) == (0, 4 * 32)
    assert centres[:, 1].max() <= right - 16


def test_views_of_one_place_are_alike_and_those_of_others_are_not(tmp_path: Path) -> None:
    made = small(surveys(tmp_path), jitter=False)
    query, reference = next(iter(made.batches(3)))
    flat = [part.flatten(1) - part.flatten(1).mean(1, keepdim=True) for part in (query, reference)]
    alike = torch.nn.functional.normalize(flat[0], dim=1) @ torch.nn.functional.normalize(flat[1], dim=1).T
    assert bool((alike.argmax(1) == torch.arange(len(alike))).all())


def test_a_course_learns_and_measures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = small(surveys(tmp_path))
    network = made.build()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    before = made.validate(network)["mrr"]
    for epoch in range(8):
        for batch in made.batches(epoch):
            network.train()
            optimiser.zero_grad()
            made.loss(network, batch)["loss"].backward()
            optimiser.step()
    assert made.validate(network)["mrr"] >= before
    test = made.test(network)
    assert 0.0 <= test["r1"] <= test["r5"] <= test["r10"] <= 1.0
    assert {"dense_r1", "dense_median_m"} <= test.keys()
    assert made.describe().notes["tile_m"] == 16.0
    assert made.tiles("test").pixels.shape[1:] == (3, 16, 16)


def test_other_places_fill_half_of_a_batch(tmp_path: Path, data_dir: Path) -> None:
    folder = data_dir / "aid-subset-150px"
    if not folder.is_dir():
        pytest.skip("needs DATA: aid-subset-150px")
    made = small(surveys(tmp_path), others=str(folder), others_most=6)
    assert made.others is not None
    assert made.others.shape == (6, 3, 32, 32)
    assert next(iter(made.batches(0))).query.shape[0] == 8
    with pytest.raises(DatasetError, match="no picture"):
        read_places(tmp_path / "none", 16, 4)


def test_the_real_surveys_and_pairs_are_read(data_dir: Path) -> None:
    for name in ("cvgl-ortholoc-tiles", "cvgl-ground-aerial-samples"):
        if not (data_dir / name).is_dir():
            pytest.skip(f"needs DATA: {name}")
    real = read_surveys(data_dir / "cvgl-ortholoc-tiles")
    assert (len(real.of("train")), len(real.of("test"))) == (40, 24)
    assert real.query.shape == real.reference.shape == (3, 1024, 1024)
    assert real.gsd_m == pytest.approx(0.1815, abs=1e-3)
    pairs = read_view_pairs(data_dir / "cvgl-ground-aerial-samples", "test", 32)
    assert pairs.ground.shape == pairs.aerial.shape == (8, 3, 32, 32)
    made = course(data_dir / "cvgl-ground-aerial-samples", edge_px=32, batch=8, steps=1, channels=8)
    assert isinstance(made, PairCourse)
    assert next(iter(made.batches(0))).query.shape == (8, 3, 32, 32)
    assert "median_m" not in made.test(made.build())


def test_surveys_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no .*tiles.csv"):
        course(tmp_path)
    for number, (given, words) in enumerate(
        (
            ({"lines": "t,0,300,32,train"}, "lies outside"),
            ({"lines": "t,0,x,32,train"}, "is no place"),
            ({"lines": "t,0,0,32,train"}, "both splits"),
            ({"other": 128}, "need one grid"),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        surveys(folder, **given)  # type: ignore[arg-type]
        with pytest.raises(DatasetError, match=words):
            course(folder)
    with pytest.raises(DatasetError, match="no switch"):
        course(tmp_path / "0", width=3)
    (tmp_path / "0" / "a_DOP.tif").unlink()
    with pytest.raises(DatasetError, match="has 0 files"):
        course(tmp_path / "0")
