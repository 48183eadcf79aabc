"""From a checkpoint to a signed package: fuse, round, trace, simplify, prove, profile, sign, in this order."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import graph
from .checkpoint import Checkpoint, load_checkpoint
from .datasets import Chips, read_chips
from .errors import CheckpointError, ExportError
from .keys import key_id
from .measure import ACTIVE_POWER_W, BATCHES, accuracy_on, profile_on_cpu
from .onnx_cpu import Infer, inferrer, version
from .package import Golden, ModelPackage, load_package, write_package
from .prove import MIN_TILES, ROUNDED_WEIGHTS, SAME_WEIGHTS, prove, torch_answers
from .records import Accuracy, InputSpec, OutputSpec, PackageInfo, Profile, Proof, Thresholds, check_envelope
from .registry import title_of
from .stac import stac_item

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from torch import nn

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What an export needs to be told besides the checkpoint and the chips."""

    id: str | None = None
    """Name of the package; None derives it from the data set and the network."""
    version: int = 1
    weights_dtype: str = "float16"
    """``float16`` halves the file; arithmetic stays in float32. ``float32`` stores the weights as trained."""
    bands: tuple[str, ...] = ("red", "green", "blue")
    gsd_range_m: tuple[float, float] = (8.0, 12.0)
    min_score: float = 0.5
    licence: str = "Apache-2.0"
    training_data: str = (
        "EuroSAT RGB subset, 6,000 train chips (MIT; modified Copernicus Sentinel data); "
        "Helber et al., IEEE JSTARS 12(7), 2019"
    )
    active_power_w: float = ACTIVE_POWER_W
    batches: Sequence[int] = BATCHES
    repeats: int = 30
    golden_per_class: int = 2
    golden_tolerance_abs: float = 1e-3
    proof_tiles: int = MIN_TILES


def export_network(
    name: str | None,
    checkpoint: Path,
    out: Path,
    dataset: Path,
    key: Ed25519PrivateKey | None,
    *,
    settings: ExportSettings | None = None,
    replace_existing: bool = False,
    progress: Progress = lambda line: None,
) -> ModelPackage:
    """Export the checkpoint of a zoo network as the package folder ``out``, proven on the test chips of ``dataset``.

    ``name`` guards against a mix-up: it must be the network of the checkpoint (None: take the checkpoint's word).
    Raises CheckpointError, DatasetError, ExportError (no proof) or PackageError; nothing is written then.
    """
    stored = load_checkpoint(checkpoint)
    if name is not None and name != stored.network:
        raise CheckpointError(f"{checkpoint} holds {stored.network}, not {name}. Name the network it was trained as.")
    test = read_chips(dataset, "test")
    return export_checkpoint(
        stored, test, out, key, settings=settings, replace_existing=replace_existing, progress=progress
    )


def export_checkpoint(
    checkpoint: Checkpoint,
    test: Chips,
    out: Path,
    key: Ed25519PrivateKey | None,
    *,
    settings: ExportSettings | None = None,
    replace_existing: bool = False,
    progress: Progress = lambda line: None,
) -> ModelPackage:
    """Export weights that are in memory; see ``export_network``."""
    settings = settings or ExportSettings()
    _check_fit(checkpoint, test, settings)
    progress("1/5 fusing and tracing (5 to 20 s)")
    source = deployed_network(checkpoint, settings.weights_dtype)
    model = onnx_of(source, checkpoint, settings)
    progress(f"2/5 proving on {len(test)} tiles")
    infer = inferrer(model)
    proofs = prove_export(checkpoint, source, infer(test.pixels), test, min_tiles=settings.proof_tiles)
    progress(f"3/5 measuring accuracy (worst difference {proofs[-1].max_abs_diff:.2g})")
    accuracy = accuracy_on(infer, test)
    progress(f"4/5 measuring time ({100 * accuracy.value:.1f} % top-1)")
    entries = profile_on_cpu(
        model,
        test.pixels,
        precision="float32",
        batches=settings.batches,
        repeats=settings.repeats,
        active_power_w=settings.active_power_w,
        progress=progress,
    )
    profile = Profile(accuracy=accuracy, measurements=entries)
    check_envelope(profile)
    progress(f"5/5 writing {out}")
    golden = golden_tiles(test, infer, per_class=settings.golden_per_class, tolerance_abs=settings.golden_tolerance_abs)
    info = describe(checkpoint, accuracy, proofs, settings)
    write_package(out, onnx=model, info=info, profile=profile, golden=golden, key=key, replace=replace_existing)
    trust = {} if key is None else {key_id(key.public_key()): key.public_key()}
    return load_package(out, trust=trust, allow_unsigned=key is None)


