"""The TensorRT lint: each rule on a small graph that breaks it alone, and none broken by what ships for TensorRT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

from exporters.errors import ExportError  # noqa: E402
from exporters.lint import NOT_BUILT, dla_placement, lint, report  # noqa: E402
from exporters.trt_rules import VERSIONS  # noqa: E402


def graph(
    nodes: Sequence[Any],
    weights: dict[str, Any] | None = None,
    *,
    shape: Sequence[Any] = ("batch", 3, 8, 8),
    kind: int = TensorProto.FLOAT,
    opset: int = 18,
) -> bytes:
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        stored,
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("acme", 1)]
    content: bytes = helper.make_model(made, opset_imports=imports).SerializeToString()
    return content


def rules(content: bytes, severity: str = "error") -> list[str]:
    return [issue.rule for issue in lint(content) if issue.severity == severity]


def test_a_plain_graph_has_no_finding() -> None:
    assert rules(graph([helper.make_node("Relu", ["x"], ["y"])])) == []


def test_an_operator_that_the_parser_lacks_is_named_with_its_node() -> None:
    (issue,) = lint(graph([helper.make_node("StringNormalizer", ["x"], ["y"], name="odd")]))[:1]
    assert (issue.rule, issue.node) == ("operator", "odd")
    assert "StringNormalizer" in str(issue)
    assert rules(graph([helper.make_node("Fancy", ["x"], ["y"], domain="acme")])) == ["domain"]


def test_a_late_opset_is_an_error_for_the_versions_that_lack_it() -> None:
    issues = lint(graph([helper.make_node("Relu", ["x"], ["y"])], opset=22))
    assert [(issue.rule, issue.versions) for issue in issues] == [("opset", ("10.3",))]
    assert "[10.3]" in str(issues[0])
    with pytest.raises(ExportError, match=r"no rules for TensorRT \['9.9'\]"):
        lint(graph([helper.make_node("Relu", ["x"], ["y"])]), ["9.9"])


def test_only_the_batch_may_vary() -> None:
    assert rules(graph([helper.make_node("Relu", ["x"], ["y"])], shape=("batch", 3, "rows", "columns"))) == [
        "dynamic-axis"
    ]


def test_double_has_no_kernels_and_int64_arithmetic_is_a_warning() -> None:
    assert "double" in rules(graph([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.DOUBLE)]))
    content = graph([helper.make_node("Abs", ["x"], ["y"])], kind=TensorProto.INT64)
    assert rules(content, "warning") == ["int64"]


def test_bytes_may_only_be_cast() -> None:
    content = graph([helper.make_node("Identity", ["x"], ["y"])], kind=TensorProto.UINT8)
    assert rules(content) == ["uint8"]


def test_pools_and_topk_have_their_limits() -> None:
    dilated = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2])
    assert rules(graph([dilated])) == ["pool"]
    indices = helper.make_node("MaxPool", ["x"], ["y", "where"], kernel_shape=[2, 2])
    assert "pool" in rules(graph([indices]))
    big = helper.make_node("TopK", ["x", "k"], ["y", "where"], axis=3)
    assert rules(graph([big], {"k": np.array([4000], dtype=np.int64)}, shape=("batch", 3, 8, 5000))) == ["topk"]


def qdq(axis: int = 1) -> list[Any]:
    return [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q", axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="d", axis=axis),
    ]


@pytest.mark.parametrize(
    ("zero", "scale", "rule"),
    [
        (np.uint8(0), np.float32(0.1), "qdq-type"),
        (np.int8(3), np.float32(0.1), "qdq-zero-point"),
        (np.int8(0), np.float32(0.0), "qdq-scale"),
        (np.zeros(3, np.int8), np.full(3, 0.1, np.float32), "qdq-channels"),
    ],
)
def test_each_rule_of_quantisation_is_seen_on_both_nodes(zero: Any, scale: Any, rule: str) -> None:
    assert rules(graph(qdq(), {"z": zero, "s": scale})) == [rule, rule]


def test_symmetric_int8_in_pairs_is_taken_and_a_lone_q_is_not() -> None:
    constants = {"z": np.int8(0), "s": np.float32(0.1)}
    assert rules(graph(qdq(), constants)) == []
    lone = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("Relu", ["q"], ["y"]),
    ]
    assert "qdq-pair" in rules(graph(lone, constants))


def test_a_quantised_bias_is_refused_by_type() -> None:
    node = helper.make_node("DequantizeLinear", ["b", "s", "z"], ["y"], name="bias")
    weights = {"b": np.zeros(4, np.int32), "s": np.float32(0.1), "z": np.int32(0)}
    (issue,) = [issue for issue in lint(graph([node], weights)) if issue.severity == "error"]
    assert "biases stay in float" in str(issue)


def test_the_dla_is_a_class_of_its_own() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", strides=[1, 1]),
        helper.make_node("HardSwish", ["a"], ["b"], name="swish"),
        helper.make_node("Conv", ["b", "w2"], ["y"], name="far", strides=[9, 9]),
    ]
    weights = {"w": np.zeros((4, 3, 1, 1), np.float32), "w2": np.zeros((4, 4, 1, 1), np.float32)}
    content = graph(nodes, weights)
    assert rules(content) == []
    assert [(i.node, i.message) for i in lint(content) if i.severity == "dla"] == [
        ("swish", "HardSwish runs on the GPU"),
        ("far", "a stride of [9, 9], 8 is the most"),
    ]
    assert dla_placement(content) == (1, 3)


def test_every_graph_that_ships_for_tensorrt_passes_and_says_that_nothing_was_built(repo: Path) -> None:
    from exporters.package import load_package

    folders = sorted(path for path in (repo / "deploy" / "packages").iterdir() if path.is_dir())
    assert len(folders) >= 3
    for folder in folders:
        package = load_package(folder, trust=repo / "deploy" / "keys")
        found = report(package.read_onnx("tensorrt"), "model.onnx")
        assert (found.result, found.versions, found.errors) == (NOT_BUILT, VERSIONS, ()), folder.name
        assert found.dla_layers_frac > 0.5
