"""From a network to an ONNX graph: fuse, round, trace, simplify, store. Each step takes and returns a whole.

The graph takes uint8 tiles and answers probabilities: scaling, normalisation and softmax are inside, so that no reader
can feed it wrongly.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ExportError
from .onnx_runtime import silence_onnxruntime
from .rewrite import rewritten

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

OPSET = 18
INPUT, OUTPUT = "tiles", "probabilities"
_HALF_MIN_SIZE = 256  # smaller tensors (biases, normalisation) stay in float32: nothing to gain


def with_normalisation(
    network: nn.Module, mean: Sequence[float], std: Sequence[float], *, full_scale: float = 255.0
) -> nn.Module:
    """The network as it ships: (n, bands, rows, cols) tiles in, (n, classes) float32 probabilities out.

    ``mean`` and ``std`` are shares of ``full_scale``, the largest value of a tile; 1 where they are in its own units.
    """
    import torch

    class Deployed(torch.nn.Module):
        scale: torch.Tensor
        offset: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            deviation = torch.tensor(std, dtype=torch.float32)[:, None, None]
            self.register_buffer("scale", 1.0 / (full_scale * deviation))
            self.register_buffer("offset", -torch.tensor(mean, dtype=torch.float32)[:, None, None] / deviation)

        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.network(tiles.float() * self.scale + self.offset), dim=1)

    return Deployed().eval()


def fuse_batch_norms(network: nn.Module) -> nn.Module:
    """A copy in which each batch normalisation that follows a convolution is part of that convolution."""
    import torch
    from torch.fx import symbolic_trace
    from torch.fx.proxy import TraceError
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    try:
        graph = symbolic_trace(copy.deepcopy(network).eval())
    except (TraceError, TypeError, ValueError):  # control flow on values: the exporter folds what it can
        return copy.deepcopy(network).eval()
    modules: dict[str, nn.Module] = dict(graph.named_modules())
    for node in graph.graph.nodes:
        norm = modules[node.target] if node.op == "call_module" else None
        if not isinstance(norm, torch.nn.BatchNorm2d):
            continue
        before = node.args[0]
        conv = modules.get(before.target) if before.op == "call_module" and len(before.users) == 1 else None
        if isinstance(conv, torch.nn.Conv2d):
            fused = fuse_conv_bn_eval(conv, norm)
            parent, _, name = before.target.rpartition(".")
            setattr(graph.get_submodule(parent), name, fused)
            node.replace_all_uses_with(before)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph.eval()


def round_weights(network: nn.Module) -> nn.Module:
    """A copy whose large weights are exactly what float16 can hold; ExportError when one is out of its range."""
    import torch

    rounded = copy.deepcopy(network)
    with torch.no_grad():
        for name, weight in rounded.named_parameters():
            if weight.numel() >= _HALF_MIN_SIZE and weight.is_floating_point():
                weight.copy_(weight.half().float())
                if not bool(torch.isfinite(weight).all()):
                    raise ExportError(f"{name} exceeds the range of float16. Export with weights_dtype='float32'.")
    return rounded


def trace(
    network: nn.Module, *, edge_px: int, bands: int, max_batch: int = 256, dtype: str = "uint8", output: str = OUTPUT
) -> ModelProto:
    """The graph of a deployed network, opset 18, with the batch as its only dynamic axis.

    ``dtype``: of its tiles. ``output``: name of its answers. ExportError for code that cannot be traced.
    """
    import torch

    tiles = torch.zeros((2, bands, edge_px, edge_px), dtype=getattr(torch, dtype))
    batch = torch.export.Dim("batch", min=1, max=max_batch)
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                network,
                (tiles,),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=[INPUT],
                output_names=[output],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
    except Exception as error:  # the exporter raises many types; each means the same here, and it is raised again
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ExportError(
            f"{type(network).__name__} cannot be traced: {reason}. Its deploy function must not look at values, and "
            "must take any number of tiles."
        ) from error
    if program is None:
        raise ExportError("torch.onnx.export returned no program. Update torch within the range of the extra 'export'.")
    model: ModelProto = program.model_proto
    _check_opset(model)
    return model


def simplify(model: ModelProto) -> ModelProto:
    """The same function in fewer nodes, without the traces of where it was made."""
    silence_onnxruntime()  # onnxslim imports it
    import onnxslim

    slimmed: Any = onnxslim.slim(model)
    slim = rewritten(slimmed)
    for part in (slim, slim.graph):
        part.doc_string = ""
    del slim.graph.metadata_props[:]
    del slim.graph.value_info[:]
    for item in (*slim.graph.node, *slim.graph.input, *slim.graph.output, *slim.graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    _check_opset(slim)
    simplified: ModelProto = slim
    return simplified


def store_weights_as_half(model: ModelProto) -> ModelProto:
    """Store each large weight as float16, with a Cast behind it, where that loses nothing; others stay in float32.

    An engine folds the casts once, when it loads the graph. What ``round_weights`` rounded loses nothing, unless the
    exporter folded it with another constant.
    """
    from onnx import TensorProto, helper, numpy_helper

    half: ModelProto = copy.deepcopy(model)
    casts = []
    for tensor in half.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _HALF_MIN_SIZE:
            continue
        with np.errstate(over="ignore"):
            stored = values.astype(np.float16)
        if not np.array_equal(stored.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(stored, name + "_half"))
        casts.append(helper.make_node("Cast", [name + "_half"], [name], name=name + "_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *half.graph.node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    return half


def float32_weights(content: bytes) -> bytes:
    """A graph of ``store_weights_as_half`` with its weights back in float32 and the casts gone: the same function."""
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load_from_string(content)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        tensor = stored.get(node.input[0]) if node.op_type == "Cast" and node.input else None
        if tensor is None or tensor.data_type != TensorProto.FLOAT16:
            kept.append(node)
            continue
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return serialise(model)


def in_half(model: ModelProto) -> ModelProto:
    """The same network computing in float16: for GPUs, whose engines take the precision from the graph.

    What prepares the tiles and the head that follows the last layer (softmax, casts) stay in float32.
    """
    from onnx import TensorProto, helper, shape_inference

    half: ModelProto = copy.deepcopy(model)
    nodes = list(half.graph.node)
    weighted = [index for index, node in enumerate(nodes) if node.op_type in ("Conv", "Gemm", "MatMul")]
    if not weighted:
        raise ExportError("The graph has no layer to compute in float16. Export it as fp32.")
    first, last = weighted[0], weighted[-1]
    before, inner, after = nodes[:first], nodes[first : last + 1], nodes[last + 1 :]
    floats = _float_names(shape_inference.infer_shapes(half))
    made = {name for node in inner for name in node.output}
    down = _lower_inputs(half, inner, floats, made)
    for node in inner:
        _lower_constants(node)
    leaving = {name for node in after for name in node.input} | {entry.name for entry in half.graph.output}
    up = []
    for name in sorted(made & leaving & floats):
        for node in inner:
            node.output[:] = [name + "_half" if one == name else one for one in node.output]
            node.input[:] = [name + "_half" if one == name else one for one in node.input]
        up.append(helper.make_node("Cast", [name + "_half"], [name], name=name + "_up", to=TensorProto.FLOAT))
    del half.graph.node[:]
    half.graph.node.extend([*before, *down, *inner, *up, *after])
    del half.graph.value_info[:]
    return half


_STAYS_FLOAT = {"Resize": (1, 2)}
"""Inputs that ONNX wants in float32 whatever is computed."""


def _float_names(inferred: ModelProto) -> set[str]:
    """Tensors of float32."""
    from onnx import TensorProto

    entries = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    found = {entry.name for entry in entries if entry.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in inferred.graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _lower_inputs(model: ModelProto, inner: Sequence[Any], floats: set[str], made: set[str]) -> list[Any]:
    """Give ``inner`` its weights in float16; the casts of what it takes from before are returned."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    lowered: dict[str, Any] = {}
    for node in inner:
        for index, name in enumerate(node.input):
            if name not in floats or name in made or index in _STAYS_FLOAT.get(node.op_type, ()):
                continue
            node.input[index] = name + "_half"
            if name in weights and name not in lowered:
                with np.errstate(over="ignore"):
                    values = numpy_helper.to_array(weights[name]).astype(np.float16)
                if not np.isfinite(values).all():
                    raise ExportError(f"{name} exceeds the range of float16. Export the graph as fp32.")
                lowered[name] = None
                model.graph.initializer.append(numpy_helper.from_array(values, name + "_half"))
            elif name not in lowered:
                lowered[name] = helper.make_node(
                    "Cast", [name], [name + "_half"], name=name + "_down", to=TensorProto.FLOAT16
                )
    used = {name for node in model.graph.node for name in node.input} | {entry.name for entry in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return [node for node in lowered.values() if node is not None]


def _lower_constants(node: Any) -> None:
    """What a node makes itself in float32, casts and constants, it makes in float16."""
    from onnx import TensorProto, numpy_helper

    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if node.op_type in ("Constant", "ConstantOfShape") and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))


