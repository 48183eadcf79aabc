"""Hybrid-SegUFormer as a package runs it: three uint8 bands in, two scores a pixel out. The student alone."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import Checkpoint


class DeformationMask(nn.Module):
    """(n, bands, edge, edge) uint8 in, (n, 2, edge, edge) probabilities of stable and of moving ground out.

    A pixel that is black in all bands has no data, and is called stable for sure.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        values = tiles.float() / 255.0
        known = (values.amax(dim=1, keepdim=True) > 0).float()
        moving = torch.sigmoid(self.network(values)) * known
        return torch.cat([1.0 - moving, moving], dim=1)


def deploy(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """The module from raw tiles to scores by class; ``checkpoint`` adds nothing, values are scaled to 0..1."""
    return DeformationMask(network).eval()
