"""The content of ``package.json``, from what is exported and what the exporter was told."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from . import graph
from .checkpoint import Checkpoint
from .foreign import count_graph_macs, count_params
from .records import InputSpec, OutputSpec, PackageInfo, Thresholds
from .registry import title_of
from .settings import GSD_RANGE_M
from .subject import Foreign

if TYPE_CHECKING:
    from torch import nn

_TASKS = {
    "probabilities": "classification",
    "boxes": "detection",
    "image": "restoration",
    "mask": "segmentation",
}


class Told(Protocol):
    """The settings that describe a package."""

    @property
    def version(self) -> int:
        """Of the package."""
        ...

    @property
    def bands(self) -> tuple[str, ...]:
        """In the order of the input."""
        ...

    @property
    def gsd_range_m(self) -> tuple[float, float] | None:
        """Ground sample distances that it is good for."""
        ...

    @property
    def min_score(self) -> float:
        """Below it an answer is unsure."""
        ...

    @property
    def licence(self) -> str:
        """SPDX."""
        ...

    @property
    def training_data(self) -> str:
        """What it learned from."""
        ...

    @property
    def weights_dtype(self) -> str:
        """How weights are stored."""
        ...


def describe_checkpoint(
    checkpoint: Checkpoint, package_id: str, told: Told, output: OutputSpec, task: str, source: nn.Module
) -> PackageInfo:
    """A checkpoint of a zoo network, or of a module of one's own. ``source``: the module that was traced."""
    network: nn.Module = checkpoint.build()
    edge = checkpoint.edge_px
    return _info(
        told,
        task=task,
        id=package_id,
        title=title_of(checkpoint.network),
        network=checkpoint.network,
        params=sum(parameter.numel() for parameter in network.parameters()),
        gmacs=graph.count_macs(source, edge_px=edge, bands=len(checkpoint.mean), dtype=checkpoint.dtype) / 1e9,
        weights_dtype=told.weights_dtype,
        classes=checkpoint.classes,
        input=InputSpec(name=graph.INPUT, dtype=checkpoint.dtype, tile_edge_px=edge, bands=told.bands),
        output=output,
        training={**checkpoint.notes, "size": checkpoint.size, "switches": checkpoint.switches},
    )


def describe_foreign(subject: Foreign, package_id: str, told: Told) -> PackageInfo:
    """Somebody else's graph."""
    return _info(
        told,
        id=package_id,
        task=_TASKS[subject.kind],
        title=subject.name,
        network=f"{subject.name}.onnx",
        params=count_params(subject.model),
        gmacs=count_graph_macs(subject.model) / 1e9,
        weights_dtype="float32",
        classes=subject.classes,
        input=InputSpec(name=graph.INPUT, tile_edge_px=subject.edge_px, bands=told.bands, max_batch=subject.max_batch),
        output=OutputSpec(name=graph.OUTPUT, kind=subject.kind),
        training={"source_sha256": subject.sha256},
    )


def versions() -> dict[str, str]:
    """What made it."""
    names = ("torch", "onnx", "onnxscript", "onnxslim", "onnxruntime", "numpy")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def _info(told: Told, *, output: OutputSpec, **known: Any) -> PackageInfo:
    return PackageInfo(
        version=told.version,
        precision="float32",
        gsd_range_m=told.gsd_range_m or GSD_RANGE_M,
        output=output,
        thresholds=Thresholds(min_score=told.min_score),
        licence=told.licence,
        training_data=told.training_data,
        created_by=versions(),
        proofs=(),
        **known,
    )
