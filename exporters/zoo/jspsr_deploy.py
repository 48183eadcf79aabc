"""JSPSR as a package runs it: heights in metres and guides in, heights in metres out, all scaling inside in float32.

The lowest height of the tile takes the place of the published base, that of a whole coarse tile, which one graph cannot
see. A tile that cannot be refined is answered with NaN, which the runtime counts as failed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import Checkpoint
from .jspsr import JSPSR
from .jspsr_scaling import scaled, unscaled

LOWEST_M, HIGHEST_M = -500.0, 9000.0
"""What lies beyond is no height on Earth but a value for "no data" that nobody declared."""
FEWEST_KNOWN_FRAC = 0.5
_FAR_M = 1e9


class TerrainMap(nn.Module):
    """(n, 1 + guides, edge, edge) float32, heights in m first, in; (n, 1, edge, edge) float32 terrain heights out.

    Missing heights (NaN) are taken to lie at the mean of the others, missing guides at 0. ``scales``: what guides are
    divided by. The whole tile is NaN where under half of its heights are known, where they span more than the network
    knows, or where one is below -500 m or above 9,000 m.
    """

    def __init__(self, network: JSPSR, scales: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.scales: Tensor
        self.register_buffer("scales", torch.tensor(list(scales), dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        net = self.network
        given = tiles[:, :1].float()
        known = given == given
        count = known.float().sum((2, 3), keepdim=True)
        zeros = torch.zeros_like(given)
        base = torch.where(known, given, zeros + _FAR_M).amin((2, 3), keepdim=True)
        top = torch.where(known, given, zeros - _FAR_M).amax((2, 3), keepdim=True)
        mean = (torch.where(known, given - base, zeros).sum((2, 3), keepdim=True)) / count.clamp(min=1.0)
        height = torch.where(known, given - base, zeros + mean).clamp(0.0, net.high_m)
        share = scaled(height, scaling=net.scaling, low_m=net.low_m, high_m=net.high_m)
        found = net(torch.cat([share, self._guides(tiles[:, 1:].float())], dim=1)).float().clamp(0.0, 1.0)
        terrain = unscaled(found, scaling=net.scaling, low_m=net.low_m, high_m=net.high_m) + base
        enough = count >= FEWEST_KNOWN_FRAC * given.shape[2] * given.shape[3]
        sound = enough & (top - base <= net.high_m) & (base >= LOWEST_M) & (top <= HIGHEST_M)
        return torch.where(sound, terrain, torch.full_like(terrain, float("nan")))

    def _guides(self, guides: Tensor) -> Tensor:
        if not self.network.guides:
            return guides
        return torch.where(guides == guides, guides, torch.zeros_like(guides)) / self.scales


def deploy(network: JSPSR, checkpoint: Checkpoint) -> nn.Module:
    """The module from raw tiles to terrain; guides are scaled by the checkpoint's deviations."""
    return TerrainMap(network, checkpoint.std[1:]).eval()
