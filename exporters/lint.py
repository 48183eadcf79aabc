"""Would TensorRT take this graph? A rule check that runs everywhere, because no builder can be had without a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import trt_rules as rules
from .errors import ExportError
from .records import TensorRtReport

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

NOT_BUILT = "not built: no device"
_TYPE_CHANGERS = ("Cast", "QuantizeLinear", "DequantizeLinear")
_CONSTANT_CAST = ("Cast", "Identity")


@dataclass(frozen=True, slots=True)
class Issue:
    """One rule that a node breaks. ``severity``: ``error`` (refused), ``warning``, or ``dla`` (runs on the GPU)."""

    severity: str
    rule: str
    node: str
    message: str
    versions: tuple[str, ...] = rules.VERSIONS

    def __str__(self) -> str:
        where = "" if self.versions == rules.VERSIONS else f" [{', '.join(self.versions)}]"
        return f"{self.rule}: {self.node}: {self.message}{where}"


@dataclass(slots=True)
class _Graph:
    """A graph with what the rules ask of it."""

    model: ModelProto
    weights: dict[str, TensorProto] = field(default_factory=dict)
    maker: dict[str, NodeProto] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import onnx

        self.weights = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.maker = {output: node for node in self.model.graph.node for output in node.output}
        inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True)
        for entry in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
            tensor = entry.type.tensor_type
            self.types[entry.name] = tensor.elem_type
            if tensor.HasField("shape"):
                self.shapes[entry.name] = [
                    dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim
                ]
        for name, weight in self.weights.items():
            self.types[name], self.shapes[name] = weight.data_type, list(weight.dims)

    def constant(self, name: str) -> bool:
        """An initialiser, or one behind casts."""
        while name in self.maker and self.maker[name].op_type in _CONSTANT_CAST:
            name = self.maker[name].input[0]
        return name in self.weights or (name in self.maker and self.maker[name].op_type == "Constant")

    def values(self, name: str) -> Any:
        """An initialiser as an array, or None."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.weights[name]) if name in self.weights else None


def lint(content: bytes, versions: Sequence[str] = rules.VERSIONS) -> tuple[Issue, ...]:
    """All rules of TensorRT ``versions`` that a graph breaks, in the order of its nodes."""
    import onnx

    if unknown := sorted(set(versions) - set(rules.VERSIONS)):
        raise ExportError(f"There are no rules for TensorRT {unknown}. Use some of {', '.join(rules.VERSIONS)}.")
    graph = _Graph(onnx.load_from_string(content))
    found = [*_whole(graph, versions)]
    for node in graph.model.graph.node:
        for rule in _RULES:
            found += rule(graph, node, versions)
    return tuple(found)


def report(content: bytes, file: str) -> TensorRtReport:
    """What the lint says of a graph, as it is stored in a package."""
    issues = lint(content)
    on_dla, layers = dla_placement(content)
    return TensorRtReport(
        result=NOT_BUILT,
        file=file,
        versions=rules.VERSIONS,
        errors=tuple(str(issue) for issue in issues if issue.severity == "error"),
        warnings=tuple(str(issue) for issue in issues if issue.severity == "warning"),
        dla_layers_frac=on_dla / layers if layers else 0.0,
    )


def dla_placement(content: bytes) -> tuple[int, int]:
    """(layers that the DLA's rules let run there, all layers); the rest falls back to the GPU."""
    import onnx

    model = onnx.load_from_string(content)
    layers = [node for node in model.graph.node if node.op_type not in rules.DLA_TRANSPARENT]
    barred = {issue.node for issue in lint(content) if issue.severity == "dla"}
    return sum(_name(node) not in barred for node in layers), len(layers)


def _name(node: NodeProto) -> str:
    return node.name or f"{node.op_type} of {node.output[0]}"


def _whole(graph: _Graph, versions: Sequence[str]) -> Iterator[Issue]:
    opset = next((e.version for e in graph.model.opset_import if e.domain in ("", "ai.onnx")), 0)
    late = tuple(version for version in versions if opset > rules.MAX_OPSET[version])
    if late:
        yield Issue("error", "opset", "graph", f"opset {opset} is newer than the parser reads", late)
    for entry in graph.model.graph.input:
        shape = graph.shapes.get(entry.name, [])
        if -1 in shape[1:]:
            yield Issue("error", "dynamic-axis", entry.name, f"{shape}: only the batch may vary, or profiles multiply")
        if not shape:
            yield Issue("error", "dynamic-rank", entry.name, "the rank of the input is not known")


def _operator(graph: _Graph, node: NodeProto, versions: Sequence[str]) -> Iterator[Issue]:
    if node.domain not in ("", "ai.onnx"):
        yield Issue("error", "domain", _name(node), f"{node.op_type} is of domain {node.domain!r}: a plugin is needed")
    elif node.op_type not in rules.OPERATORS:
        yield Issue("error", "operator", _name(node), f"{node.op_type} is not in the parser's table")
    elif node.op_type in rules.SINCE:
        early = tuple(version for version in versions if _older(version, rules.SINCE[node.op_type]))
        if early:
            yield Issue("error", "operator", _name(node), f"{node.op_type} is newer than that", early)


def _older(version: str, than: str) -> bool:
    return [int(part) for part in version.split(".")] < [int(part) for part in than.split(".")]


def _types(graph: _Graph, node: NodeProto, versions: Sequence[str]) -> Iterator[Issue]:
    from onnx import TensorProto

    kinds = {graph.types.get(output, 0) for output in node.output}
    if TensorProto.UINT8 in {graph.types.get(name, 0) for name in node.input} and node.op_type not in _TYPE_CHANGERS:
        yield Issue("error", "uint8", _name(node), "uint8 may only be the network's input, and only be cast")
    if TensorProto.DOUBLE in kinds:
        yield Issue("error", "double", _name(node), "double has no kernels")
    if TensorProto.INT64 in kinds and node.op_type not in rules.INT64_ONLY_FOR_SHAPES:
        yield Issue("warning", "int64", _name(node), f"{node.op_type} computes in INT64; 10.3 may narrow it to INT32")