def prove_export(
    checkpoint: Checkpoint, source: nn.Module, answers: NDArray[np.float32], test: Chips, *, min_tiles: int
) -> tuple[Proof, ...]:
    """As trained against the source of the graph (rounding), and that source against the graph (parity)."""
    trained = graph.with_normalisation(checkpoint.build(), checkpoint.mean, checkpoint.std)
    trained_answers, source_answers = (torch_answers(network, test.pixels) for network in (trained, source))
    names = ("pytorch as trained", "pytorch as stored", f"onnxruntime {version()} cpu")
    return (
        prove(trained_answers, source_answers, names=names[:2], bar=ROUNDED_WEIGHTS, min_tiles=min_tiles),
        prove(source_answers, answers, names=names[1:], bar=SAME_WEIGHTS, min_tiles=min_tiles),
    )


def deployed_network(checkpoint: Checkpoint, weights_dtype: str) -> nn.Module:
    """The source of the proof: batch norms fused, weights rounded to what is stored, normalisation inside."""
    fused = graph.fuse_batch_norms(checkpoint.build())
    if weights_dtype == "float16":
        fused = graph.round_weights(fused)
    elif weights_dtype != "float32":
        raise ExportError(f"Weights cannot be stored as {weights_dtype!r}. Use 'float16' or 'float32'.")
    return graph.with_normalisation(fused, checkpoint.mean, checkpoint.std)


def onnx_of(source: nn.Module, checkpoint: Checkpoint, settings: ExportSettings) -> bytes:
    """The graph of a deployed network, with its weights as they are stored and its description inside."""
    model = graph.simplify(graph.trace(source, edge_px=checkpoint.edge_px, bands=len(checkpoint.mean)))
    if settings.weights_dtype == "float16":
        model = graph.store_weights_as_half(model)
    properties = {
        "id": package_id(checkpoint, settings),
        "version": str(settings.version),
        "network": checkpoint.network,
        "task": "classification",
        "classes": json.dumps(checkpoint.classes),
        "bands": json.dumps(settings.bands),
        "weights_dtype": settings.weights_dtype,
        "licence": settings.licence,
        "torch": metadata.version("torch"),
    }
    return graph.serialise(graph.with_metadata(model, properties))


def package_id(checkpoint: Checkpoint, settings: ExportSettings) -> str:
    """The given id, or one made of the data set and the network."""
    return settings.id or "eurosat-" + re.sub(r"[^a-z0-9]+", "-", checkpoint.network.lower())


def golden_tiles(test: Chips, infer: Infer, *, per_class: int, tolerance_abs: float) -> Golden:
    """The first chips of each class with the answers of the graph that ships."""
    index = np.concatenate([np.flatnonzero(test.labels == label)[:per_class] for label in range(len(test.classes))])
    tiles = test.pixels[index]
    return Golden(tiles, infer(tiles), tolerance_abs)


def describe(
    checkpoint: Checkpoint, accuracy: Accuracy, proofs: tuple[Proof, ...], settings: ExportSettings
) -> PackageInfo:
    """The content of ``package.json``."""
    network = checkpoint.build()
    info = PackageInfo(
        id=package_id(checkpoint, settings),
        version=settings.version,
        title=title_of(checkpoint.network),
        task="classification",
        network=checkpoint.network,
        params=sum(parameter.numel() for parameter in network.parameters()),
        gmacs=graph.count_macs(network, edge_px=checkpoint.edge_px, bands=len(checkpoint.mean)) / 1e9,
        precision="float32",
        weights_dtype=settings.weights_dtype,
        gsd_range_m=settings.gsd_range_m,
        classes=checkpoint.classes,
        input=InputSpec(name=graph.INPUT, tile_edge_px=checkpoint.edge_px, bands=settings.bands),
        output=OutputSpec(name=graph.OUTPUT),
        thresholds=Thresholds(min_score=settings.min_score),
        licence=settings.licence,
        training_data=settings.training_data,
        training={**checkpoint.notes, "stem_stride": checkpoint.stem_stride},
        created_by=_versions(),
        proofs=proofs,
    )
    return replace(info, stac=stac_item(info, accuracy, framework_version=info.created_by["onnx"]))


def _versions() -> dict[str, str]:
    names = ("torch", "onnx", "onnxscript", "onnxslim", "onnxruntime", "numpy")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def _check_fit(checkpoint: Checkpoint, test: Chips, settings: ExportSettings) -> None:
    if test.classes != checkpoint.classes:
        raise ExportError(
            f"The test chips know {len(test.classes)} classes {test.classes}, the checkpoint "
            f"{len(checkpoint.classes)} {checkpoint.classes}. Use the data set it was trained on."
        )
    shape = (len(checkpoint.mean), checkpoint.edge_px, checkpoint.edge_px)
    if test.pixels.shape[1:] != shape or len(settings.bands) != shape[0]:
        raise ExportError(
            f"The test chips are {test.pixels.shape[1:]} with bands {settings.bands}, the checkpoint needs {shape}. "
            "Use chips of that size and name its bands."
        )
