"""Engines built ahead of time and run natively, driven by a strict fake of the vendor's API; the rest is real."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
sys.path.append(str(Path(__file__).parent))

from fake_tensorrt import FakeCuda, FakeTensorRt

from exporters.cuda import CudaPython
from exporters.errors import ExportError
from exporters.onnx_cpu import inferrer
from exporters.package import Golden, ModelPackage, PackageInfo, load_package
from exporters.tensorrt import (
    PASSPORT,
    PLAN,
    BuildSettings,
    build_engine,
    check_engine,
    engine_folder,
    load_tensorrt,
    passport_of,
)
from runtime.engines import Engine, Swappable, open_engine
from runtime.engines.tensorrt import TensorRtEngine, open_tensorrt_engine, rebuild_beside
from runtime.errors import EngineError

SETTINGS = BuildSettings(batches=(4, 1))


@pytest.fixture(scope="module")
def package(repo: Path) -> ModelPackage:
    return load_package(repo / "deploy/packages/eurosat-mobilenet-v2", trust=repo / "deploy/keys")


@pytest.fixture
def cuda() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def trt(cuda: FakeCuda) -> FakeTensorRt:
    return FakeTensorRt(cuda)


@pytest.fixture
def built(tmp_path: Path, package: ModelPackage, trt: FakeTensorRt, cuda: FakeCuda) -> Path:
    build_engine(package, tmp_path, trt=trt, cuda=cuda, settings=SETTINGS)
    return tmp_path


def open_it(package: ModelPackage, root: Path, trt: FakeTensorRt, cuda: FakeCuda) -> TensorRtEngine:
    return open_tensorrt_engine(package, root, settings=SETTINGS, trt=trt, cuda=cuda)


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1", "11.4.0"])
def test_an_engine_is_built_with_what_both_versions_know(
    tmp_path: Path, package: ModelPackage, cuda: FakeCuda, version: str
) -> None:
    said: list[str] = []
    fake = FakeTensorRt(cuda, version)
    result = build_engine(package, tmp_path, trt=fake, cuda=cuda, settings=SETTINGS, progress=said.append)
    assert result.passport.tensorrt == version
    assert (result.passport.sm, result.dla_layers, result.gpu_layers > 50) == ("sm_87", (), True)
    assert "Tactics: 10 of 10, 0 s so far" in said
    assert sorted(path.name for path in result.folder.iterdir()) == [PLAN, PASSPORT]


def test_the_timing_cache_is_kept_between_builds(
    built: Path, package: ModelPackage, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    build_engine(package, built, trt=trt, cuda=cuda, settings=SETTINGS)
    assert trt.caches == [b"", b"timed"]


def test_layers_on_the_dla_are_named_and_a_missing_core_is_told(
    tmp_path: Path, package: ModelPackage, cuda: FakeCuda
) -> None:
    settings = BuildSettings(batches=(1,), dla_core=0)
    with pytest.raises(ExportError, match="no DLA core 0"):
        build_engine(package, tmp_path, trt=FakeTensorRt(cuda), cuda=cuda, settings=settings)
    assert list(tmp_path.iterdir()) == []
    result = build_engine(package, tmp_path, trt=FakeTensorRt(cuda, dla_cores=2), cuda=cuda, settings=settings)
    assert len(result.dla_layers) == 52
    assert result.gpu_layers > 0


def test_what_the_parser_says_is_passed_on_and_nothing_is_written(
    tmp_path: Path, package: ModelPackage, cuda: FakeCuda
) -> None:
    with pytest.raises(ExportError, match="cannot read the graph of eurosat-mobilenet-v2: no importer for Foo"):
        build_engine(package, tmp_path, trt=FakeTensorRt(cuda, refuses="no importer for Foo"), cuda=cuda)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_answers_as_the_cpu_does_at_any_batch_and_by_graph_from_the_third_run(
    built: Path, package: ModelPackage, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    reference = open_engine(package, "cpu")
    engine = open_it(package, built, trt, cuda)
    tiles = package.golden.tiles
    for count in (1, 3, 4, 7, 20):
        np.testing.assert_allclose(engine.infer(tiles[:count]), reference.infer(tiles[:count]), atol=1e-5)
    assert cuda.launches > 0
    assert trt.builds == 1, "nothing is built where slots are flown"
    engine.close()
    engine.close()
    assert (cuda.memory, cuda.streams, cuda.graphs) == ({}, {}, {})
    with pytest.raises(EngineError, match="is closed"):
        engine.infer(tiles)


def test_tiles_of_another_shape_are_refused(
    built: Path, package: ModelPackage, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    engine = open_it(package, built, trt, cuda)
    with pytest.raises(EngineError, match="takes uint8 tiles"):
        engine.infer(np.zeros((1, 3, 32, 32), dtype=np.uint8))


def float_package(path: Path, write: Callable[..., Path], info: PackageInfo) -> ModelPackage:
    """Mean of each band, two classes of it, from float32 tiles."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["tiles"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat", axis=1),
        helper.make_node("MatMul", ["flat", "weight"], ["scores"], "scores"),
        helper.make_node("Softmax", ["scores"], ["probabilities"], "softmax", axis=1),
    ]
    weight = numpy_helper.from_array(np.array([[1.0, -1.0], [0.5, 0.0], [0.0, 0.5]], dtype=np.float32), "weight")
    tiles = helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["batch", 3, 4, 4])
    answers = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "mean", [tiles], [answers], [weight])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    pixels = np.random.default_rng(0).normal(size=(5, 3, 4, 4)).astype(np.float32)
    golden = Golden(pixels, inferrer(content)(pixels), 1e-4)
    spec = replace(info, input=replace(info.input, dtype="float32"))
    return load_package(write(path, onnx=content, info=spec, golden=golden), trust={}, allow_unsigned=True)


