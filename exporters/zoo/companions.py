"""Graphs beside ``model.onnx``, with inputs of their own."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn.utils.fusion import fuse_conv_bn_eval  # noqa: TID253

from .. import graph
from ..errors import ExportError


def fused(network: nn.Module) -> nn.Module:
    """A copy, in evaluation mode, in which each batch norm after a convolution of one ``Sequential`` is part of it.

    Unlike ``graph.fuse_batch_norms`` it asks nothing of ``forward``, so that it serves networks that look at shapes.
    """
    whole = copy.deepcopy(network).eval()
    for parent in [module for module in whole.modules() if isinstance(module, nn.Sequential)]:
        for number in range(len(parent) - 1):
            conv, norm = parent[number], parent[number + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parent[number], parent[number + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return whole


def graph_bytes(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    shapes: Sequence[Mapping[int, Any]],
    *,
    half: bool = True,
) -> bytes:
    """The module as an ONNX file of opset 18. ``inputs``: named examples; ``shapes``: dynamic axes.

    An output must not be called like a layer of the module (``embedding``): the exporter gives both that name.
    """
    ready = fused(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            graph.round_weights(ready) if half else ready,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=graph.OPSET,
            external_data=False,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(shapes),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program. Update torch within the range of the extra 'export'.")
    model = graph.simplify(program.model_proto)
    return graph.serialise(graph.store_weights_as_half(model) if half else model)
