"""SSA-Net as a package runs it: six uint8 bands in, reference before new, two scores a pixel out."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import Checkpoint
from .ssa_net import SSANet


class ChangeMask(nn.Module):
    """(n, 6, edge, edge) uint8 in, (n, 2, edge, edge) probabilities of no change and of change out."""

    def __init__(self, network: SSANet) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        changed = torch.sigmoid(self.network(tiles.float() / 255.0))
        return torch.cat([1.0 - changed, changed], dim=1)


def deploy(network: SSANet, checkpoint: Checkpoint) -> nn.Module:
    """The module from raw tiles to scores by class; ``checkpoint`` adds nothing, values are scaled to 0..1."""
    return ChangeMask(network).eval()
