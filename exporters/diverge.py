"""Where two graphs part: the first layer whose output differs, in the order of computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .onnx_cpu import open_session

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """``relative`` is the worst difference divided by the largest value of the source's layer."""

    layer: str
    operator: str
    relative: float


def first_divergence(
    source: bytes, target: bytes, tiles: NDArray[Any], *, relative: float = 1e-3
) -> LayerDifference | None:
    """The first layer that both graphs name whose outputs differ by more than ``relative``, or None.

    Layers match by the name of their output, which Q/DQ insertion, fusing and simplifying keep for what they keep.
    """
    for found in layer_differences(source, target, tiles):
        if not found.relative <= relative:
            return found
    return None


def layer_differences(source: bytes, target: bytes, tiles: NDArray[Any]) -> list[LayerDifference]:
    """Every layer that both graphs name, in the order of computation, with how far they are apart."""
    import onnx

    left, right = onnx.load_from_string(source), onnx.load_from_string(target)
    produced = {output for node in right.graph.node for output in node.output}
    shared = [(node, output) for node in left.graph.node for output in node.output if output in produced]
    names = [output for _, output in shared]
    here, there = _outputs(left, names, tiles), _outputs(right, names, tiles)
    return [
        LayerDifference(node.name or output, node.op_type, _relative(here[output], there[output]))
        for node, output in shared
        if here[output].shape == there[output].shape and here[output].dtype.kind in "fiu"
    ]


def _relative(here: NDArray[Any], there: NDArray[Any]) -> float:
    scale = float(np.max(np.abs(here.astype(np.float64)), initial=0.0)) or 1.0
    return float(np.max(np.abs(here.astype(np.float64) - there.astype(np.float64)), initial=0.0)) / scale


def _outputs(model: ModelProto, names: list[str], tiles: NDArray[Any]) -> dict[str, NDArray[Any]]:
    import onnx

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    kept = {entry.name for entry in probed.graph.output}
    for name in names:
        if name not in kept:
            probed.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = open_session(probed.SerializeToString())
    answers = session.run(names, {session.get_inputs()[0].name: tiles})
    return {name: np.asarray(answer) for name, answer in zip(names, answers, strict=True)}


def first_divergence_from_torch(
    network: nn.Module, target: bytes, tiles: NDArray[Any], *, relative: float = 1e-3
) -> LayerDifference | None:
    """The first convolution or linear layer, in order of execution, whose output in the graph is not torch's."""
    import onnx

    model = onnx.load_from_string(target)
    weighted = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    here = _torch_outputs(network, tiles)
    there = _outputs(model, [node.output[0] for node in weighted], tiles)
    for (name, ours), node in zip(here, weighted, strict=False):
        theirs = there[node.output[0]]
        found = _relative(ours, theirs) if ours.shape == theirs.shape else float("inf")
        if not found <= relative:
            return LayerDifference(f"{name} ({node.name})", node.op_type, found)
    return None


def _torch_outputs(network: nn.Module, tiles: NDArray[Any]) -> list[tuple[str, NDArray[Any]]]:
    import torch

    seen: list[tuple[str, NDArray[Any]]] = []

    def keep(name: str, out: Any) -> None:
        seen.append((name, out.detach().numpy().copy()))

    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: keep(name, out))
        for name, module in network.named_modules()
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    try:
        with torch.inference_mode():
            network.eval()(torch.from_numpy(tiles))
    finally:
        for hook in hooks:
            hook.remove()
    return seen
