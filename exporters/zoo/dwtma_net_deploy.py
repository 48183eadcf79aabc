"""DWTMA-Net as it ships: raw tiles in, dehazed tiles out, no DFT in the graph."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..errors import ExportError
from .dwtma_net import MULTIPLE_PX
from .dwtma_net_fourier import lower_fourier

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint


class Restorer(nn.Module):
    """(n, 3, e, e) uint8 in, the same without haze out: float32, 0..255."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        return self.network(tiles.float() * (1.0 / 255.0)).clamp(0.0, 1.0) * 255.0  # type: ignore[no-any-return]


def deploy(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """The network for tiles of the checkpoint's edge alone; ExportError unless that is a multiple of 8."""
    return deploy_at(network, checkpoint.edge_px)


def deploy_at(network: nn.Module, edge_px: int) -> nn.Module:
    """A copy of ``network`` for tiles of ``edge_px``: the size is baked into the Fourier matrices."""
    if edge_px < MULTIPLE_PX or edge_px % MULTIPLE_PX:
        raise ExportError(f"Tiles of {edge_px} px do not fit DWTMA-Net. Use a multiple of {MULTIPLE_PX}, such as 64.")
    lowered = lower_fourier(copy.deepcopy(network).eval(), torch.zeros(1, 3, edge_px, edge_px))
    return Restorer(lowered).eval()
