"""Float tiles, maps, embeddings, restored values and chains, through real packages and ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.package import Golden, InputSpec, ModelPackage, OutputSpec, Thresholds, load_package, write_package
from power_sim.errors import ScenarioError
from runtime.answers import View, When
from runtime.errors import EngineError, FrameError, MissionError, StoreError
from runtime.frames import choose_bands, expand, open_frame, parse_beside
from runtime.georeference import Box
from runtime.infer import infer_scenes, make_task
from runtime.pipeline.chaining import infer_chain
from runtime.pipeline.job import InferOptions
from runtime.pipeline.scene import Cutting
from runtime.records import FloatArray, TileRef, UInt8Array
from runtime.tasks import EmbeddingTask, MapTask
from runtime.tasks.anomaly import AnomalyTask
from runtime.tasks.chain import Chain
from runtime.tasks.index import TileIndex

from .conftest import colour_info, colour_profile
from .recorded import BrightestBand, Inverter, SquareFinder, package_of

MakePackage = Callable[..., ModelPackage]
WriteTiff = Callable[..., Path]
RGB = ("red", "green", "blue")


def load(path: Path | str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return loaded


def float_package(
    folder: Path,
    output: OutputSpec,
    *,
    task: str,
    bands: tuple[str, ...] = RGB,
    edge_px: int = 16,
    min_score: float = 0.5,
) -> ModelPackage:
    """A package that takes float32 tiles: a map is the mean of the bands, an embedding their mean by band."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    count = len(bands)
    axes, squared = ([1], False) if output.kind == "map" else ([2, 3], True)
    nodes = [helper.make_node("ReduceMean", ["tiles", "axes"], ["mean"], keepdims=0 if squared else 1)]
    if squared:
        nodes.append(helper.make_node("LpNormalization", ["mean"], ["out"], axis=1, p=2))
    else:
        nodes.append(helper.make_node("Concat", ["mean"] * output.channels, ["out"], axis=1))
    graph = helper.make_graph(
        nodes,
        "values",
        [helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["batch", count, edge_px, edge_px])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.array(axes, dtype=np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    tiles = np.random.default_rng(5).uniform(0.1, 1.0, (3, count, edge_px, edge_px)).astype(np.float32)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    expected = np.asarray(session.run(None, {"tiles": tiles})[0], dtype=np.float32)
    info = replace(
        colour_info(edge_px),
        id=f"{task}-test",
        task=task,
        classes=(),
        input=InputSpec(name="tiles", dtype="float32", tile_edge_px=edge_px, bands=bands),
        output=output,
        thresholds=Thresholds(min_score=min_score),
    )
    profile = colour_profile()
    accuracy = replace(profile.accuracy, recall_by_class={}, confusion=())
    golden = Golden(tiles, expected, 1e-5)
    name = folder / info.id
    write_package(name, onnx=model, info=info, profile=replace(profile, accuracy=accuracy), golden=golden, key=None)
    return load_package(name, trust={}, allow_unsigned=True)


def heights(height: int, width: int, bands: int = 3) -> FloatArray:
    rows, cols = np.mgrid[0:height, 0:width]
    return np.stack([(rows + 2 * cols) * 0.5 + band for band in range(bands)]).astype(np.float32)


@pytest.mark.parametrize("overlap_px", [0, 6])
def test_a_map_is_a_float_cog_with_its_unit_and_nan_where_the_scene_has_nothing(
    write_tiff: WriteTiff, tmp_path: Path, overlap_px: int
) -> None:
    import rasterio

    package = float_package(tmp_path, OutputSpec(name="out", kind="map", unit="m"), task="surface")
    scene = heights(40, 50)
    scene[:, 20:24, 5:9] = -9999
    path = write_tiff("dem.tif", scene, nodata=-9999, descriptions=RGB)
    (done,) = infer_scenes(package, [path], tmp_path / "out", overlap_px=overlap_px, preview=True).scenes
    assert done.error == ""
    with rasterio.open(str(done.output)) as made:
        values = made.read(1)
        assert (made.dtypes, made.units, made.descriptions) == (("float32",), ("m",), ("surface",))
        assert np.isnan(made.nodata)
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert np.isnan(values[20:24, 5:9]).all()
    known = ~np.isnan(values)
    assert known.sum() == 40 * 50 - 16
    assert np.abs(values - scene.mean(axis=0))[known].max() < 1e-3
    assert [Path(one).name for one in done.more] == ["dem.preview.png"]


def test_stored_integers_come_as_physical_values_by_the_files_scale(write_tiff: WriteTiff) -> None:
    import rasterio

    stored = np.random.default_rng(1).integers(1, 9000, (3, 20, 20), dtype=np.uint16)
    stored[1, 3, 4] = 0
    path = write_tiff("s2.tif", stored, nodata=0, descriptions=RGB)
    with rasterio.open(path, "r+") as opened:
        opened.scales, opened.offsets = (1e-4,) * 3, (-0.1,) * 3
    with open_frame(path, tile_dtype="float32") as frame:
        patch = frame.window(Box(0, 0, 20, 20), (1, 0))
    assert patch.pixels.dtype == np.float32
    assert np.isnan(patch.pixels[0, 3, 4])
    assert patch.pixels[1] == pytest.approx(stored[0] * 1e-4 - 0.1, abs=1e-5)
    with pytest.raises(FrameError, match="SUBSOLAR_RANGE"):
        open_frame(path)
    with pytest.raises(FrameError, match="Packages may take uint8 or float32"):
        open_frame(path, tile_dtype="float64")


def test_a_package_gets_tiles_of_its_own_type_and_prefilters_need_a_range(
    write_tiff: WriteTiff, tmp_path: Path
) -> None:
    package = float_package(tmp_path, OutputSpec(name="out", kind="map", unit=""), task="surface")
    path = write_tiff("dem.tif", heights(32, 32), descriptions=RGB)
    (refused,) = infer_scenes(package, [path], tmp_path / "a", skip={"dark": 0.5}).scenes
    assert "Give its value range" in refused.error
    (shed,) = infer_scenes(package, [path], tmp_path / "b", skip={"dark": 0.5}, value_range=(0, 1e6)).scenes
    assert shed.shed == {"dark: more than 50% of it": 4}


def test_a_cube_with_the_wrong_number_of_bands_is_refused_and_one_with_the_right_one_is_read(
    write_tiff: WriteTiff, tmp_path: Path, data_dir: Path
) -> None:
    bands = tuple(f"band_{number}" for number in range(1, 370))
    plots = sorted((data_dir / "hsi-lidar-idtrees" / "hsi").glob("*.tif"))[:2]
    package = float_package(tmp_path, OutputSpec(name="out", kind="map"), task="surface", bands=bands)
    (done,) = infer_scenes(package, plots[:1], tmp_path / "out").scenes
    assert (done.error, done.done) == ("", 4)
    small = write_tiff("small.tif", heights(20, 20, bands=64))
    (refused,) = infer_scenes(package, [small], tmp_path / "out").scenes
    assert "has 64 bands; the network takes cubes of 369" in refused.error
    with pytest.raises(FrameError, match="has 3 bands"):
        choose_bands(RGB, ("band_1", "band_2"), "rgb")


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_envi_cubes_are_read_by_header_or_samples_and_short_ones_are_refused(tmp_path: Path, interleave: str) -> None:
    cube = np.random.default_rng(2).integers(0, 5000, (120, 24, 20)).astype(np.int16)
    axes = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave]
    samples, header = tmp_path / "scene.img", tmp_path / "scene.hdr"
    samples.write_bytes(cube.transpose(axes).astype("<i2").tobytes())
    header.write_text(
        f"ENVI\nsamples = 20\nlines = 24\nbands = 120\nheader offset = 0\nfile type = ENVI Standard\n"
        f"data type = 2\ninterleave = {interleave}\nbyte order = 0\n"
    )
    assert expand([tmp_path]) == [header]
    for path in (header, samples):
        with open_frame(path, tile_dtype="float32") as frame:
            patch = frame.window(Box(4, 3, 10, 12), choose_bands(frame.bands, ("band_7", "band_120"), "cube"))
        assert np.array_equal(patch.pixels, cube[[6, 119], 4:14, 3:15].astype(np.float32))
    samples.write_bytes(samples.read_bytes()[:-2])
    with pytest.raises(FrameError, match="cut short"):
        open_frame(header, tile_dtype="float32")
    samples.unlink()
    with pytest.raises(FrameError, match="without its samples"):
        open_frame(header, tile_dtype="float32")


def test_anomalies_are_regions_of_the_map_whole_and_once(write_tiff: WriteTiff, tmp_path: Path) -> None:
    package = float_package(tmp_path, OutputSpec(name="out", kind="map", unit=""), task="anomaly", min_score=5.0)
    scene = np.zeros((3, 48, 64), dtype=np.float32)
    scene[:, 10:22, 14:35], scene[:, 40:42, 2:4] = 6.0, 9.0
    scene[:, 15, 20] = 45.0
    path = write_tiff("cube.tif", scene, descriptions=RGB)
    (done,) = infer_scenes(package, [path], tmp_path / "out", meter="estimate", preview=True).scenes
    found = load(tmp_path / "out" / "cube.geojson")
    told = {tuple(f["properties"]["px_bbox"]): f["properties"] for f in found["features"]}
    assert set(told) == {(14, 10, 35, 22), (2, 40, 4, 42)}
    big = told[14, 10, 35, 22]
    assert (big["class"], big["area_px"], big["peak"], big["score"]) == ("anomaly", 12 * 21, 45.0, 0.9)
    assert big["energy_j"] == pytest.approx(1e-3)
    assert sorted(f["properties"]["seq"] for f in found["features"]) == [0, 1]
    assert found["subsolar"]["energy"] == {"total_j": 0.012, "kind": "estimated", "source": "profile of cpu, batch 8"}
    assert done.labels == {"anomaly": 2}
    assert [Path(one).name for one in done.more] == ["cube.geojson", "cube.preview.png"]


def test_a_maps_tiles_fly_as_products_worth_their_highest_value(write_tiff: WriteTiff, tmp_path: Path) -> None:
    package = float_package(tmp_path, OutputSpec(name="out", kind="map"), task="anomaly", min_score=5.0)
    with infer_engine(package) as engine:
        assert isinstance(make_task(package, engine), AnomalyTask)
        task = MapTask(engine=engine, package=package)
        refs = [TileRef("f", 0, 0, 16), TileRef("f", 0, 16, 16)]
        raw = np.zeros((2, 1, 16, 16), dtype=np.float32)
        raw[1, 0, 3, 3] = 15.0
        found, _ = task.read(refs, raw, lambda name: View(32, 16))
        products = task.products([found], lambda name: View(32, 16), When(2, 5.0))
        assert [(p.kind, p.label, p.score) for p in products] == [("map", "anomaly", 0.0), ("map", "anomaly", 0.75)]
        raw[0, 0, 0, 0] = np.nan
        _, outcomes = task.read(refs, raw, lambda name: View(32, 16))
        assert [one.outcome for one in outcomes] == ["failed", "done"]
        with pytest.raises(EngineError, match="Export it again"):
            task.read(refs, raw[:, :, :4], lambda name: View(32, 16))


def infer_engine(package: ModelPackage) -> Any:
    from contextlib import closing

    from runtime.engines import open_engine

    return closing(open_engine(package))


def test_an_index_holds_every_tile_and_is_whole_or_not_there(write_tiff: WriteTiff, tmp_path: Path) -> None:
    package = float_package(tmp_path, OutputSpec(name="out", kind="embedding", channels=3), task="retrieval")
    scene = np.full((3, 32, 48), 0.1, dtype=np.float32)
    scene[0, :, :16], scene[2, :16, 16:32] = 5.0, 5.0
    path = write_tiff("scene.tif", scene, descriptions=RGB)
    (done,) = infer_scenes(package, [path], tmp_path / "out", stac=True).scenes
    assert (Path(str(done.output)).name, [Path(one).name for one in done.more]) == ("scene.npy", ["scene.jsonl"])
    index = TileIndex.open(tmp_path / "out" / "scene.npy")
    assert (index.vectors.shape, str(index.vectors.dtype), len(index.tiles)) == ((6, 3), "float16", 6)
    best = index.best(np.array([2.0, 0.0, 0.0], dtype=np.float32), 2)
    assert {(hit.tile.row_px, hit.tile.col_px) for hit in best} == {(0, 0), (16, 0)}
    assert best[0].cosine > 0.99
    assert best[0].tile.ring_deg is not None
    with pytest.raises(StoreError, match="this index holds unit vectors of 3"):
        index.best(np.zeros(4, dtype=np.float32), 1)
    lines = (tmp_path / "out" / "scene.jsonl").read_text().splitlines()
    (tmp_path / "out" / "scene.jsonl").write_text("\n".join(lines[:-1]))
    with pytest.raises(StoreError, match="Make it again"):
        TileIndex.open(tmp_path / "out" / "scene.npy")


def test_an_index_that_is_stopped_leaves_nothing(write_tiff: WriteTiff, tmp_path: Path) -> None:
    package = float_package(tmp_path, OutputSpec(name="out", kind="embedding", channels=3), task="retrieval")
    path = write_tiff("scene.tif", heights(32, 48), descriptions=RGB)

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    assert infer_scenes(package, [path], tmp_path / "out", batch=2, progress=stop).interrupted
    assert [one.name for one in (tmp_path / "out").iterdir()] == []


def test_tiles_near_to_the_query_are_worth_more(tmp_path: Path) -> None:
    package = float_package(tmp_path, OutputSpec(name="out", kind="embedding", channels=3), task="retrieval")
    with infer_engine(package) as engine:
        task = EmbeddingTask(engine=engine, package=package, query=np.array([1, 0, 0], dtype=np.float32))
        refs = [TileRef("f", 0, col, 16) for col in (0, 16, 32)]
        raw = np.array([[2, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
        found, outcomes = task.read(refs, raw, lambda name: View(48, 16))
        assert [one.outcome for one in outcomes] == ["done", "done", "failed"]
        products = task.products([found], lambda name: View(48, 16), When(0, 0.0))
        assert [p.value for p in products] == [1.0, 0.5]
        with pytest.raises(EngineError, match="answers vectors of 3"):
            EmbeddingTask(engine=engine, package=package, query=np.zeros(5, dtype=np.float32))


def test_a_16_bit_scene_is_restored_to_16_bits_with_its_nodata_and_its_scale(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import rasterio

    stored = np.random.default_rng(2).integers(1000, 5000, (3, 60, 70), dtype=np.uint16)
    stored[:, :10, :12] = 0
    path = write_tiff("hazy.tif", stored, nodata=0, tags={"SUBSOLAR_RANGE": "1000,5000"}, descriptions=RGB)
    package = package_of(make_package(32), "image", RGB)
    (done,) = infer_scenes(package, [path], tmp_path / "out", overlap_px=8, engine=Inverter()).scenes
    with rasterio.open(str(done.output)) as made:
        restored = made.read()
        assert (made.dtypes[0], made.nodata, made.tags()["SUBSOLAR_RANGE"]) == ("uint16", 0, "1000.0,5000.0")
        assert made.descriptions == RGB
    assert (restored[:, :10, :12] == 0).all()
    known = np.ones((60, 70), dtype=bool)
    known[:10, :12] = False
    step = 4000 / 255  # the network saw 8 bits
    assert np.abs(restored.astype(int) - (6000 - stored.astype(int)))[:, known].max() <= step / 2 + 1
    deep = write_tiff("deep.tif", stored, descriptions=RGB)
    (refused,) = infer_scenes(package, [deep], tmp_path / "out", engine=Inverter()).scenes
    assert "SUBSOLAR_RANGE" in refused.error


def test_what_a_transparent_scene_lacks_stays_missing_in_the_restored_picture(
    make_package: MakePackage, tmp_path: Path
) -> None:
    import rasterio

    pixels = np.random.default_rng(2).integers(0, 256, (4, 60, 70), dtype=np.uint8)
    pixels[3], pixels[3, :10, :12] = 255, 0
    pixels[:3, 30, 30] = 255  # restored to black, which must not read as missing
    profile = {"driver": "GTiff", "count": 4, "height": 60, "width": 70, "dtype": "uint8", "photometric": "RGB"}
    place = rasterio.Affine(10, 0, 500000, 0, -10, 5000000)
    with rasterio.open(tmp_path / "s.tif", "w", alpha="YES", crs="EPSG:32631", transform=place, **profile) as scene:
        scene.write(pixels)
    package = package_of(make_package(32), "image", RGB)
    (done,) = infer_scenes(package, [tmp_path / "s.tif"], tmp_path / "out", engine=Inverter()).scenes
    with rasterio.open(str(done.output)) as made:
        assert (made.dataset_mask() == pixels[3]).all()
        assert (made.read()[:, 30, 30] == 1).all()


class MakesUp:
    """Removes clouds: pixels brighter than 200 in green become 60, and are marked as generated."""

    name, provider = "declouder v1", "cpu"

    def infer(self, batch: FloatArray) -> FloatArray:
        assert batch.dtype == np.float32
        cloudy = batch[:, 1:2] > 200
        clear: FloatArray = np.concatenate([np.where(cloudy, 60, batch), cloudy], axis=1).astype(np.float32)
        return clear

    def close(self) -> None:
        pass


class Tinted:
    """Calls a tile by the brightest of its bands."""

    name, provider = "colours v1", "cpu"

    def infer(self, batch: UInt8Array) -> FloatArray:
        mean = batch.mean(axis=(2, 3), dtype=np.float32)
        return (mean == mean.max(axis=1, keepdims=True)).astype(np.float32) * 0.9

    def close(self) -> None:
        pass


@pytest.fixture
def workshop(make_package: MakePackage, tmp_path: Path) -> Callable[..., Any]:
    """Runs a chain of networks with known answers, by their names."""
    plain = make_package(32)
    declouder = replace(
        plain.info,
        task="declouded",
        input=replace(plain.info.input, dtype="float32"),
        output=OutputSpec(name="out", kind="map", channels=4),
    )
    packages = {
        "declouder": replace(plain, info=declouder),
        "finder": package_of(plain, "boxes", ("ship",)),
        "colours": plain,
        "masks": package_of(plain, "mask", RGB),
        "inverter": package_of(plain, "image", RGB),
    }
    made = {name: replace(one, info=replace(one.info, id=name)) for name, one in packages.items()}
    engines = {
        "declouder": MakesUp,
        "finder": SquareFinder,
        "colours": Tinted,
        "masks": BrightestBand,
        "inverter": Inverter,
    }

    def run(table: dict[str, Any], scene: Path, **options: Any) -> Any:
        return infer_chain(
            Chain.from_table(table),
            lambda path: made[path.name],
            [scene],
            tmp_path / "chain",
            options=InferOptions(cutting=Cutting(), **options),
            open_with=lambda package: engines[package.info.id](),
        )

    return run


def ships(height: int = 96, width: int = 128) -> UInt8Array:
    """Two ships on dark ground: one at (10, 12) and one at (70, 100), named 1 and 2 by their green band."""
    pixels = np.full((3, height, width), 9, dtype=np.uint8)
    for number, (top, left) in enumerate([(10, 12), (70, 100)], start=1):
        pixels[0, top : top + 8, left : left + 12], pixels[1, top : top + 8, left : left + 12] = 255, number
    return pixels


def boxes_in(folder: Path, name: str) -> set[tuple[float, ...]]:
    return {tuple(f["properties"]["px_bbox"]) for f in load(folder / "chain" / name)["features"]}


def test_what_a_restorer_makes_is_what_the_detector_sees(
    workshop: Callable[..., Any], write_tiff: WriteTiff, tmp_path: Path
) -> None:
    scene = write_tiff("pass.tif", 255 - ships())
    stages = [{"package": "inverter", "overlap_px": 4}, {"package": "finder", "overlap_px": 16}]
    result = workshop({"stage": stages}, scene)
    assert result.complete
    assert boxes_in(tmp_path, "pass-finder.geojson") == {(12, 10, 24, 18), (100, 70, 112, 78)}
    assert load(tmp_path / "chain" / "pass-finder.geojson")["subsolar"]["scene"]["id"] == "pass"
    assert "pass, finder: 35 of 35 tiles done" in result.table()
    json.dumps(result.summary(), allow_nan=False)


def test_nothing_is_said_of_pixels_that_were_made_up_unless_it_is_allowed(
    workshop: Callable[..., Any], write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import rasterio

    pixels = ships()
    pixels[1, 70:74, 104:106] = 250  # a small cloud over the second ship
    pixels[1, 32:64, 32:64] = 250  # and a large one over a whole tile
    scene = write_tiff("pass.tif", pixels)
    stages = [{"package": "declouder"}, {"package": "finder"}]
    (done,) = workshop({"stage": stages}, scene).scenes
    assert done.error == ""
    assert boxes_in(tmp_path, "pass-finder.geojson") == {(12, 10, 24, 18)}
    assert done.stages[1][1].barred == 1
    assert done.stages[1][1].shed == {"generated pixels": 1}
    with rasterio.open(tmp_path / "chain" / "pass-declouder.tif") as made:
        assert made.descriptions == (*RGB, "generated")
        assert made.read(4).sum() == 8 + 32 * 32
    workshop({"stage": stages, "forbid_detection_on_generated": False}, scene)
    assert (100, 70, 112, 78) in boxes_in(tmp_path, "pass-finder.geojson")
    (labels,) = workshop({"stage": [{"package": "declouder"}, {"package": "colours"}]}, scene).scenes
    assert labels.stages[1][1].shed == {"generated pixels": 2}


def test_a_detector_looks_only_where_a_label_or_a_mask_points_and_within_its_budget(
    workshop: Callable[..., Any], write_tiff: WriteTiff, tmp_path: Path
) -> None:
    pixels = ships()
    pixels[2, 64:, 96:] = 200  # the lower right tile is blue
    scene = write_tiff("pass.tif", pixels)
    where = {"classes": ["blue"], "min_score": 0.5}
    for before in ("colours", "masks"):
        stages = [{"package": before}, {"package": "finder", "only_where": where}]
        (done,) = workshop({"stage": stages}, scene).scenes
        assert (done.stages[1][1].done, done.stages[1][1].shed) == (1, {"not where an earlier stage points": 11})
        assert boxes_in(tmp_path, "pass-finder.geojson") == {(100, 70, 112, 78)}
    (few,) = workshop({"stage": [{"package": "finder", "most_tile": 4}]}, scene).scenes
    assert (few.stages[0][1].done, few.stages[0][1].shed) == (4, {"count: at most 4 tiles": 8})
    (cheap,) = workshop({"stage": [{"package": "finder", "budget_j": 2.5e-3}]}, scene).scenes
    assert cheap.stages[0][1].done == 2


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "no stages"),
        ({"stage": [{"package": "a", "overlap": 3}]}, "overlap is not a known key. Did you mean overlap_px"),
        ({"stage": [{"package": "a"}, {"foo": 3}]}, r"\[\[stage\]\] number 2: foo is not a known key"),
        ({"stage": [{}]}, r"\[\[stage\]\] number 1: package is missing. Add it to \[\[stage\]\] number 1\."),
        ({"stage": 3}, ": stage = 3 is not a list"),
        ({"stage": [{"package": "a"}], "forbid": True}, "forbid is not a known key"),
        ({"stage": [{"package": "a"}, {"package": "a"}]}, "do not all differ"),
        ({"stage": [{"package": "a", "only_where": {"classes": ["x"]}}]}, "is the first"),
        ({"stage": [{"package": "a", "budget_j": -1.0}]}, "must be above 0"),
    ],
)
def test_a_chain_that_is_none_is_refused_in_words(table: dict[str, Any], told: str) -> None:
    with pytest.raises((MissionError, ScenarioError), match=told):
        Chain.from_table(table)


def test_stages_that_do_not_fit_together_are_refused_before_any_work(
    workshop: Callable[..., Any], write_tiff: WriteTiff
) -> None:
    scene, where = write_tiff("pass.tif", ships()), {"classes": ["blue"]}
    for stages, told in (
        ([{"package": "finder", "tile_edge_px": 64}], "takes tiles of 32"),
        ([{"package": "finder", "overlap_px": 32}], "in tiles of 32 px"),
        ([{"package": "inverter"}, {"package": "finder", "only_where": where}], "no stage before it gives labels"),
        ([{"package": "colours"}, {"package": "finder", "only_where": {"classes": ["sea"]}}], "says sea"),
    ):
        with pytest.raises(MissionError, match=told):
            workshop({"stage": stages}, scene)


def test_change_is_seen_through_a_package_that_wants_both_scenes(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    before, now = ships(), ships()
    now[0, 40:50, 60:66] = 200
    plain = package_of(make_package(32), "mask", ("same", "changed"))
    bands = (*(f"reference_{name}" for name in RGB), *RGB)
    package = replace(plain, info=replace(plain.info, input=replace(plain.info.input, bands=bands)))
    paths = write_tiff("now.tif", now), write_tiff("before.tif", before)

    class Differs:
        name, provider = "change v1", "cpu"

        def infer(self, batch: UInt8Array) -> FloatArray:
            change = np.abs(batch[:, 3:].astype(np.float32) - batch[:, :3]).max(axis=1, keepdims=True)
            return np.concatenate([np.full_like(change, 50), change], axis=1)

        def close(self) -> None:
            pass

    beside = [parse_beside(f"reference={paths[1]}")]
    (done,) = infer_scenes(package, paths[:1], tmp_path / "out", beside=beside, engine=Differs()).scenes
    import rasterio

    with rasterio.open(str(done.output)) as made:
        changed = np.argwhere(made.read(1) == 1)
    assert (changed.min(axis=0).tolist(), changed.max(axis=0).tolist()) == ([40, 60], [49, 65])
    (alone,) = infer_scenes(package, paths[:1], tmp_path / "out", engine=Differs()).scenes
    assert "has no band reference_red" in alone.error
    registered = replace(package, info=replace(package.info, task="change"))
    rng = np.random.default_rng(3)
    rough = rng.integers(0, 120, (3, 96, 128), dtype=np.uint8)
    drifted = np.roll(rough, (2, 1), axis=(1, 2))
    changed = rough.copy()
    changed[0, 40:50, 60:66] = 250
    scenes = write_tiff("later.tif", changed), write_tiff("earlier.tif", drifted)
    beside = [parse_beside(f"reference={scenes[1]}")]
    (moved,) = infer_scenes(registered, scenes[:1], tmp_path / "out", beside=beside, engine=Differs()).scenes
    with rasterio.open(str(moved.output)) as made:
        inner = made.read(1)[4:-4, 4:-4]
    rows, cols = np.nonzero(inner == 1)
    assert (rows.min() + 4, cols.min() + 4, rows.max() + 4, cols.max() + 4) == (40, 60, 49, 65)
    (lonely,) = infer_scenes(registered, scenes[:1], tmp_path / "out", engine=Differs()).scenes
    assert "--with reference=FILE" in lonely.error


@pytest.mark.parametrize("kind", ["boxes", "mask", "image", "probabilities"])
def test_a_preview_is_a_png_of_bounded_size_that_shows_what_was_found(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path, kind: str
) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    pixels = np.tile(ships(), (1, 2, 16))
    package = make_package(32) if kind == "probabilities" else package_of(make_package(32), kind, RGB)
    engine = {"boxes": SquareFinder, "mask": BrightestBand, "image": Inverter, "probabilities": Tinted}[kind]()
    scene = write_tiff("wide.tif", pixels)
    (done,) = infer_scenes(package, [scene], tmp_path / "out", engine=engine, preview=True).scenes
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(done.more[-1]) as made:
        picture = made.read()
    legend_px = 0 if kind == "image" else 30
    assert picture.shape == (3, 150 + legend_px, 1600)
    assert (picture[:, 150:, -1] == 24).all()
    if kind == "boxes":
        assert (picture.transpose(1, 2, 0) == np.array([230, 159, 0])).all(axis=2).sum() > 100


def test_the_command_takes_a_chain_scenes_beside_and_a_meter(repo: Path, data_dir: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from runtime.cli import cli

    scene = str(data_dir / "scenes-geotiff" / "rapideye_sanfrancisco_ships_rgba.tif")
    chain = tmp_path / "chain.toml"
    chain.write_text(
        '[[stage]]\npackage = "eurosat-mobilenet-v2"\n[[stage]]\npackage = "eurosat-resnet18"\nmost_tile = 3\n'
        '[stage.only_where]\nclasses = ["Forest"]\n'
    )
    ran = CliRunner().invoke(cli, ["infer", "--chain", str(chain), scene, "--out", str(tmp_path), "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    (stages,) = (one["stages"] for one in told["scenes"])
    assert (told["complete"], stages["eurosat-mobilenet-v2"]["done"], stages["eurosat-resnet18"]["done"]) == (
        True,
        66,
        3,
    )
    named = [name for name in stages if Path(stages[name]["output"]).is_file()]
    assert named == ["eurosat-mobilenet-v2", "eurosat-resnet18"]
    for arguments, words in (
        (["--chain", str(chain), scene, "--batch", "3"], "Write batch into its stages"),
        (["--chain", str(chain), scene, "--resume"], "--resume cannot be given with --chain"),
        (["--chain", str(chain)], "Missing argument 'SCENE"),
        ([], "Missing argument 'PACKAGE'"),
        (["eurosat-mobilenet-v2"], "Missing argument"),
    ):
        refused = CliRunner().invoke(cli, ["infer", *arguments, "--out", str(tmp_path)])
        assert (refused.exit_code, words in refused.output) == (2, True)
    lost = CliRunner().invoke(
        cli, ["infer", "eurosat-mobilenet-v2", scene, "--with", "x=none.tif", "--out", str(tmp_path), "--json"]
    )
    assert lost.exit_code == 1
    assert "There is no scene none.tif to lay over others" in str(lost.exception)


def test_real_optics_and_radar_of_one_place_become_one_map(data_dir: Path, tmp_path: Path) -> None:
    """Sentinel-2 and Sentinel-1: 13 and 2 bands of physical values."""
    import rasterio

    names = ("b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b8a", "b9", "b10", "b11", "b12")
    package = float_package(
        tmp_path,
        OutputSpec(name="out", kind="map", unit="1"),
        task="surface",
        bands=(*names, "vv", "sar_vh"),
        edge_px=64,
    )
    folder = data_dir / "scenes-geotiff"
    beside = [parse_beside(f"sar:vv,vh={folder / 'sen12mscr_p839_s1.tif'}")]
    optical = folder / "sen12mscr_p839_s2_clear.tif"
    (done,) = infer_scenes(
        package, [optical], tmp_path / "out", band_names=names, beside=beside, overlap_px=16, preview=True
    ).scenes
    assert (done.error, done.done, done.warning) == ("", 25, "")
    with (
        rasterio.open(str(done.output)) as made,
        rasterio.open(optical) as one,
        rasterio.open(folder / "sen12mscr_p839_s1.tif") as other,
    ):
        expected = (one.read().astype(np.float64).sum(axis=0) + other.read().sum(axis=0)) / 15
        assert np.abs(made.read(1) - expected).max() < 0.1
        assert (made.crs, made.transform) == (one.crs, one.transform)
