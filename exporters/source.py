"""The source of an export's proof: a checkpoint as the module that maps raw tiles to the package's answer."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import graph
from .checkpoint import Checkpoint
from .errors import ExportError
from .fold import fold_scale, with_offset
from .records import OutputSpec
from .registry import PUBLISHED, is_own, network_named, zoo_function
from .settings import ExportSettings

if TYPE_CHECKING:
    from torch import nn

_FULL_SCALE = 255.0
ANSWERS = "answers"
"""Name of an output that is no probabilities."""


def deploy_of(checkpoint: Checkpoint) -> str | None:
    """The deploy function of the checkpoint's entry, ``module:function``; None for the usual head."""
    return None if is_own(checkpoint.network) else network_named(checkpoint.network).deploy


def trained_network(checkpoint: Checkpoint) -> nn.Module:
    """From raw tiles to answers, with the weights as they were trained."""
    network = checkpoint.build()
    return _deployed(network, checkpoint) or _with_usual_head(network, checkpoint)


def deployed_network(checkpoint: Checkpoint, weights_dtype: str) -> nn.Module:
    """The same with batch norms fused and weights rounded to what is stored."""
    if weights_dtype not in ("float16", "float32"):
        raise ExportError(f"Weights cannot be stored as {weights_dtype!r}. Use 'float16' or 'float32'.")
    network = checkpoint.build()
    deployed = _deployed(network, checkpoint)
    if deployed is not None:
        return _rounded(_fused(deployed, checkpoint), weights_dtype)
    fused = graph.fuse_batch_norms(network)
    folded = None
    if checkpoint.dtype == "uint8" and checkpoint.kind == "probabilities":  # others would leave the range of float16
        folded = fold_scale(fused, [1.0 / (_FULL_SCALE * deviation) for deviation in checkpoint.std])
    if folded is not None:
        return with_offset(_rounded(folded, weights_dtype), checkpoint.mean, full_scale=_FULL_SCALE)
    return _with_usual_head(_rounded(fused, weights_dtype), checkpoint)


def _deployed(network: nn.Module, checkpoint: Checkpoint) -> nn.Module | None:
    """What the entry's deploy function, or a method ``deploy(checkpoint)`` of one's own network, makes; else None."""
    path = deploy_of(checkpoint)
    own: Any = getattr(network, "deploy", None) if is_own(checkpoint.network) else None
    if path is None and own is None:
        return None
    shipped: nn.Module = own(checkpoint) if path is None else zoo_function("zoo", path)(network, checkpoint)
    return shipped.eval()


def _rounded(network: nn.Module, weights_dtype: str) -> nn.Module:
    return graph.round_weights(network) if weights_dtype == "float16" else network


