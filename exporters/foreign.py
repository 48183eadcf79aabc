"""Somebody else's ONNX file as the graph of a package: bytes in, probabilities, boxes or pixels out.

A torchvision or timm export takes normalised floats and answers logits; a YOLO takes 0..1 and answers
(n, 4 + classes, anchors) with boxes as centre and size. Both are wrapped inside the graph, so that no reader can feed
or read them wrongly. The weights stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ExportError
from .graph import INPUT, OPSET, OUTPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

HEADS = ("probabilities", "logits", "boxes", "yolo", "image", "mask")
"""What the foreign graph answers; ``logits`` become probabilities, ``yolo`` becomes boxes."""
MAX_BYTE = 512 * 2**20
_MIN_OPSET, _MAX_OPSET = 13, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """How the foreign graph wants its pixels: (uint8 / 255 - mean) / std, one value a band."""

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


def read_foreign(path: Path) -> ModelProto:
    """Read a foreign graph; ExportError unless it is whole, one file, one image in, standard operators alone."""
    import onnx

    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTE else b""
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    if not content:
        raise ExportError(f"{path} is empty or has more than {MAX_BYTE} bytes. Give one ONNX file.")
    try:
        model: ModelProto = onnx.load_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and onnx raise many types; each means the same here, and it is raised again
        raise ExportError(f"{path} is not a valid ONNX graph: {_first_line(error)}. Export it again.") from error
    _check_foreign(model, path)
    return model


def wrap(model: ModelProto, *, head: str, edge_px: int, feed: Feed, max_boxes: int = 100) -> ModelProto:
    """The foreign graph behind a normalisation and before a head; see ``HEADS``.

    The result takes (n, bands, edge, edge) uint8 where the graph allows any n, else n = 1.
    """
    import onnx
    from onnx import TensorProto, helper

    if head not in HEADS:
        raise ExportError(f"A foreign graph cannot answer {head!r}. Use one of {', '.join(HEADS)}.")
    source = onnx.compose.add_prefix(_at_opset(model), "net/")
    entry, exit_ = _inputs(source)[0], source.graph.output[0].name
    bands = len(feed.mean)
    shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    if len(shape) != 4 or shape[1] not in (0, bands) or any(edge not in (0, edge_px) for edge in shape[2:]):
        raise ExportError(
            f"The graph takes {shape}, not (n, {bands}, {edge_px}, {edge_px}): give the bands, their mean and std, and "
            "the edge that it was exported for."
        )
    before, constants = _normalisation(entry.name, feed, entry.type.tensor_type.elem_type)
    anchors = [dim.dim_value for dim in source.graph.output[0].type.tensor_type.shape.dim][-1:]
    after, more = _head(
        head, exit_, min(max_boxes, *(count for count in anchors if count)) if any(anchors) else max_boxes
    )
    batch = shape[0] or "batch"
    graph = helper.make_graph(
        [*before, *source.graph.node, *after],
        "model",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, bands, edge_px, edge_px])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)],
        [*source.graph.initializer, *constants, *more],
    )
    wrapped = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    inferred: ModelProto = onnx.shape_inference.infer_shapes(wrapped)
    for node in inferred.graph.node:  # names are what a proof reports
        node.name = node.name or f"{node.op_type}_{node.output[0]}"
    return inferred


def _inputs(model: ModelProto) -> list[Any]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [entry for entry in model.graph.input if entry.name not in weights]


def _check_foreign(model: ModelProto, path: Path) -> None:
    from onnx import TensorProto

    domains = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    if domains:
        names = sorted({node.op_type for node in model.graph.node if node.domain in domains})
        raise ExportError(f"{path} uses operators outside ONNX: {names[:5]} of {domains}. Export it without them.")
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or not _MIN_OPSET <= versions[0] <= _MAX_OPSET:
        raise ExportError(
            f"{path} has opset {versions}; {_MIN_OPSET} to {_MAX_OPSET} are read. Export it with {OPSET}."
        )
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ExportError(f"{path} keeps its weights in other files. Save it as one file (external_data=False).")
    inputs = _inputs(model)
    kinds = {TensorProto.FLOAT, TensorProto.FLOAT16}
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type not in kinds:
        raise ExportError(f"{path} takes {[entry.name for entry in inputs]}; one image of floats is needed.")


def _at_opset(model: ModelProto) -> ModelProto:
    import onnx

    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if version == OPSET:
        return model
    try:
        converted: ModelProto = onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises bare RuntimeErrors and worse; each means the same here
        raise ExportError(
            f"Opset {version} cannot be converted to {OPSET}: {_first_line(error)}. Export it with opset {OPSET}."
        ) from error
    return converted


def _normalisation(entry: str, feed: Feed, elem_type: int) -> tuple[list[NodeProto], list[Any]]:
    from onnx import TensorProto, helper, numpy_helper

    std = np.array(feed.std, dtype=np.float32)[:, None, None]
    mean = np.array(feed.mean, dtype=np.float32)[:, None, None]
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()) or len(mean) != len(std):
        raise ExportError(f"Mean {feed.mean} and std {feed.std} are no normalisation. Give one positive std a band.")
    half = elem_type == TensorProto.FLOAT16
    last = "prepare/float" if half else entry
    nodes = [
        helper.make_node("Cast", [INPUT], ["prepare/cast"], name="prepare/cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["prepare/cast", "prepare/scale"], ["prepare/mul"], name="prepare/mul"),
        helper.make_node("Add", ["prepare/mul", "prepare/offset"], [last], name="prepare/add"),
    ]
    if half:
        nodes.append(helper.make_node("Cast", [last], [entry], name="prepare/half", to=TensorProto.FLOAT16))
    constants = [
        numpy_helper.from_array((1.0 / (255.0 * std)).astype(np.float32), "prepare/scale"),
        numpy_helper.from_array((-mean / std).astype(np.float32), "prepare/offset"),
    ]
    return nodes, constants


def _head(head: str, exit_: str, max_boxes: int) -> tuple[list[NodeProto], list[Any]]:
    from onnx import TensorProto, helper

    cast = helper.make_node("Cast", [exit_], ["head/float"], name="head/float", to=TensorProto.FLOAT)
    if head == "logits":
        return [cast, helper.make_node("Softmax", ["head/float"], [OUTPUT], name="head/softmax", axis=1)], []
    if head == "yolo":
        nodes, constants = _yolo(max_boxes)
        return [cast, *nodes], constants
    return [helper.make_node("Cast", [exit_], [OUTPUT], name="head/float", to=TensorProto.FLOAT)], []


def _yolo(max_boxes: int) -> tuple[list[NodeProto], list[Any]]:
    """(n, 4 + classes, anchors) to (n, max_boxes, 6): left, top, right, bottom, score, class; the best first.

    Overlapping boxes stay: the runtime merges them within and across tiles.
    """
    from onnx import TensorProto, helper, numpy_helper

    def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
        return helper.make_node(
            op, [f"head/{n}" for n in inputs], [f"head/{n}" for n in outputs], name=f"head/{outputs[0]}", **attributes
        )

    constants = [
        numpy_helper.from_array(np.array(value, dtype=kind), f"head/{name}")
        for name, value, kind in (
            ("zero", [0], np.int64),
            ("two", [2], np.int64),
            ("four", [4], np.int64),
            ("end", [2**31 - 1], np.int64),
            ("last", [2], np.int64),
            ("k", [max_boxes], np.int64),
            ("half", 0.5, np.float32),
        )
    ]
    nodes = [
        node("Transpose", ["float"], ["rows"], perm=[0, 2, 1]),
        node("Slice", ["rows", "zero", "two", "last"], ["centre"]),
        node("Slice", ["rows", "two", "four", "last"], ["size"]),
        node("Slice", ["rows", "four", "end", "last"], ["scores"]),
        node("Mul", ["size", "half"], ["reach"]),
        node("Sub", ["centre", "reach"], ["low"]),
        node("Add", ["centre", "reach"], ["high"]),
        node("ReduceMax", ["scores", "last"], ["score"], keepdims=1),
        node("ArgMax", ["scores"], ["label"], axis=2, keepdims=1),
        node("Cast", ["label"], ["class"], to=TensorProto.FLOAT),
        node("Concat", ["low", "high", "score", "class"], ["all"], axis=2),
        node("Squeeze", ["score", "last"], ["flat"]),
        node("TopK", ["flat", "k"], ["best", "index"], axis=1, largest=1, sorted=1),
        node("Unsqueeze", ["index", "last"], ["column"]),
        node("Expand", ["column", "six"], ["where"]),
        helper.make_node("GatherElements", ["head/all", "head/where"], [OUTPUT], name="head/boxes", axis=1),
    ]
    constants.append(numpy_helper.from_array(np.array([1, 1, 6], dtype=np.int64), "head/six"))
    return nodes, constants


def count_params(model: ModelProto) -> int:
    """Values in the weights of a graph: floating-point initialisers of more than one value."""
    from onnx import TensorProto

    kinds = {TensorProto.FLOAT, TensorProto.FLOAT16}
    sizes = (math.prod(t.dims) for t in model.graph.initializer if t.data_type in kinds and t.name.startswith("net/"))
    return sum(size for size in sizes if size > 1)


def count_graph_macs(model: ModelProto) -> int:
    """Multiply-accumulates of the convolutions and matrix products for one tile, from the inferred shapes."""
    shapes = _shapes(model)
    return sum(_macs(node, shapes) for node in model.graph.node)


def _macs(node: NodeProto, shapes: dict[str, list[int]]) -> int:
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.output[0] not in shapes:
        return 0
    out = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        return out * math.prod(shapes[node.input[1]][1:])
    return out * (shapes[node.input[0]][-1] if node.input[0] in shapes else 0)


def _shapes(model: ModelProto) -> dict[str, list[int]]:
    import onnx

    single = onnx.ModelProto()
    single.CopyFrom(model)
    single.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(single, data_prop=True)
    found = {tensor.name: list(tensor.dims) for tensor in inferred.graph.initializer}
    for entry in (*inferred.graph.value_info, *inferred.graph.output):
        dims = [dim.dim_value or 1 for dim in entry.type.tensor_type.shape.dim]
        found[entry.name] = dims
    return found


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