def _ranks(graph: _Graph, node: NodeProto, versions: Sequence[str]) -> Iterator[Issue]:
    for output in node.output:
        shape = graph.shapes.get(output)
        if shape is None and output and graph.types.get(output, 1):
            yield Issue("warning", "dynamic-rank", _name(node), f"the rank of {output} cannot be inferred")
        elif shape is not None and len(shape) > rules.MAX_RANK:
            yield Issue("error", "rank", _name(node), f"{output} has {len(shape)} axes, {rules.MAX_RANK} is the most")


def _attributes(graph: _Graph, node: NodeProto, versions: Sequence[str]) -> Iterator[Issue]:
    given = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "TopK":
        k = graph.values(node.input[1])
        if k is None:
            yield Issue("warning", "topk", _name(node), "K is computed; it must be known when the engine is built")
        elif int(np.max(k)) > rules.MAX_TOPK:
            yield Issue("error", "topk", _name(node), f"K is {int(np.max(k))}, {rules.MAX_TOPK} is the most")
    if node.op_type in ("MaxPool", "AveragePool") and "dilations" in given and set(given["dilations"].ints) != {1}:
        yield Issue("error", "pool", _name(node), "a dilated pool has no layer")
    if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
        yield Issue("error", "pool", _name(node), "the indices of a MaxPool have no layer")
    if node.op_type == "Resize" and "mode" in given and given["mode"].s == b"cubic":
        yield Issue("warning", "resize", _name(node), "cubic is taken for the two innermost axes alone")
    if node.op_type in ("If", "Loop"):
        yield Issue("warning", "control-flow", _name(node), f"{node.op_type} forbids CUDA graphs")


def _quantised(graph: _Graph, node: NodeProto, versions: Sequence[str]) -> Iterator[Issue]:
    from onnx import TensorProto

    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    kind = graph.types.get(node.input[0] if node.op_type == "DequantizeLinear" else node.output[0], 0)
    name = TensorProto.DataType.Name(kind) if kind else "UNDEFINED"
    if name not in rules.QUANTISED_TYPES:
        bias = ": biases stay in float" if name == "INT32" else ""
        yield Issue("error", "qdq-type", _name(node), f"{name} is quantised, INT8 alone is taken{bias}")
    zero = graph.values(node.input[2]) if len(node.input) > 2 else np.zeros(1)
    if zero is None or np.any(zero != 0):
        yield Issue("error", "qdq-zero-point", _name(node), "the zero point must be a constant 0")
    scale = graph.values(node.input[1])
    if scale is None and not graph.constant(node.input[1]):
        yield Issue("error", "qdq-scale", _name(node), "the scale must be a constant")
    elif scale is not None and (not np.all(np.isfinite(scale)) or np.any(scale <= 0)):
        yield Issue("error", "qdq-scale", _name(node), "a scale is not positive")
    yield from _channels(graph, node, scale)
    if node.op_type == "QuantizeLinear":
        users = [other for other in graph.model.graph.node if node.output[0] in other.input]
        if any(other.op_type != "DequantizeLinear" for other in users):
            yield Issue("error", "qdq-pair", _name(node), "a Q must be followed by its DQ alone")


def _channels(graph: _Graph, node: NodeProto, scale: Any) -> Iterator[Issue]:
    if scale is None or scale.size <= 1:
        return
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    first = node.input[0] if node.op_type == "QuantizeLinear" else graph.maker.get(node.input[0], node).input[0]
    if not graph.constant(first):
        yield Issue("error", "qdq-channels", _name(node), "activations take one scale a tensor")
    elif axis not in (0, 1):
        yield Issue("error", "qdq-channels", _name(node), f"weights take scales along axis 0 (1 for Gemm), not {axis}")


def _dla(graph: _Graph, node: NodeProto, versions: Sequence[str]) -> Iterator[Issue]:
    if node.op_type in rules.DLA_TRANSPARENT:
        return
    reason = _dla_reason(graph, node)
    if reason:
        yield Issue("dla", "dla", _name(node), reason)


def _dla_reason(graph: _Graph, node: NodeProto) -> str:
    if node.op_type not in rules.DLA_OPERATORS:
        return f"{node.op_type} runs on the GPU"
    given = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Conv":
        kernel = graph.shapes.get(node.input[1], [])[2:]
        if any(edge > rules.DLA_MAX_KERNEL for edge in kernel):
            return f"a kernel of {kernel}, {rules.DLA_MAX_KERNEL} is the most"
        if "strides" in given and max(given["strides"].ints) > rules.DLA_MAX_STRIDE:
            return f"a stride of {list(given['strides'].ints)}, {rules.DLA_MAX_STRIDE} is the most"
    channels = graph.shapes.get(node.output[0], [0, 0])[1:2]
    if channels and channels[0] > rules.DLA_MAX_CHANNELS:
        return f"{channels[0]} channels, {rules.DLA_MAX_CHANNELS} is the most"
    if node.op_type == "MatMul" and not graph.constant(node.input[1]):
        return "both factors are activations"
    if node.op_type == "Gemm" and math.prod(graph.shapes.get(node.input[1], [1])) == 0:
        return "an empty weight"
    return ""


_RULES: tuple[Callable[[_Graph, NodeProto, Sequence[str]], Iterator[Issue]], ...] = (
    _operator,
    _types,
    _ranks,
    _attributes,
    _quantised,
    _dla,
)