def _with_usual_head(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    if checkpoint.kind != "probabilities":
        raise ExportError(f"{checkpoint.network} answers {checkpoint.kind!r} and has no deploy function. Add one.")
    full_scale = _FULL_SCALE if checkpoint.dtype == "uint8" else 1.0
    return graph.with_normalisation(network, checkpoint.mean, checkpoint.std, full_scale=full_scale)


def _fused(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """The network with its batch norms fused where that changes nothing; as it is where its code cannot be followed."""
    import torch

    tiles = example_tiles(checkpoint, 2)
    try:
        fused = graph.fuse_batch_norms(network)
        with torch.inference_mode():
            same = torch.allclose(fused(tiles), network(tiles), rtol=1e-3, atol=1e-3)
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return copy.deepcopy(network)  # what symbolic tracing raises where code depends on shapes or values
    return fused if same else copy.deepcopy(network)


def example_tiles(checkpoint: Checkpoint, count: int) -> Any:
    """Random tiles of the checkpoint's bands, size and range."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shape = (count, len(checkpoint.mean), checkpoint.edge_px, checkpoint.edge_px)
    if checkpoint.dtype == "uint8":
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (checkpoint.mean, checkpoint.std))
    return torch.randn(shape, generator=generator) * std + mean


def output_spec(checkpoint: Checkpoint, answers: NDArray[np.float32]) -> OutputSpec:
    """What the package answers, from the source's answers to real tiles; ExportError where they are not of its kind."""
    kind, edge, tile = checkpoint.kind, checkpoint.edge_px, answers.shape[1:]
    wanted: dict[str, bool] = {
        "probabilities": tile == (len(checkpoint.classes),),
        "boxes": len(tile) == 2 and tile[1] == 6,
        "image": tile == (len(checkpoint.bands), edge, edge),
        "mask": tile == (len(checkpoint.classes), edge, edge),
        "map": len(tile) == 3 and tile[1:] == (edge, edge),
        "embedding": len(tile) == 1,
    }
    if not wanted.get(kind, False):
        raise ExportError(
            f"{checkpoint.network} answers {tile} a tile, which is no {kind!r} for {len(checkpoint.classes)} classes, "
            f"{len(checkpoint.bands)} bands and {edge} px. Correct its deploy function or its classes."
        )
    if not np.isfinite(answers).all():
        raise ExportError(f"{checkpoint.network} answers values that are no number to real tiles. Train it again.")
    norms = {"probabilities": answers.sum(1), "embedding": np.linalg.norm(answers, axis=1)} if answers.ndim == 2 else {}
    if kind in norms and not np.allclose(norms[kind], 1.0, atol=1e-3):
        raise ExportError(f"{checkpoint.network} answers {kind} of length {norms[kind][:3]}, not 1. Normalise them.")
    name = graph.OUTPUT if kind == "probabilities" else ANSWERS
    return OutputSpec(
        name=name, kind=kind, unit=checkpoint.unit, channels=tile[0] if kind in ("map", "embedding") else 1
    )


def onnx_of(source: nn.Module, checkpoint: Checkpoint, settings: ExportSettings) -> bytes:
    """The graph of a deployed network, with its weights as they are stored and its description inside."""
    told = settings.resolved(checkpoint)
    name = graph.OUTPUT if checkpoint.kind == "probabilities" else ANSWERS
    bands, edge = len(checkpoint.mean), checkpoint.edge_px
    model = graph.simplify(graph.trace(source, edge_px=edge, bands=bands, dtype=checkpoint.dtype, output=name))
    if told.weights_dtype == "float16":
        model = graph.store_weights_as_half(model)
    properties = {
        "id": package_id(checkpoint, told),
        "version": str(told.version),
        "network": checkpoint.network,
        "task": task_of(checkpoint),
        "classes": json.dumps(checkpoint.classes),
        "bands": json.dumps(told.bands),
        "weights_dtype": told.weights_dtype,
        "licence": told.licence,
        "torch": metadata.version("torch"),
    }
    return graph.serialise(graph.with_metadata(model, properties))


def task_of(checkpoint: Checkpoint) -> str:
    """What the entry calls its task; classification for a network of one's own."""
    return "classification" if is_own(checkpoint.network) else network_named(checkpoint.network).task


def package_id(checkpoint: Checkpoint, settings: ExportSettings) -> str:
    """The given id, or one made of the data set (EuroSAT's classifiers), the network and its size."""
    if settings.id:
        return settings.id
    name = re.sub(r"[^a-z0-9]+", "-", checkpoint.network.lower())
    size = "" if checkpoint.size == PUBLISHED else f"-{checkpoint.size}"
    of_eurosat = deploy_of(checkpoint) is None and (
        not checkpoint.dataset or checkpoint.dataset.lower().startswith("eurosat")
    )
    return f"eurosat-{name}{size}" if of_eurosat else f"{name}{size}"


def weights_sha256(checkpoint: Checkpoint) -> str:
    """The hash of the weights by name, whatever file they came in."""
    digest = hashlib.sha256()
    for name in sorted(checkpoint.state_dict):
        digest.update(name.encode())
        digest.update(checkpoint.state_dict[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def companions_of(checkpoint: Checkpoint) -> dict[Any, bytes]:
    """Further files of the package: what ``companions(network, checkpoint)`` beside the deploy function makes."""
    deploy = deploy_of(checkpoint)
    if deploy is None:
        return {}
    try:
        make = zoo_function("zoo", f"{deploy.partition(':')[0]}:companions")
    except AttributeError:
        return {}
    made: dict[Any, bytes] = dict(make(checkpoint.build(), checkpoint))
    return made
