"""What is to be exported, whatever it came from: a checkpoint, a bare state dict, one's own module, an ONNX file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checkpoint import RGB, Checkpoint, is_checkpoint, load_checkpoint, read_torch
from .datasets import Chips
from .errors import CheckpointError, ExportError
from .file_hash import sha256_of
from .foreign import Feed, read_foreign, wrap
from .registry import build_network, is_own, network_named

if TYPE_CHECKING:
    from onnx import ModelProto

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What torchvision's and most of timm's weights were trained with."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """A wrapped foreign graph: float32 arithmetic as it came, uint8 tiles in."""

    name: str
    model: ModelProto
    kind: str
    classes: tuple[str, ...]
    edge_px: int
    max_batch: int
    sha256: str


def open_source(
    source: str,
    chips: Chips,
    *,
    network: str | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    stem_stride: int = 2,
    head: str = "logits",
    classes: Sequence[str] | None = None,
) -> Checkpoint | Foreign:
    """What ``source`` names: an ``.onnx`` file, a checkpoint of ours, a state dict (``network`` says of what), or a
    module ``package.module:Name`` with the weights it makes itself.

    ``mean``, ``std`` and ``stem_stride`` are used for what does not say its own; tiles are those of
    ``chips``, and so are the classes where it has any. Raises CheckpointError or ExportError saying what does not fit.
    """
    path, names = Path(source), tuple(classes or chips.classes)
    if chips.classes and len(names) != len(chips.classes) and head in ("logits", "probabilities"):
        raise ExportError(
            f"{len(names)} classes were named, {names[:3]}..., the data has {len(chips.classes)}. "
            "Leave --classes out: the data names its own."
        )
    if path.suffix == ".onnx":
        return _foreign(path, chips, head, names, Feed(mean=tuple(mean), std=tuple(std)))
    if path.is_file():
        stored = read_torch(path)
        if is_checkpoint(stored):
            return _named_as(load_checkpoint(path), path, network)
        weights = {str(key): value for key, value in stored.get("state_dict", stored).items()}
        if network is None:
            raise CheckpointError(f"{path} is a bare state dict. Say of which network: --network resnet18.")
        return _bare(
            network, weights, chips, names, mean, std, stem_stride, {"weights": path.name, "sha256": sha256_of(path)}
        )
    if ":" in source:
        made = build_network(source, classes=len(names), stem_stride=stem_stride)
        notes = {"weights": "made by the module"}
        return _bare(source, made.state_dict(), chips, names, mean, std, stem_stride, notes)
    raise CheckpointError(_nothing_at(source))


def refuse_mix_up(source: str, network: str | None) -> None:
    """CheckpointError if ``source`` is nothing, or a checkpoint of another network than ``network``, ExporterError if
    it is a bare state dict and the zoo does not know ``network``; cheap."""
    path = Path(source)
    if not path.is_file() and ":" not in source:
        raise CheckpointError(_nothing_at(source))
    if network is None or path.suffix == ".onnx" or not path.is_file():
        return
    stored = read_torch(path)
    if is_checkpoint(stored):
        _named_as(load_checkpoint(path), path, network)
    elif not is_own(network):
        network_named(network)


def _nothing_at(source: str) -> str:
    return f"There is no {source}. Give a checkpoint, a state dict with --network, an .onnx file, or module:Name."


def _named_as(stored: Checkpoint, path: Path, network: str | None) -> Checkpoint:
    if network is not None and network != stored.network:
        raise CheckpointError(f"{path} holds {stored.network}, not {network}. Name the network it was trained as.")
    return stored


def _bare(
    network: str,
    weights: dict[str, Any],
    chips: Chips,
    classes: tuple[str, ...],
    mean: Sequence[float],
    std: Sequence[float],
    stem_stride: int,
    notes: dict[str, Any],
) -> Checkpoint:
    bands, edge = chips.pixels.shape[1], chips.pixels.shape[2]
    if len(mean) != bands or len(std) != bands:
        raise ExportError(f"The chips have {bands} bands; mean has {len(mean)}, std {len(std)}. Give one value a band.")
    checkpoint = Checkpoint(
        network=network,
        switches={"classes": len(classes), "stem_stride": stem_stride},
        classes=classes,
        bands=RGB if bands == len(RGB) else tuple(f"band_{number}" for number in range(1, bands + 1)),
        edge_px=edge,
        mean=tuple(mean),
        std=tuple(std),
        state_dict=weights,
        notes=notes,
    )
    checkpoint.build()  # what does not fit says so here
    return checkpoint


def _foreign(path: Path, chips: Chips, head: str, classes: tuple[str, ...], feed: Feed) -> Foreign:
    from .onnx_cpu import inferrer

    model = read_foreign(path)
    edge = chips.pixels.shape[2]
    if len(feed.mean) != chips.pixels.shape[1]:
        raise ExportError(
            f"The tiles have {chips.pixels.shape[1]} bands; mean and std have {len(feed.mean)}. Give one a band."
        )
    wrapped = wrap(model, head=head, edge_px=edge, feed=feed)
    fixed = wrapped.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    kind = {"logits": "probabilities", "yolo": "boxes"}.get(head, head)
    answers = inferrer(wrapped.SerializeToString(), batch=fixed or 2)(chips.pixels[: fixed or 2])
    _check_answers(path, kind, answers, classes, edge, chips.pixels.shape[1])
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "model"
    return Foreign(name, wrapped, kind, classes, edge, fixed or 256, sha256_of(path))


def _check_answers(path: Path, kind: str, answers: Any, classes: tuple[str, ...], edge: int, bands: int) -> None:
    wanted: dict[str, tuple[int, ...]] = {
        "probabilities": (len(classes),),
        "image": (bands, edge, edge),
        "mask": (len(classes), edge, edge),
    }
    if kind == "boxes":
        if answers.ndim != 3 or answers.shape[2] != 6:
            raise ExportError(f"{path} answers {answers.shape} as boxes; (n, boxes, 6) is needed. Choose another head.")
        return
    if answers.shape[1:] != wanted[kind]:
        raise ExportError(
            f"{path} answers {answers.shape[1:]} a tile, {wanted[kind]} is needed for {len(classes)} classes "
            f"{classes[:3]}... Check the class list and the head."
        )
    if kind == "probabilities" and not np.allclose(answers.sum(1), 1.0, atol=1e-3):
        raise ExportError(f"{path} answers no probabilities: rows sum to {answers.sum(1)[:3]}. Use the head 'logits'.")