def test_tiles_of_physical_values_fly_too(
    tmp_path: Path,
    write: Callable[..., Path],
    info: PackageInfo,
    trt: FakeTensorRt,
    cuda: FakeCuda,
) -> None:
    package = float_package(tmp_path / "p", partial(write, key=None), info)
    build_engine(package, tmp_path / "engines", trt=trt, cuda=cuda, settings=SETTINGS)
    engine = open_it(package, tmp_path / "engines", trt, cuda)
    tiles = package.golden.tiles
    for count in (1, 3, 5):
        np.testing.assert_allclose(engine.infer(tiles[:count]), package.golden.expected[:count], atol=1e-6)
    with pytest.raises(EngineError, match="takes float32 tiles"):
        engine.infer(tiles.astype(np.uint8))


def test_an_engine_that_was_never_built_is_not_built_by_loading(
    tmp_path: Path, package: ModelPackage, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    with pytest.raises(EngineError, match=r"no engine of eurosat-mobilenet-v2.*subsolar models prepare"):
        open_it(package, tmp_path, trt, cuda)
    assert trt.builds == 0


def test_a_passport_that_does_not_match_names_each_field(
    built: Path, package: ModelPackage, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    cuda.sm = "sm_89"
    trt.__version__ = "11.4.0"
    with pytest.raises(EngineError, match=r"built for tensorrt 10\.3\.0, not 11\.4\.0; sm sm_87, not sm_89"):
        open_it(package, built, trt, cuda)


def test_a_plan_with_a_flipped_bit_is_refused(
    built: Path, package: ModelPackage, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    plan = engine_folder(built, package) / PLAN
    content = bytearray(plan.read_bytes())
    content[1000] ^= 1
    plan.write_bytes(bytes(content))
    with pytest.raises(EngineError, match="is damaged"):
        open_it(package, built, trt, cuda)


@pytest.mark.parametrize("text", ["", "[]", '{"passport": {"sm": 1}}', "{}"])
def test_a_passport_that_is_none_is_one_clear_line(
    built: Path, package: ModelPackage, trt: FakeTensorRt, cuda: FakeCuda, text: str
) -> None:
    (engine_folder(built, package) / PASSPORT).write_text(text)
    with pytest.raises(ExportError, match="cannot be read"):
        check_engine(built, package, passport_of(package, cuda.facts(), trt.__version__, SETTINGS))


def test_a_plan_that_answers_wrongly_fails_its_self_test(
    built: Path, package: ModelPackage, repo: Path, trt: FakeTensorRt, cuda: FakeCuda
) -> None:
    other = load_package(repo / "deploy/packages/eurosat-resnet18", trust=repo / "deploy/keys")
    folder = engine_folder(built, package)
    record = json.loads((folder / PASSPORT).read_text())
    import hashlib

    plan = b"FAKE PLAN " + other.read_onnx()
    (folder / PLAN).write_bytes(plan)
    (folder / PASSPORT).write_text(json.dumps({**record, "plan_sha256": hashlib.sha256(plan).hexdigest()}))
    with pytest.raises(EngineError, match="on tensorrt fails its self-test"):
        open_it(package, built, trt, cuda)
    assert cuda.memory == {}


def test_a_stale_engine_is_rebuilt_beside_the_fallback_and_takes_over_between_slots(
    built: Path, package: ModelPackage, trt: FakeTensorRt
) -> None:
    device = FakeCuda("sm_89")
    trt.cuda = device
    said: list[str] = []
    serving: Swappable[Engine] = Swappable(open_engine(package, "cpu"))
    thread = rebuild_beside(serving, package, built, settings=SETTINGS, trt=trt, cuda=lambda: device, told=said.append)
    thread.join(timeout=60)
    assert serving.active.provider == "cpu", "a running slot keeps its engine"
    assert serving.begin_slot().provider == "tensorrt"
    assert package.golden.mismatch(serving.active.infer(package.golden.tiles)) is None
    serving.close()


def test_a_rebuild_that_fails_leaves_the_fallback_and_says_why(
    tmp_path: Path, package: ModelPackage, cuda: FakeCuda
) -> None:
    said: list[str] = []
    serving: Swappable[Engine] = Swappable(open_engine(package, "cpu"))
    broken = FakeTensorRt(cuda, refuses="out of words")
    rebuild_beside(serving, package, tmp_path, trt=broken, cuda=lambda: cuda, told=said.append).join(timeout=60)
    assert serving.begin_slot().provider == "cpu"
    assert "out of words" in said[-1]
    assert "The fallback goes on" in said[-1]


def test_without_the_vendors_library_the_reason_is_one_line() -> None:
    for missing in (load_tensorrt, CudaPython):
        with pytest.raises(ExportError, match=r"cannot be imported|not installed|cudaGetDeviceCount"):
            missing()
