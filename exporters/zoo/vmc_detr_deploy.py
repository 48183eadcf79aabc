"""VMC-DETR as it is deployed: everything that depends on no picture computed once, branches of one kernel merged.

Weights that change need a new export: heat decay, merged kernels and normalisation are constants then.
"""

from __future__ import annotations

import copy
from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn.utils.fusion import fuse_conv_bn_eval  # noqa: TID253

from ..errors import ExporterError
from .vmc_detr import VMCDETR
from .vmc_detr_blocks import ConvNorm, RepConv
from .vmc_detr_neck import Spread
from .vmc_detr_vheat import HeatDecay
from .yolo_blocks import Conv

ANSWERS = 300
"""Boxes that a tile's answer holds."""


class Constant(nn.Module):
    """Answers one tensor."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self) -> Tensor:
        """The tensor."""
        return self.value


def fold_decay(heat: HeatDecay) -> nn.Module:
    """The decay of every frequency, computed once."""
    with torch.no_grad():
        return Constant(heat().clone())


def merge_kernels(spread: Spread) -> nn.Module:
    """One depthwise convolution for several and the identity: the smaller kernels padded to the largest and added."""
    convolutions = [one for one in spread.kernels if isinstance(one, nn.Conv2d)]
    largest = max(one.kernel_size[0] for one in convolutions)
    merged = nn.Conv2d(spread.channels, spread.channels, largest, padding=largest // 2, groups=spread.channels)
    with torch.no_grad():
        weight, bias = torch.zeros_like(merged.weight), torch.zeros(spread.channels)
        weight[:, :, largest // 2, largest // 2] = 1.0
        for one in convolutions:
            pad = (largest - one.kernel_size[0]) // 2
            weight += nn.functional.pad(one.weight, (pad,) * 4)
            assert one.bias is not None
            bias += one.bias
        merged.weight.copy_(weight)
        assert merged.bias is not None
        merged.bias.copy_(bias)
    return merged.eval()


def fuse_rep(rep: RepConv) -> nn.Module:
    """One 3x3 convolution for a 3x3 and a 1x1, each with its normalisation."""
    wide, point = (_fused(one) for one in (rep.wide, rep.point))
    assert wide.bias is not None
    assert point.bias is not None
    with torch.no_grad():
        wide.weight += nn.functional.pad(point.weight, (1, 1, 1, 1))
        wide.bias += point.bias
    return nn.Sequential(wide, rep.act).eval()


def _fused(part: nn.Sequential) -> nn.Conv2d:
    convolution, norm = part[0], part[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, norm)


def lower(network: VMCDETR) -> VMCDETR:
    """A copy that computes the same with fewer and plainer steps; in evaluation mode, not to be trained."""
    lowered = copy.deepcopy(network).eval()
    for parent in list(lowered.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, HeatDecay):
                setattr(parent, name, fold_decay(child))
            elif isinstance(child, Spread):
                setattr(parent, name, merge_kernels(child))
            elif isinstance(child, RepConv):
                setattr(parent, name, fuse_rep(child))
            elif isinstance(child, (Conv, ConvNorm)):
                setattr(parent, name, nn.Sequential(_fused(child), *list(child)[2:]))
    lowered.decoder.known = nn.Embedding(1, 1)  # of training alone
    return lowered.requires_grad_(False)


def best_boxes(det: Tensor, edge_px: int, most: int = ANSWERS) -> Tensor:
    """(n, q, 4 + classes) fractions in, (n, most, 6) left, top, right, bottom px, score, class out, best first.

    A query may answer with several classes: the best pairs of query and class count.
    """
    classes = det.shape[2] - 4
    pairs = det[..., 4:].flatten(1)
    score, index = torch.topk(pairs, min(most, int(det.shape[1]) * classes), 1)
    query = torch.div(index, classes, rounding_mode="floor")
    half = det[..., 2:4] / 2
    boxes = torch.cat([det[..., :2] - half, det[..., :2] + half], -1) * edge_px
    chosen = boxes.gather(1, query[..., None].expand(-1, -1, 4))
    kind = (index - query * classes).float()
    return torch.cat([chosen, score[..., None], kind[..., None]], -1)


class Deployed(nn.Module):
    """(n, 3, edge, edge) uint8 in, (n, 300, 6) out. There is nothing to suppress."""

    def __init__(self, network: VMCDETR) -> None:
        super().__init__()
        self.network, self.edge_px = network, network.edge_px

    def forward(self, tiles: Tensor) -> Tensor:
        """Boxes of one batch of tiles."""
        return best_boxes(self.network(tiles.float() / 255.0), self.edge_px)


def deploy(network: nn.Module, checkpoint: Any) -> nn.Module:
    """The network of a checkpoint as a package answers: kind ``boxes``."""
    assert isinstance(network, VMCDETR)
    if network.edge_px != int(checkpoint.edge_px):
        raise ExporterError(
            f"The checkpoint says {checkpoint.edge_px} px, its network was made for {network.edge_px}. "
            "Name edge_px in the switches of the checkpoint."
        )
    return Deployed(lower(network)).eval()