def with_metadata(model: ModelProto, properties: Mapping[str, str]) -> ModelProto:
    """Name the producer and put ``properties`` into the file, sorted."""
    model.producer_name, model.producer_version = "subsolar", ""
    model.graph.name = properties.get("id", "model")
    del model.metadata_props[:]
    for key in sorted(properties):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, properties[key]
    return model


def serialise(model: ModelProto) -> bytes:
    """The checked graph as bytes; one graph, one byte sequence."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"The exported graph is not valid ONNX: {error}. Report this network.") from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def count_macs(network: nn.Module, *, edge_px: int, bands: int = 3, dtype: str = "float32") -> int:
    """Multiply-accumulates for one tile: see ``count_macs_of``."""
    return count_macs_of(network, (bands, edge_px, edge_px), dtype=dtype)


def count_macs_of(network: nn.Module, input_shape: Sequence[int], *, dtype: str = "float32") -> int:
    """Multiply-accumulates of convolutions (transposed ones too), matrix products and attention for one input.

    ``input_shape`` is one tile's (bands, rows, cols); a network that is called otherwise has
    ``example_inputs(input_shape) -> tuple``. Counted where the weights are, also without values (device meta).
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    example = getattr(network, "example_inputs", None)
    weight = next(network.parameters(), torch.zeros(0))
    network.eval()
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused layers hide their products from the counter
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _without_mkldnn():
            one = (torch.zeros((1, *input_shape), device=weight.device, dtype=getattr(torch, dtype)),)
            inputs = one if example is None else example(input_shape)
            with FlopCounterMode(display=False) as counter:
                network(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops()) // 2


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    """Plain operators alone; torch warns about an Intel GPU that nobody asked for."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter warns about its own internals and about packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check_opset(model: ModelProto) -> None:
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        raise ExportError(
            f"The exporter wrote opsets {opsets}, {OPSET} of ai.onnx alone is needed. "
            "Use torch within the range of the extra 'export'."
        )
