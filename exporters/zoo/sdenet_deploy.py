"""SDENet as a package runs it: raw bands in, one anomaly score a pixel out.

The covariance is inverted once, in float64, when the scene has been fitted; the graph holds the result as a 1 x 1
convolution. One covariance for all tiles also keeps scores of different tiles comparable.
"""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import Checkpoint
from .sdenet import SDENet


class AnomalyScore(nn.Module):
    """(n, bands, edge, edge) float32 in the sensor's units in, (n, 1, edge, edge) scores >= 0 out."""

    def __init__(self, network: SDENet, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1))

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        return self.network.score((tiles.float() - self.mean) / self.std)


def deploy(network: SDENet, checkpoint: Checkpoint) -> nn.Module:
    """The module from raw tiles to scores."""
    return AnomalyScore(network, checkpoint.mean, checkpoint.std).eval()
