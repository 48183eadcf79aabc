"""A scene from end to end: boxes whole and once, pictures as COG, STAC items, streams, many scenes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.package import ModelPackage
from runtime.errors import EngineError, MissionError
from runtime.frames import StreamHeader, open_frame
from runtime.frames.lines import write_stream
from runtime.infer import infer_scenes
from runtime.pipeline.executors import make_executor
from runtime.records import FloatArray, UInt8Array

from .recorded import BrightestBand, Inverter, SquareFinder, package_of

MakePackage = Callable[..., ModelPackage]
WriteTiff = Callable[..., Path]


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def squares(sides: NDArray[np.int64], height: int, width: int) -> NDArray[np.uint8]:
    """A picture that shows each box, left, top, right, bottom, in a colour of its own; later ones lie on top."""
    pixels = np.full((3, height, width), 9, dtype=np.uint8)
    for number, (left, top, right, bottom) in enumerate(sides.tolist()):
        pixels[0, top:bottom, left:right], pixels[1, top:bottom, left:right] = 255, number + 1
    return pixels


def grid_of_boxes() -> NDArray[np.int64]:
    rng = np.random.default_rng(6)
    corner = np.stack(np.meshgrid(np.arange(4, 180, 30), np.arange(4, 140, 30)), axis=-1).reshape(-1, 2)
    corner = corner + rng.integers(0, 10, corner.shape)
    return np.concatenate([corner, corner + rng.integers(6, 19, corner.shape)], axis=1)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_objects_that_tile_borders_cut_come_out_whole_and_once(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path, batch: int
) -> None:
    package, sides = package_of(make_package(48), "boxes", ("tree",)), grid_of_boxes()
    scene = write_tiff("orchard.tif", squares(sides, 150, 200))
    result = infer_scenes(
        package, [scene], tmp_path / "out", batch=batch, overlap_px=20, engine=SquareFinder(), stac=True
    )
    features = load(tmp_path / "out" / "orchard.geojson")["features"]
    assert sorted(f["properties"]["px_bbox"] for f in features) == sorted(sides.tolist())
    assert {f["properties"]["product"] for f in features} == {"geom"}
    assert len({f["id"] for f in features}) == len(sides)
    assert result.scenes[0].labels == {"tree": len(sides)}


def test_r30_the_bytes_do_not_depend_on_batches_threads_or_reading_ahead(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    package = package_of(make_package(48), "boxes", ("tree",))
    scene = write_tiff("orchard.tif", squares(grid_of_boxes(), 150, 200))
    texts = set()
    for batch, workers in ((1, 1), (5, 3), (64, 2)):
        out = tmp_path / f"{batch}-{workers}"
        infer_scenes(package, [scene], out, batch=batch, workers=workers, overlap_px=20, engine=SquareFinder())
        texts.add((out / "orchard.geojson").read_text().split('"subsolar"')[0])
    assert len(texts) == 1


def test_the_neon_trees_keep_their_boxes_and_their_places(
    make_package: MakePackage, data_dir: Path, tmp_path: Path
) -> None:
    import rasterio
    from rasterio.warp import transform

    folder = data_dir / "scenes-geotiff"
    with (folder / "neon_osbs_trees_10cm_boxes.csv").open() as table:
        rows = [[int(row[key]) for key in ("xmin", "ymin", "xmax", "ymax")] for row in csv.DictReader(table)]
    assert len(rows) == 61

    class Recorded:
        """Answers the boxes that a tile shows, cut at its borders; ``refs`` come in the order of the grid."""

        name, provider = "recorded v1", "cpu"

        def __init__(self) -> None:
            with open_frame(folder / "neon_osbs_trees_10cm.tif") as frame:
                self.scene = frame.read(0, 0, 400, (0, 1, 2))

        def infer(self, batch: UInt8Array) -> FloatArray:
            found = np.zeros((len(batch), 61, 6), dtype=np.float32)
            for number, tile in enumerate(batch):
                row, col = self.where(tile)
                for at, (left, top, right, bottom) in enumerate(rows):
                    box = np.clip([left - col, top - row, right - col, bottom - row], 0, 160)
                    if box[2] > box[0] and box[3] > box[1]:
                        found[number, at] = (*box, 0.9 - at / 1000, at % 2)
            return found

        def where(self, tile: UInt8Array) -> tuple[int, int]:
            starts = (0, 80, 160, 240)
            return next(
                (r, c) for r in starts for c in starts if (self.scene[:, r : r + 160, c : c + 160] == tile).all()
            )

        def close(self) -> None:
            pass

    package = package_of(make_package(160), "boxes", ("tree", "other tree"))
    scene = folder / "neon_osbs_trees_10cm.tif"
    infer_scenes(package, [scene], tmp_path, overlap_px=80, engine=Recorded())
    features = load(tmp_path / "neon_osbs_trees_10cm.geojson")["features"]
    found = {tuple(f["properties"]["px_bbox"]) for f in features}
    assert found <= {tuple(row) for row in rows}
    assert len(features) == len(found) >= 58
    with rasterio.open(scene) as dataset:
        for feature in features:
            left, top, right, bottom = feature["properties"]["px_bbox"]
            x, y = np.array([left, left, right, right]), np.array([top, bottom, bottom, top])
            at = dataset.transform
            lon, lat = transform(dataset.crs, "OGC:CRS84", at.a * x + at.c, at.e * y + at.f)
            ring = np.array(feature["geometry"]["coordinates"][0][:4])
            metres = np.abs(ring - np.column_stack([lon, lat])) * [111_320 * np.cos(np.radians(29.7)), 110_900]
            assert metres.max() < 0.05  # half a pixel of 10 cm


def test_a_real_detector_package_is_written_loaded_and_run(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path, repo: Path
) -> None:
    import importlib.util

    import onnxruntime

    from exporters.package import Accuracy, Golden, Profile, load_package, write_package

    spec = importlib.util.spec_from_file_location("spot_detector", repo / "benchmarks" / "spot_detector.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    graph, shape = module.spot_detector(64), (3, 200, 300)
    rng = np.random.default_rng(11)
    pixels, spots = rng.integers(10, 40, shape, dtype=np.uint8), [(40, 60), (62, 128), (130, 190), (180, 290)]
    for row, col in spots:
        pixels[:, row - 4 : row + 4, col - 4 : col + 4] = 240
    plain = make_package(64)
    info = package_of(plain, "boxes", ("spot",)).info
    accuracy = replace(plain.profile.accuracy, recall_by_class={"spot": 1.0}, confusion=((1,),))
    assert isinstance(accuracy, Accuracy)
    profile = Profile(accuracy=accuracy, measurements=plain.profile.measurements)
    tiles = np.ascontiguousarray(pixels[None, :, :64, 32:96])
    expected = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"tiles": tiles})[0]
    golden = Golden(tiles, expected, 1e-4)
    write_package(tmp_path / "spots", onnx=graph, info=info, profile=profile, golden=golden, key=None)
    package = load_package(tmp_path / "spots", trust={}, allow_unsigned=True)
    infer_scenes(package, [write_tiff("field.tif", pixels)], tmp_path / "out", overlap_px=24)
    boxes = [f["properties"]["px_bbox"] for f in load(tmp_path / "out" / "field.geojson")["features"]]
    centres = sorted(((top + bottom) / 2, (left + right) / 2) for left, top, right, bottom in boxes)
    assert len(centres) == len(spots)
    assert np.abs(np.array(centres) - np.array(sorted(spots))).max() <= 2


def test_r08_a_box_that_is_none_fails_its_tile_and_no_other(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    class Bad(SquareFinder):
        def infer(self, batch: UInt8Array) -> FloatArray:
            found = super().infer(batch)
            found[0, 0, 2] = np.inf
            found[1, 0, 4:] = (0.9, 7)
            return found

    package, scene = (
        package_of(make_package(48), "boxes", ("tree",)),
        write_tiff("s.tif", squares(grid_of_boxes(), 96, 96)),
    )
    result = infer_scenes(package, [scene], tmp_path / "out", engine=Bad())
    (told,) = result.scenes[0].failed
    assert "NaN, Inf or an unknown class" in told
    assert (result.scenes[0].failed[told], result.scenes[0].done) == (2, 2)


def test_an_engine_that_fails_fails_its_batch_and_the_scene_goes_on(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    class Moody(SquareFinder):
        calls = 0

        def infer(self, batch: UInt8Array) -> FloatArray:
            self.calls += 1
            if self.calls == 2:
                raise EngineError("the second batch is too much. Reload it.")
            return super().infer(batch) if self.calls != 3 else np.zeros((len(batch), 3), dtype=np.float32)

    package, scene = (
        package_of(make_package(48), "boxes", ("tree",)),
        write_tiff("s.tif", squares(grid_of_boxes(), 144, 144)),
    )
    (ended,) = infer_scenes(package, [scene], tmp_path / "out", engine=Moody(), batch=2).scenes
    assert (ended.done, sum(ended.failed.values()), ended.tiles) == (5, 4, 9)


def test_a_restored_image_is_a_cog_in_the_place_of_its_scene(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import rasterio

    pixels = np.random.default_rng(2).integers(0, 256, (3, 600, 700), dtype=np.uint8)
    package = package_of(make_package(64), "image", ("red", "green", "blue"))
    (done,) = infer_scenes(
        package, [write_tiff("hazy.tif", pixels)], tmp_path / "out", overlap_px=10, engine=Inverter()
    ).scenes
    with rasterio.open(done.output) as made, rasterio.open(tmp_path / "hazy.tif") as scene:
        assert (made.read() == 255 - pixels).all()
        assert (made.crs, made.transform) == (scene.crs, scene.transform)
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert made.overviews(1)
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["hazy.tif"]


def test_a_mask_holds_classes_and_leaves_what_was_not_seen_as_nodata(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import rasterio

    pixels = np.random.default_rng(2).integers(1, 256, (3, 32, 48), dtype=np.uint8)
    pixels[:, :16, :16] = 0
    package = package_of(make_package(16), "mask", ("red", "green", "blue"))
    (done,) = infer_scenes(
        package, [write_tiff("m.tif", pixels, nodata=0)], tmp_path / "out", engine=BrightestBand(), stac=True
    ).scenes
    with rasterio.open(done.output) as made:
        classes = made.read(1)
        assert made.nodata == 255
    assert (classes[:16, :16] == 255).all()
    assert (classes[16:] == pixels[:, 16:].argmax(axis=0)).all()
    assert done.shed == {"nodata: 0% of it is valid": 1}
    assert load(tmp_path / "out" / "m.stac.json")["assets"]["answers"]["href"] == "m.tif"


def test_a_line_stream_gives_the_features_of_the_same_picture(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    pixels, package = squares(grid_of_boxes(), 150, 200), package_of(make_package(48), "boxes", ("tree",))
    with open_frame(write_tiff("pass.tif", pixels)) as frame:
        header = StreamHeader("pass", 200, frame.bands, "uint8", georeference=frame.georeference)  # type: ignore[arg-type]
    (tmp_path / "pass.lines").write_bytes(write_stream(header, [(n, pixels[:, n]) for n in range(150) if n != 120]))
    for name in ("pass.tif", "pass.lines"):
        infer_scenes(package, [tmp_path / name], tmp_path / name[5:], overlap_px=20, engine=SquareFinder())
    still, live = (load(tmp_path / kind / "pass.geojson") for kind in ("tif", "lines"))
    crossing = [f for f in still["features"] if f["properties"]["px_bbox"][1] <= 120 < f["properties"]["px_bbox"][3]]
    apart = [f for f in still["features"] if f not in crossing]
    assert [f for f in live["features"] if f in apart] == apart
    assert live["subsolar"]["scene"]["stream"]["missing"] == 1
    (told,) = infer_scenes(
        package_of(package, "image", ("red", "green", "blue")),
        [tmp_path / "pass.lines"],
        tmp_path / "no",
        engine=Inverter(),
    ).scenes
    assert "line stream" in told.error


@pytest.mark.parametrize(
    "name", ["landsat7_bahamas_rgb.tif", "sentinel1_grd_gcps.tif", "uav_orthophoto_pix4d_rgba.tif"]
)
def test_stac_items_of_real_scenes_are_valid(
    make_package: MakePackage, data_dir: Path, tmp_path: Path, name: str
) -> None:
    pystac = pytest.importorskip("pystac", reason="needs the extra: dev")
    bands = ("red",) if "sentinel1" in name else ()
    package = make_package(64)
    if bands:
        package = replace(package, info=replace(package.info, input=replace(package.info.input, bands=bands)))
    infer_scenes(
        package,
        [data_dir / "scenes-geotiff" / name],
        tmp_path,
        band_names=bands,
        value_range=(0, 1000) if bands else None,
        engine=Grey() if bands else None,
        stac=True,
    )
    text = (tmp_path / name.replace(".tif", ".stac.json")).read_text()
    item = pystac.Item.from_dict(json.loads(text))
    validate_offline(item.to_dict())
    assert item.bbox[0] < item.bbox[2]
    assert item.assets["answers"].media_type == "application/geo+json"
    assert item.properties["proj:shape"]
    assert pystac.Item.from_dict(item.to_dict()).to_dict() == item.to_dict()


class Grey:
    name, provider = "grey v1", "cpu"

    def infer(self, batch: UInt8Array) -> FloatArray:
        return np.full((len(batch), 3), 1 / 3, dtype=np.float32)

    def close(self) -> None:
        pass


def validate_offline(item: dict[str, Any]) -> None:
    """The core of STAC by the schemas that come with pystac; those of the extensions would have to be fetched."""
    from pystac import STACObjectType
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    validator = JsonSchemaSTACValidator()
    validator.validate_core(item, STACObjectType.ITEM, item["stac_version"])


def test_a_run_that_was_stopped_goes_on_where_it_was(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    package, out = make_package(), tmp_path / "out"
    for name in "abc":
        write_tiff(f"{name}.tif", np.full((3, 20, 20), 80, dtype=np.uint8))
    scenes = [tmp_path / f"{name}.tif" for name in "abc"]

    def stop_in_c(done: int, total: int, what: str) -> None:
        if what.startswith("c,"):
            raise KeyboardInterrupt

    first = infer_scenes(package, scenes, out, progress=stop_in_c)
    assert (first.interrupted, len(first.scenes), first.resumed) == (True, 2, 0)
    with (out / ".subsolar-infer.jsonl").open("a") as ledger:
        ledger.write('[]\n{"key": "x", "result": {"of": "another version"}}\n{"key": "torn')
    before = (out / "a.geojson").stat().st_mtime_ns
    second = infer_scenes(package, scenes, out, resume=True)
    assert (second.complete, len(second.scenes), second.resumed) == (True, 3, 2)
    assert (out / "a.geojson").stat().st_mtime_ns == before
    (out / "b.geojson").unlink()
    write_tiff("a.tif", np.full((3, 20, 30), 80, dtype=np.uint8))
    assert infer_scenes(package, scenes, out, resume=True).resumed == 1  # b is gone, a has changed
    assert infer_scenes(package, scenes, out, resume=True).resumed == 3
    assert infer_scenes(package, scenes, out, resume=True, batch=4).resumed == 0
    assert infer_scenes(package, scenes, out).resumed == 0


def test_an_executor_that_does_not_exist_is_refused() -> None:
    with pytest.raises(MissionError, match="local, ray"):
        make_executor("slurm")


PEAK = """
import re, sys
from pathlib import Path
from exporters.package import load_package
from runtime.engines import open_engine
from runtime.infer import infer_scenes
package = load_package(Path(sys.argv[1]), trust={}, allow_unsigned=True)
engine = open_engine(package)
result = infer_scenes(package, [Path(sys.argv[2])], Path(sys.argv[3]), engine=engine, batch=64)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], result.scenes[0].done)
"""


def test_peak_memory_does_not_grow_with_the_scene(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import subprocess
    import sys

    make_package(64)
    peaks = []
    for height in (6_400, 25_600):
        scene = write_tiff(f"{height}.tif", np.full((3, height, 1280), 90, dtype=np.uint8))
        command = [sys.executable, "-c", PEAK, str(tmp_path / "colour"), str(scene), str(tmp_path / "out")]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        peak_kib, done = map(int, ran.stdout.split())
        assert done == height // 64 * 20
        peaks.append(peak_kib / 1024)
    assert peaks[1] - peaks[0] < 16  # MiB; the taller scene has 74 MiB more of pixels
