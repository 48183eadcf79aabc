"""Checkpoints: weights of a zoo network together with what is needed to build it and to feed it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError
from .registry import PUBLISHED, build_network

if TYPE_CHECKING:
    from torch import Tensor, nn

SCHEMA = 2
_OLDEST = 1
RGB = ("red", "green", "blue")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Checkpoint:
    """Trained weights of one network, with what they are fed and what they may be used for."""

    network: str
    size: str = PUBLISHED
    switches: dict[str, Any]
    """What ``build_network`` is told besides the size. JSON values only, as in ``notes``."""
    kind: str = "probabilities"
    """Of the package's output."""
    classes: tuple[str, ...]
    bands: tuple[str, ...] = RGB
    edge_px: int
    mean: tuple[float, ...]
    """Per band: in units of uint8 / 255, or for float32 tiles in their own units."""
    std: tuple[float, ...]
    dtype: str = "uint8"
    """Of the tiles: ``uint8`` or ``float32``."""
    unit: str = ""
    """Of what a map answers."""
    gsd_range_m: tuple[float, float] = (8.0, 12.0)
    dataset: str = ""
    """What it learned from."""
    licence: str = ""
    """SPDX identifier of the weights."""
    state_dict: dict[str, Tensor]
    notes: dict[str, Any]
    """How the weights came to be: course, training, epoch, figures."""

    def build(self) -> nn.Module:
        """The network with these weights, in evaluation mode."""
        network = build_network(self.network, size=self.size, **self.switches)
        load_weights(network, self.state_dict, what=f"The checkpoint of {self.network}")
        return network.eval()


def load_weights(network: nn.Module, state_dict: Mapping[str, Tensor], *, what: str) -> None:
    """Load weights that must fit exactly; CheckpointError names the first keys or shapes that do not."""
    own = network.state_dict()
    missing, extra = sorted(own.keys() - state_dict.keys()), sorted(state_dict.keys() - own.keys())
    if missing or extra:
        raise CheckpointError(
            f"{what} does not fit {type(network).__name__}: it lacks {missing[:3]} ({len(missing)} keys) and has "
            f"{extra[:3]} ({len(extra)} keys) that the network does not know. Name the network it was trained as."
        )
    for key, tensor in own.items():
        if tensor.shape != state_dict[key].shape:
            raise CheckpointError(
                f"{what} does not fit {type(network).__name__}: {key} has shape {tuple(state_dict[key].shape)}, "
                f"the network needs {tuple(tensor.shape)}. Check the number of classes."
            )
    network.load_state_dict(dict(state_dict))


def save_checkpoint(path: Path, checkpoint: Checkpoint, training: Mapping[str, Any] | None = None) -> None:
    """Write atomically; ``training`` is what a resumed run needs besides the weights."""
    stored = {field: getattr(checkpoint, field) for field in Checkpoint.__slots__}
    write_torch(path, {"schema": SCHEMA, **stored, "training": None if training is None else dict(training)})


def is_checkpoint(stored: Mapping[str, Any]) -> bool:
    """Whether what ``read_torch`` read is a checkpoint of ours, of this schema or an older one."""
    schema = stored.get("schema")
    return isinstance(schema, int) and _OLDEST <= schema <= SCHEMA


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that ``save_checkpoint`` wrote, now or as schema 1."""
    stored = read_torch(path)
    if not is_checkpoint(stored):
        raise CheckpointError(
            f"{path} is not a checkpoint of this program: its schema is {stored.get('schema')!r}, {SCHEMA} is needed. "
            "Bare state dicts are read by read_state_dict."
        )
    if stored["schema"] == _OLDEST and {"classes", "stem_stride"} <= stored.keys():
        stored["switches"] = {"classes": len(stored["classes"]), "stem_stride": stored["stem_stride"]}
    needed = {field.name for field in fields(Checkpoint) if field.default is MISSING}
    if missing := sorted(needed - stored.keys()):
        raise CheckpointError(f"{path} lacks {missing}. Train it anew with: subsolar fit NETWORK.")
    values = {field: stored[field] for field in Checkpoint.__slots__ if field in stored}
    for field in {"classes", "bands", "mean", "std", "gsd_range_m"} & values.keys():
        values[field] = tuple(values[field])
    return Checkpoint(**values)


def write_torch(path: Path, stored: Mapping[str, Any]) -> None:
    """Write a file for ``read_torch``, whole or not at all."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    torch.save(dict(stored), partial)
    partial.replace(path)


def read_torch(path: Path) -> dict[str, Any]:
    """Read tensors and plain values; nothing in the file is executed."""
    import torch

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint at {path}. Train one with: subsolar fit NETWORK.") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {reason}. Copy or train it anew.") from error
    if not isinstance(stored, dict):
        raise CheckpointError(f"{path} holds a {type(stored).__name__}, not a dict. Save a state dict instead.")
    return stored


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Weights from a checkpoint of ours, or from a bare state dict (torchvision's key names)."""
    stored = read_torch(path)
    weights = stored.get("state_dict", stored)
    return {str(key): value for key, value in weights.items()}
