"""From the raw maps of a YOLOv5 head to boxes in pixels, and the network as it is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .sscdh import SSCDH, STRIDES_PX, check_size

ANSWERS = 300
"""Boxes that a tile's answer holds, before non-maximum suppression."""


def cell_grid(rows: int, columns: int) -> Tensor:
    """(1, 1, rows, columns, 2): column and row of each cell."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([column, row], -1).float()[None, None]


def decode_level(raw: Tensor, grid: Tensor, anchors_px: Tensor, stride_px: int) -> Tensor:
    """(n, a, h, w, 5 + nc) raw in, (n, a*h*w, 5 + nc) cx, cy, w, h in pixels, objectness, classes 0..1 out.

    ``grid`` is ``cell_grid`` of the map, ``anchors_px`` (a, 2).
    """
    value = torch.sigmoid(raw)
    middle = (2.0 * value[..., :2] - 0.5 + grid) * stride_px
    size = (2.0 * value[..., 2:4]) ** 2 * anchors_px[None, :, None, None]
    return torch.cat([middle, size, value[..., 4:]], -1).flatten(1, 3)


def decode(maps: Sequence[Tensor], anchors_px: Tensor) -> Tensor:
    """All levels: (n, A, 5 + nc), the contract's ``det``. ``anchors_px``: (levels, a, 2)."""
    levels = [
        decode_level(raw.float(), cell_grid(raw.shape[2], raw.shape[3]).to(raw.device), anchors_px[at], STRIDES_PX[at])
        for at, raw in enumerate(maps)
    ]
    return torch.cat(levels, 1)


def best_boxes(det: Tensor, most: int = ANSWERS) -> Tensor:
    """(n, A, 5 + nc) in, (n, most, 6) left, top, right, bottom px, score, class out, best first; most <= A."""
    score, kind = (det[..., 4:5] * det[..., 5:]).max(-1)
    top, index = torch.topk(score, most, 1)
    half = det[..., 2:4] / 2
    corners = torch.cat([det[..., :2] - half, det[..., :2] + half], -1)
    chosen = corners.gather(1, index[..., None].expand(-1, -1, 4))
    return torch.cat([chosen, top[..., None], kind.gather(1, index).float()[..., None]], -1)


class Deployed(nn.Module):
    """(n, 3, edge, edge) uint8 in, (n, 300, 6) out: decoded, not suppressed. Grids and anchors are constants."""

    def __init__(self, network: SSCDH, edge_px: int) -> None:
        super().__init__()
        check_size(torch.empty(1, 3, edge_px, edge_px, device="meta"), network.divisor)
        self.network = network
        cells = sum((edge_px // stride_px) ** 2 for stride_px in STRIDES_PX)
        self.most = min(ANSWERS, cells * network.anchors_px.shape[1])
        for at, stride_px in enumerate(STRIDES_PX):
            self.register_buffer(f"grid{at}", cell_grid(edge_px // stride_px, edge_px // stride_px))

    def forward(self, tiles: Tensor) -> Tensor:
        """Boxes of one batch of tiles."""
        maps = self.network(tiles.float() / 255.0)
        levels = [
            decode_level(raw, self.get_buffer(f"grid{at}"), self.network.anchors_px[at], STRIDES_PX[at])
            for at, raw in enumerate(maps)
        ]
        return best_boxes(torch.cat(levels, 1), self.most)


def deploy(network: nn.Module, checkpoint: Any) -> nn.Module:
    """The network of a checkpoint as a package answers: kind ``boxes``."""
    assert isinstance(network, SSCDH)
    return Deployed(network, int(checkpoint.edge_px)).eval()
