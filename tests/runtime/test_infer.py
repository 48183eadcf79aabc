"""One-shot inference: a raster in, a complete GeoJSON file or none out."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.package import ModelPackage
from runtime.errors import StoreError
from runtime.infer import infer_scenes

MakePackage = Callable[..., ModelPackage]
WriteTiff = Callable[..., Path]


def bands_of_colour(height: int = 48, width: int = 40) -> Any:
    """Red above, blue below."""
    pixels = np.full((3, height, width), 20, dtype=np.uint8)
    pixels[0, : height // 2] = 200
    pixels[2, height // 2 :] = 200
    return pixels


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def area_deg2(ring: list[list[float]]) -> float:
    return sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairwise(ring)) / 2


def test_each_tile_becomes_a_feature_with_its_label_and_place(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    package = make_package()
    scene = write_tiff("field.tif", bands_of_colour(), tags={"TIFFTAG_DATETIME": "2018:07:16 06:06:23"})
    seen: list[tuple[int, int, str]] = []
    result = infer_scenes(package, [scene], tmp_path / "out", batch=4, progress=lambda *step: seen.append(step))
    collection = load(tmp_path / "out" / "field.geojson")
    assert collection["type"] == "FeatureCollection"
    features = collection["features"]
    assert len(features) == 9
    assert [feature["properties"]["class"] for feature in features] == ["red"] * 3 + ["red"] * 3 + ["blue"] * 3
    first = features[0]
    assert first["properties"] == {
        "class": "red",
        "class_id": 0,
        "score": pytest.approx(1.0, abs=1e-3),
        "unsure": False,
        "product": "label",
        "model_id": "colour",
        "model_version": 3,
        "time": "2018-07-16T06:06:23Z",
        "seq": 0,
        "tile": [0, 0],
        "px_bbox": [0, 0, 16, 16],
    }
    assert first["geometry"]["coordinates"][0][0] == pytest.approx([9.0, 47.853342], abs=1e-6)
    assert len({feature["id"] for feature in features}) == 9
    made_by = collection["subsolar"]
    assert made_by["package"] == {"id": "colour", "version": 3, "sha256": package.sha256}
    assert made_by["tiles"] == {"all": 9, "done": 9, "shed": {}, "failed": {}, "shed_by": {}, "failed_by": {}}
    assert made_by["warning"] == ""
    assert seen[-1] == (9, 9, "field")
    assert result.complete
    assert "red 6, blue 3" in result.table()
    json.dumps(result.summary(), allow_nan=False)


@pytest.mark.parametrize("overlap_px", [0, 5])
def test_polygons_cover_the_scene_once_and_right_handed(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path, overlap_px: int
) -> None:
    scene = write_tiff("field.tif", bands_of_colour(45, 37))
    infer_scenes(make_package(), [scene], tmp_path / "out", overlap_px=overlap_px)
    infer_scenes(make_package(64, name="whole"), [scene], tmp_path / "whole")
    parts = [area_deg2(f["geometry"]["coordinates"][0]) for f in load(tmp_path / "out" / "field.geojson")["features"]]
    (whole,) = load(tmp_path / "whole" / "field.geojson")["features"]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(area_deg2(whole["geometry"]["coordinates"][0]), rel=1e-3)


def test_two_runs_write_the_same_bytes(make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path) -> None:
    package, scene = make_package(), write_tiff("field.tif", bands_of_colour())
    infer_scenes(package, [scene], tmp_path / "one", batch=32)
    infer_scenes(package, [scene], tmp_path / "two", batch=32)
    assert (tmp_path / "one" / "field.geojson").read_bytes() == (tmp_path / "two" / "field.geojson").read_bytes()


def test_a_scene_without_a_place_has_answers_without_geometry_and_a_warning(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import rasterio
    from affine import Affine
    from rasterio.errors import NotGeoreferencedWarning

    scene = write_tiff("field.tif", bands_of_colour())
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(
            scene, "w", driver="GTiff", dtype="uint8", count=3, height=48, width=40, transform=Affine.identity()
        ) as target,
    ):
        target.write(bands_of_colour())
    result = infer_scenes(make_package(), [scene], tmp_path / "out")
    features = load(tmp_path / "out" / "field.geojson")["features"]
    assert {feature["geometry"] for feature in features} == {None}
    assert {feature["properties"]["time"] for feature in features} == {None}
    assert "no georeference" in result.scenes[0].warning


def test_pixels_of_a_size_the_network_was_not_made_for_are_told(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    from affine import Affine

    far = Affine(5000.0, 0.0, 500_000.0, 0.0, -5000.0, 5_300_000.0)
    result = infer_scenes(make_package(), [write_tiff("far.tif", bands_of_colour(), transform=far)], tmp_path / "out")
    assert "made for 0.1 to 1000 m" in result.scenes[0].warning
    assert "warning" in result.table()


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (10, 10), (10, 40)])
def test_a_scene_smaller_than_a_tile_says_that_the_rest_was_filled_in(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path, rows: int, cols: int
) -> None:
    scene = write_tiff("small.tif", np.full((3, rows, cols), 200, dtype=np.uint8))
    result = infer_scenes(make_package(16), [scene], tmp_path / "out")
    words = f"the scene is {cols} x {rows} px, smaller than a tile of 16 px: the rest was filled in"
    assert words in result.table()
    assert words in json.dumps(result.summary())
    found = load(tmp_path / "out" / "small.geojson")
    assert words in found["subsolar"]["warning"]
    assert max(one["properties"]["px_bbox"][2] for one in found["features"]) == cols
    assert {one["properties"]["px_bbox"][3] for one in found["features"]} == {rows}


def test_empty_tiles_are_shed_and_nan_answers_fail_their_tile(
    make_package: MakePackage, poisoned_graph: Callable[[int], bytes], write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import onnxruntime  # noqa: F401

    from runtime.engines import open_onnx_engine

    pixels = np.full((3, 16, 48), 90, dtype=np.uint8)
    pixels[:, :, 16:32] = 0
    pixels[:, :, 32:] = np.array([255, 0, 1], dtype=np.uint8)[:, None, None]
    package = make_package(onnx=poisoned_graph(16))
    scene = write_tiff("mixed.tif", pixels, nodata=0)
    result = infer_scenes(package, [scene], tmp_path / "out", engine=open_onnx_engine(package, test=False))
    tiles = load(tmp_path / "out" / "mixed.geojson")["subsolar"]["tiles"]
    assert (tiles["all"], tiles["done"]) == (3, 1)
    assert tiles["shed"] == {"nodata: 0% of it is valid": 1}
    assert list(tiles["failed"].values()) == [1]
    assert result.complete


def test_scenes_that_cannot_be_used_do_not_stop_the_others_and_leave_no_file(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    noise = np.random.default_rng(3).integers(0, 256, (3, 200, 200), dtype=np.uint8)
    damaged = write_tiff("damaged.tif", noise, tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    damaged.write_bytes(damaged.read_bytes()[:80_000])
    gray = write_tiff("gray.tif", noise[:1])
    deep = write_tiff("deep.tif", noise.astype(np.uint16))
    good = write_tiff("good.tif", bands_of_colour())
    result = infer_scenes(make_package(), [damaged, gray, deep, tmp_path / "none.tif", good], out)
    assert [bool(scene.error) for scene in result.scenes] == [True, True, True, True, False]
    assert "damaged or cut short" in result.scenes[0].error
    assert "no band red" in result.scenes[1].error
    assert "SUBSOLAR_RANGE" in result.scenes[2].error
    assert not result.complete
    assert [path.name for path in out.glob("[!.]*")] == ["good.geojson"]
    assert all(scene.error in result.table() for scene in result.scenes)


def test_an_interrupt_keeps_the_finished_scenes_and_nothing_half(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    first, second = write_tiff("first.tif", bands_of_colour()), write_tiff("second.tif", bands_of_colour())

    def stop_in_second(done: int, total: int, what: str) -> None:
        if what.startswith("second"):
            raise KeyboardInterrupt

    result = infer_scenes(make_package(), [first, second], tmp_path / "out", batch=2, progress=stop_in_second)
    assert result.interrupted
    assert not result.complete
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["first.geojson"]
    assert "stopped" in result.table()


def test_scenes_of_one_name_do_not_overwrite_each_other(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    scene = write_tiff("field.tif", bands_of_colour())
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "field.tif"
    twin.write_bytes(scene.read_bytes())
    infer_scenes(make_package(), [scene, twin], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["field-2.geojson", "field.geojson"]


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="Choose another folder"):
        infer_scenes(make_package(), [write_tiff("field.tif", bands_of_colour())], tmp_path / "file" / "out")


def test_a_real_scene_gets_places_within_its_own_bounds(make_package: MakePackage, repo: Path, tmp_path: Path) -> None:
    infer_scenes(make_package(64), [repo / "deploy" / "scenes" / "naip-2020-north-dakota.tif"], tmp_path)
    features = load(tmp_path / "naip-2020-north-dakota.geojson")["features"]
    assert len(features) == 15 * 12
    lon, lat = np.array([place for f in features for place in f["geometry"]["coordinates"][0]]).T
    assert (lon.min(), lon.max()) == (pytest.approx(-99.1856, abs=1e-3), pytest.approx(-99.1239, abs=2e-3))
    assert (lat.min(), lat.max()) == (pytest.approx(47.0039, abs=2e-3), pytest.approx(47.0366, abs=1e-3))
