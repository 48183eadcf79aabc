"""The encoder as it flies: raw tiles to unit vectors, and beside the graph how sure a similarity is."""

from __future__ import annotations

import json

from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import Checkpoint
from .acf_deploy import Prepared
from .companions import fused
from .geo_encoder import MAX_SCALE, DinoV2, GeoEncoder

LOCATE = "locate.json"


class PlaceEmbedding(nn.Module):
    """(n, 3, edge, edge) uint8 in, (n, dim) of length 1 out."""

    def __init__(self, network: GeoEncoder, prepared: Prepared) -> None:
        super().__init__()
        self.prepared, self.network = prepared, network

    def forward(self, tiles: Tensor) -> Tensor:
        """The vector of each tile."""
        out: Tensor = self.network(self.prepared(tiles))
        return out


def deploy(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """From raw tiles to the vectors of a gallery."""
    whole = fused(PlaceEmbedding(_encoder(network), Prepared(checkpoint.mean, checkpoint.std)))
    for part in whole.modules():
        if isinstance(part, DinoV2):
            part.freeze_table()
    return whole


def companions(network: nn.Module, checkpoint: Checkpoint) -> dict[str, bytes]:
    """``locate.json``: the learnt temperature of similarities, and the ground that a tile covers."""
    scale = float(_encoder(network).log_scale.detach().exp().clamp(max=MAX_SCALE))
    notes = checkpoint.notes
    told = {"temperature": 1.0 / scale, "tile_m": notes.get("tile_m"), "edge_px": checkpoint.edge_px}
    return {LOCATE: json.dumps(told).encode()}


def _encoder(network: nn.Module) -> GeoEncoder:
    if not isinstance(network, GeoEncoder):
        raise TypeError(f"{type(network).__name__} is no GeoEncoder")
    return network
