"""CM-CR as it ships: one evaluation of the network. Loop, paste and noise stay on the host (``cm_cr_sampler``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..errors import ExportError
from .cm_cr import CMCR, OPTICAL, RADAR
from .cm_cr_sampler import VH_DB, VV_DB

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint


class OneStep(nn.Module):
    """(n, 6, e, e) float32 to (n, 3, e, e), the clear image in -1..1.

    In: the noisy image, scaled as the network has it; VV and VH in dB; the noise level, the same at every pixel.
    """

    def __init__(self, network: CMCR) -> None:
        super().__init__()
        self.network = network
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.tensor([VV_DB[0], VH_DB[0]])[:, None, None])
        self.register_buffer("high", torch.tensor([VV_DB[1], VH_DB[1]])[:, None, None])

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class."""
        sar = torch.minimum(torch.maximum(tiles[:, OPTICAL : OPTICAL + RADAR], self.low), self.high)
        sar = 2.0 * (sar - self.low) / (self.high - self.low) - 1.0
        return self.network(tiles[:, :OPTICAL], tiles[:, -1, 0, 0], sar)  # type: ignore[no-any-return]


def deploy(network: CMCR, checkpoint: Checkpoint) -> nn.Module:
    """The graph of one step; ExportError for a teacher, or tiles that the network cannot halve often enough."""
    if network.eps_t == 0.0:
        raise ExportError("This checkpoint is CM-CR's teacher, which is no sampler. Distil it: --set stage=student.")
    if checkpoint.edge_px % network.multiple_px:
        raise ExportError(
            f"Tiles of {checkpoint.edge_px} px do not fit this CM-CR. Use a multiple of {network.multiple_px}."
        )
    return OneStep(network).eval()
