"""Rewrites of a graph that keep its function: for ONNX Runtime's blocked layout, and for TensorRT's uint8 rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_PLANE = (2, 3)


def rewritten(model: ModelProto) -> ModelProto:
    """``model``, changed in place by every rewrite of this module."""
    pool_globally(model)
    measure_behind_cast(model)
    return model


def pool_globally(model: ModelProto) -> int:
    """Name each mean over the rows and columns of (n, bands, rows, cols) as the pooling that it is; returns how many.

    ONNX Runtime keeps its blocked layout through a pooling and leaves it for a ReduceMean: in MobileNetV3, whose gates
    are made of such means, that costs a copy of the feature map each.
    """
    import onnx
    from onnx import numpy_helper

    means = [node for node in model.graph.node if node.op_type == "ReduceMean" and len(node.input) == 2]
    if not means:
        return 0
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    entries = (*inferred.value_info, *inferred.input)
    ranks = {entry.name: len(entry.type.tensor_type.shape.dim) for entry in entries}
    pooled = 0
    for node in means:
        axes = weights.get(node.input[1])
        if axes is None or ranks.get(node.input[0]) != 4 or not _keeps_dims(node):
            continue
        if tuple(sorted(int(axis) % 4 for axis in numpy_helper.to_array(axes))) == _PLANE:
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]
            del node.input[1:]
            pooled += 1
    _drop_unused(model)
    return pooled


def measure_behind_cast(model: ModelProto) -> int:
    """Take the shape of uint8 tiles from what they are cast to, as TensorRT lets nothing but a cast touch them.

    Returns how many shapes were moved; a graph without such a cast stays as it is.
    """
    from onnx import TensorProto

    raw = {entry.name for entry in model.graph.input if entry.type.tensor_type.elem_type == TensorProto.UINT8}
    nodes = list(model.graph.node)
    casts = {node.input[0]: node for node in nodes if node.op_type == "Cast" and node.input[0] in raw}
    moved = [node for node in nodes if node.op_type == "Shape" and node.input[0] in casts]
    if not moved:
        return 0
    for node in moved:
        node.input[0] = casts[node.input[0]].output[0]
    first = list(casts.values())
    del model.graph.node[:]
    model.graph.node.extend([*first, *(node for node in nodes if not any(node is cast for cast in first))])
    return len(moved)


def _keeps_dims(node: NodeProto) -> bool:
    flags: dict[str, Any] = {attribute.name: attribute.i for attribute in node.attribute}
    return bool(flags.get("keepdims", 1) == 1)


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input} | {entry.name for entry in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
