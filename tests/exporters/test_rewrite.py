"""Rewrites keep what a graph answers, and change what an engine makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

from exporters.lint import lint  # noqa: E402
from exporters.onnx_cpu import inferrer  # noqa: E402
from exporters.rewrite import measure_behind_cast, pool_globally  # noqa: E402


def graph_of(nodes: list[Any], constants: dict[str, list[int]], out: list[Any]) -> Any:
    inputs = [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["batch", 2, 6, 6])]
    outputs = [helper.make_tensor_value_info("answers", TensorProto.FLOAT, out)]
    stored = [numpy_helper.from_array(np.asarray(values, np.int64), name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "rewrite", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def averaging(axes: list[int], keepdims: int) -> Any:
    out: list[Any] = ["batch", 2, 1, 1] if keepdims else ["batch", 2]
    nodes = [
        helper.make_node("Cast", ["tiles"], ["float"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["answers"], name="mean", keepdims=keepdims),
    ]
    return graph_of(nodes, {"axes": axes}, out)


@pytest.fixture(scope="module")
def tiles() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 2, 6, 6)).astype(np.uint8)


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
def test_a_mean_over_the_plane_becomes_a_pooling_with_the_same_answer(
    axes: list[int], tiles: NDArray[np.uint8]
) -> None:
    model = averaging(axes, keepdims=1)
    before = inferrer(model.SerializeToString())(tiles)
    assert pool_globally(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Cast", "GlobalAveragePool"]
    assert not model.graph.initializer
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(inferrer(model.SerializeToString())(tiles), before, rtol=1e-6)


def test_other_means_stay() -> None:
    assert pool_globally(averaging([2, 3], keepdims=0)) == 0
    assert pool_globally(averaging([1, 2], keepdims=1)) == 0


def test_the_shape_of_uint8_tiles_is_read_behind_their_cast(tiles: NDArray[np.uint8]) -> None:
    nodes = [
        helper.make_node("Shape", ["tiles"], ["batch_size"], name="shape", start=0, end=1),
        helper.make_node("Cast", ["tiles"], ["float"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Concat", ["batch_size", "rest"], ["shape_wanted"], name="wanted", axis=0),
        helper.make_node("Reshape", ["float", "shape_wanted"], ["answers"], name="flat"),
    ]
    model = graph_of(nodes, {"rest": [72]}, ["batch", 72])
    content = model.SerializeToString()
    assert [issue.rule for issue in lint(content) if issue.severity == "error"] == ["uint8"]
    before = inferrer(content)(tiles)
    assert measure_behind_cast(model) == 1
    content = model.SerializeToString()
    onnx.checker.check_model(model, full_check=True)
    assert [issue.rule for issue in lint(content) if issue.severity == "error"] == []
    np.testing.assert_array_equal(inferrer(content)(tiles), before)
    assert measure_behind_cast(model) == 0
