"""A coarse surface and a picture in, terrain in metres out; what cannot be refined fails with clear words."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from exporters.package import Golden, InputSpec, ModelPackage, OutputSpec, load_package, write_package  # noqa: E402
from exporters.zoo.jspsr import JSPSR  # noqa: E402
from exporters.zoo.jspsr_deploy import TerrainMap  # noqa: E402
from runtime.answers import View, When, reader_of  # noqa: E402
from runtime.errors import EngineError  # noqa: E402
from runtime.frames import parse_beside  # noqa: E402
from runtime.infer import infer_scenes  # noqa: E402
from runtime.onboard import load_networks  # noqa: E402
from runtime.records import FloatArray, TileRef  # noqa: E402
from runtime.tasks.terrain import TerrainTask  # noqa: E402

from .conftest import colour_info, colour_profile  # noqa: E402

EDGE_PX = 16
WriteTiff = Callable[..., Path]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """An untrained JSPSR, which answers the surface that it is given."""
    import onnxruntime

    torch.manual_seed(0)
    module, file = TerrainMap(JSPSR(4), (255.0,) * 3).eval(), io.BytesIO()
    tiles = np.random.default_rng(0).uniform(100, 120, (2, 4, EDGE_PX, EDGE_PX)).astype(np.float32)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.from_numpy(tiles),), file, dynamo=False, opset_version=18,
            input_names=["tiles"], output_names=["answers"],
            dynamic_axes={"tiles": {0: "batch"}, "answers": {0: "batch"}},
        )  # fmt: skip
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    info = replace(
        colour_info(EDGE_PX),
        id="terrain-test",
        task="terrain",
        classes=("terrain",),
        input=InputSpec(name="tiles", dtype="float32", tile_edge_px=EDGE_PX, bands=("dem", "red", "green", "blue")),
        output=OutputSpec(name="answers", kind="map", unit="m"),
    )
    profile = colour_profile()
    accuracy = replace(profile.accuracy, recall_by_class={"terrain": 1.0}, confusion=())
    golden = Golden(tiles, np.asarray(session.run(None, {"tiles": tiles})[0], dtype=np.float32), 1e-3)
    folder = tmp_path_factory.mktemp("terrain") / info.id
    write_package(
        folder, onnx=file.getvalue(), info=info, profile=replace(profile, accuracy=accuracy), golden=golden, key=None
    )
    return load_package(folder, trust={}, allow_unsigned=True)


def surface(rows: int = 40, cols: int = 50) -> FloatArray:
    row, col = np.mgrid[0:rows, 0:cols]
    return (-4.0 + 0.1 * row + 0.05 * col).astype(np.float32)[None]


def test_a_surface_and_a_picture_become_terrain_in_metres(
    package: ModelPackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import rasterio

    heights = surface()
    heights[0, 3:6, 30:33] = -9999.0
    picture = np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.uint8)
    ortho = write_tiff("ortho.tif", picture, descriptions=("red", "green", "blue"))
    dem = write_tiff("dem.tif", heights, nodata=-9999.0)
    (done,) = infer_scenes(package, [ortho], tmp_path / "out", overlap_px=4, beside=[parse_beside(f"dem={dem}")]).scenes
    assert (done.error, done.failed) == ("", {})
    with rasterio.open(str(done.output)) as made:
        values = made.read(1)
        assert (made.dtypes, made.units, made.descriptions) == (("float32",), ("m",), ("terrain",))
    gaps = np.isnan(values)
    assert gaps[3:6, 30:33].all()
    assert gaps.sum() == 9
    np.testing.assert_allclose(values[~gaps], heights[0][~gaps], atol=2e-3)  # below the sea, too


def test_a_scene_without_heights_is_refused(package: ModelPackage, write_tiff: WriteTiff, tmp_path: Path) -> None:
    ortho = write_tiff("ortho.tif", np.zeros((3, 40, 50), dtype=np.uint8), descriptions=("red", "green", "blue"))
    (done,) = infer_scenes(package, [ortho], tmp_path / "out").scenes
    assert "has no band dem" in done.error


def test_a_network_in_flight_is_handed_missing_heights_as_such(package: ModelPackage) -> None:
    network = load_networks({"terrain": package})["terrain"]
    assert network.knows_missing
    network.engine.close()


class Echo:
    """Answers what it is given."""

    name = "terrain-test v1"
    provider = "cpu"

    def infer(self, batch: FloatArray) -> FloatArray:
        return batch

    def close(self) -> None:
        pass


def task_of(package: ModelPackage, **changes: Any) -> TerrainTask:
    info = replace(package.info, **changes)
    return TerrainTask(engine=Echo(), package=replace(package, info=info))


def test_a_tile_that_cannot_be_refined_fails_with_the_reason(package: ModelPackage) -> None:
    task = task_of(package)
    refs = [TileRef("field", 0, EDGE_PX * number, EDGE_PX, "farm") for number in range(2)]
    raw = np.full((2, 1, EDGE_PX, EDGE_PX), -3.0, dtype=np.float32)
    raw[1] = np.nan
    findings, outcomes = task.read(refs, raw, lambda frame_id: View(64, 64))
    assert [one.outcome for one in outcomes] == ["done", "failed"]
    assert "under half of its heights are known" in outcomes[1].reason
    assert "nodata" in outcomes[1].reason
    (product,) = task.products([findings], lambda frame_id: View(64, 64), When(2, 1e9))
    assert (product.label, product.kind, product.score, product.truth) == ("terrain", "map", 1.0, None)
    assert reader_of(task) is task
    assert np.isnan(task.fill)


def test_packages_that_answer_no_heights_are_refused(package: ModelPackage) -> None:
    with pytest.raises(EngineError, match="in 'm'"):
        task_of(package, output=OutputSpec(name="answers", kind="map", unit="K"))
    with pytest.raises(EngineError, match="terrain needs"):
        task_of(package, output=OutputSpec(name="answers", kind="map", unit="m", channels=2))


def test_the_undeclared_value_for_no_data_fails_its_tile_alone(
    package: ModelPackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    heights = np.concatenate([surface(32, 32), np.zeros((3, 32, 32), dtype=np.float32)])
    heights[0, 2, 2] = -9999.0
    scene = write_tiff("stack.tif", heights, descriptions=("dem", "red", "green", "blue"))
    (done,) = infer_scenes(package, [scene], tmp_path / "out").scenes
    assert (done.tiles, done.done, sum(done.failed.values())) == (4, 3, 1)
