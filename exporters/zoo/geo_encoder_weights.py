"""DINOv2 weights from a user's file, by the layer names of their release. Nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn  # noqa: TID253

from ..checkpoint import read_torch
from ..errors import CheckpointError
from .geo_encoder import VIT, DinoV2, GeoEncoder

_PREFIXES = ("", "backbone.", "module.", "model.", "teacher.backbone.")


def backbone_of(state: Mapping[str, Any]) -> str:
    """Which of the backbones a state dict is of: by the width and number of its blocks. CheckpointError if of none."""
    plain = plain_state(state)
    width = int(plain["pos_embed"].shape[-1])
    depth = 1 + max((int(key.split(".")[1]) for key in plain if key.startswith("blocks.")), default=-1)
    if any(key.startswith("register_tokens") for key in plain):
        raise CheckpointError("The weights are of DINOv2 with registers. Use the release without them.")
    for name, (known, blocks, _) in VIT.items():
        if (known, blocks) == (width, depth):
            return name
    raise CheckpointError(
        f"The weights have {depth} blocks of {width}, no ViT that is known here. Use DINOv2 ViT-S/14 or ViT-B/14."
    )


def plain_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The backbone's own tensors under the release's names, whatever they were wrapped in."""
    for wrapper in ("state_dict", "model", "teacher"):
        if isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    for prefix in _PREFIXES:
        if f"{prefix}pos_embed" in state:
            found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            return {key: value for key, value in found.items() if isinstance(value, Tensor)}
    raise CheckpointError(f"The weights have no pos_embed among {sorted(state)[:3]} …: they are not of DINOv2.")


def load_dinov2(network: nn.Module, path: Path) -> nn.Module:
    """Fill the backbone of a ``GeoEncoder`` with released weights. Raises ``CheckpointError`` naming what does not fit.

    The position table must be the released one, of 518 px; it is interpolated to the network's own size when used.
    """
    if not isinstance(network, GeoEncoder) or not isinstance(network.backbone, DinoV2):
        raise CheckpointError(f"{type(network).__name__} has no DINOv2 backbone. Build geo_encoder with size uav.")
    loaded = read_torch(path)
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not named weights. Save a state dict.")
    state, own = plain_state(loaded), network.backbone.state_dict()
    backbone_of(loaded)
    missing = sorted(own.keys() - state.keys())
    wrong = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if missing or wrong:
        what = f"lacks {missing[0]}" if missing else f"has {sorted(wrong)[0]} {tuple(state[sorted(wrong)[0]].shape)}"
        raise CheckpointError(
            f"{path} {what}; the network's backbone is another. Build it with the size of the weights."
        )
    network.backbone.load_state_dict({key: state[key] for key in own})
    return network
