"""CAB-HL as a package runs it: raw bands and LiDAR heights in, class probabilities of the centre pixel out."""

from __future__ import annotations

import copy

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import Checkpoint
from .cab_hl import CABHL, fold


class LandCover(nn.Module):
    """(n, bands, s, s) float32 as the sensors give them in, (n, classes) probabilities out.

    The principal components are the graph's first 1 x 1 convolution, normalisations are folded, and 3-D convolutions
    are 2-D ones.
    """

    def __init__(self, network: CABHL) -> None:
        super().__init__()
        self.network = fold(copy.deepcopy(network))

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        return torch.softmax(self.network(tiles), dim=1)


def deploy(network: CABHL, checkpoint: Checkpoint) -> nn.Module:
    """The module from raw tiles to probabilities; ``checkpoint`` adds nothing, the components are in the network."""
    return LandCover(network).eval()
