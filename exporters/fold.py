"""The scale of the normalisation, folded into the first convolution: one pass over the tiles less at each inference.

A convolution that pads with zeros is linear, so scaling its input by band is scaling its weights by band, at the
borders too. An offset is not folded: the padding would have to hold it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def fold_scale(network: nn.Module, scale: Sequence[float]) -> nn.Module | None:
    """A copy that takes tiles not yet multiplied by ``scale``, one value a band; None where that cannot be folded.

    It can where one convolution, ungrouped and padded with zeros, is all that takes the input. Needs a network that
    ``fuse_batch_norms`` could follow.
    """
    import torch
    from torch.fx import GraphModule

    if not isinstance(network, GraphModule):
        return None
    inputs = [node for node in network.graph.nodes if node.op == "placeholder"]
    takers = [user for node in inputs for user in node.users]
    if len(inputs) != 1 or len(takers) != 1 or takers[0].op != "call_module":
        return None
    name = str(takers[0].target)
    first = network.get_submodule(name)
    calls = sum(node.op == "call_module" and node.target == name for node in network.graph.nodes)
    if not isinstance(first, torch.nn.Conv2d) or calls != 1 or not _linear(first, len(scale)):
        return None
    folded = copy.deepcopy(network)
    weight: Any = folded.get_submodule(name).weight
    with torch.no_grad():
        weight.mul_(torch.tensor(scale, dtype=weight.dtype)[None, :, None, None])
    return folded


def _linear(first: Any, bands: int) -> bool:
    return bool(first.groups == 1 and first.padding_mode == "zeros" and first.in_channels == bands)


def with_offset(network: nn.Module, mean: Sequence[float], *, full_scale: float = 255.0) -> nn.Module:
    """What ``fold_scale`` made, as it ships: (n, bands, rows, cols) tiles in, (n, classes) probabilities out."""
    import torch

    class Deployed(torch.nn.Module):
        middle: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("middle", full_scale * torch.tensor(mean, dtype=torch.float32)[:, None, None])

        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.network(tiles.float() - self.middle), dim=1)

    return Deployed().eval()
