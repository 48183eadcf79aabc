"""Engines: right answers, loud refusals, and a self-test that notices a changed network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporters.package import Golden, ModelPackage, load_package
from runtime.engines import open_onnx_engine
from runtime.errors import EngineError

MakePackage = Callable[..., ModelPackage]


def test_a_loaded_package_answers_as_it_was_exported(make_package: MakePackage) -> None:
    package = make_package()
    engine = open_onnx_engine(package)
    assert (engine.name, engine.provider) == ("colour v3", "cpu")
    for count in (1, 3):
        answers = engine.infer(package.golden.tiles[:count])
        assert answers.dtype == np.float32
        assert np.abs(answers - package.golden.expected[:count]).max() < 1e-5


def test_the_shipped_packages_pass_their_self_test(repo: Path) -> None:
    packages = sorted(path for path in (repo / "deploy" / "packages").glob("*") if (path / "package.json").is_file())
    assert packages
    for path in packages:
        open_onnx_engine(load_package(path, trust=repo / "deploy" / "keys"))


def test_an_engine_whose_answers_are_not_the_expected_ones_is_refused(make_package: MakePackage) -> None:
    package = make_package()
    wrong = np.roll(package.golden.expected, 1, axis=1)
    changed = replace(package, golden=Golden(package.golden.tiles, wrong, 1e-5))
    with pytest.raises(EngineError, match="fails its self-test"):
        open_onnx_engine(changed)
    open_onnx_engine(changed, test=False)


def test_a_provider_that_is_not_there_is_never_replaced_in_silence(make_package: MakePackage) -> None:
    import onnxruntime

    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an ONNX Runtime without TensorRT")
    with pytest.raises(EngineError, match=r"was to run on TensorrtExecutionProvider.*put it on CPUExecutionProvider"):
        open_onnx_engine(make_package(), provider="tensorrt")


def test_an_unknown_provider_is_refused(make_package: MakePackage) -> None:
    with pytest.raises(EngineError, match="cpu, cuda, tensorrt"):
        open_onnx_engine(make_package(), provider="npu")


def test_what_is_no_network_is_refused_in_one_line(make_package: MakePackage) -> None:
    with pytest.raises(EngineError, match="cannot be loaded") as refusal:
        open_onnx_engine(make_package(onnx=b"no graph at all"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 3, 17, 16), "uint8"), ((2, 4, 16, 16), "uint8"), ((2, 3, 16, 16), "float32"), ((0, 3, 16, 16), "uint8")],
)
def test_tiles_of_another_shape_or_type_are_refused(
    make_package: MakePackage, shape: tuple[int, ...], dtype: str
) -> None:
    engine = open_onnx_engine(make_package())
    with pytest.raises(EngineError, match=r"uint8 tiles of \(3, 16, 16\)"):
        engine.infer(np.zeros(shape, dtype=dtype))


def test_two_loads_and_two_thread_counts_answer_the_same(make_package: MakePackage) -> None:
    package = make_package()
    tiles = np.random.default_rng(0).integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)
    one, two = open_onnx_engine(package), open_onnx_engine(package, threads=2)
    assert (one.infer(tiles) == two.infer(tiles)).all()
