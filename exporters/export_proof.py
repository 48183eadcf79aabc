"""The float graph of a checkpoint, with the proof that it answers as the network was trained to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .checkpoint import Checkpoint
from .datasets import Chips
from .diverge import first_divergence_from_torch
from .errors import ExportError
from .onnx_cpu import batch_for, inferrer, version
from .prove import ROUNDED_WEIGHTS, prove, torch_answers
from .records import OutputSpec, Proof
from .registry import parity_of
from .settings import ExportSettings
from .source import deployed_network, onnx_of, output_spec, trained_network
from .tiles import Tiles

if TYPE_CHECKING:
    from torch import nn

Progress = Callable[[str], None]
NAMES = ("pytorch as trained", "pytorch as stored")


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """``source``: the module that was traced as ``model``; ``answers``: its own to the test tiles."""

    settings: ExportSettings
    output: OutputSpec
    source: nn.Module
    answers: NDArray[np.float32]
    model: bytes
    proofs: tuple[Proof, ...]
    notes: tuple[str, ...]


def prove_export(
    checkpoint: Checkpoint, test: Chips | Tiles, settings: ExportSettings, progress: Progress = lambda line: None
) -> Proven:
    """As trained against as stored (rounding), and as stored against the graph (parity); ExportError without proof.

    A network that does not bear float16 weights is stored as float32, and a note says so.
    """
    progress(f"1/6 fusing and rounding, on {len(test)} tiles (5 to 20 s)")
    as_trained = torch_answers(trained_network(checkpoint), test.pixels)
    output = output_spec(checkpoint, as_trained)
    notes: tuple[str, ...] = ()
    try:
        stored = _stored(checkpoint, as_trained, test, settings)
    except ExportError as error:
        if settings.precision != "fp16" or len(test) < settings.proof_tiles:
            raise
        notes = (f"Its weights are stored as float32; as float16 they fail the proof: {_reason(error)}",)
        progress(*notes)
        settings = replace(settings, precision="fp32")
        stored = _stored(checkpoint, as_trained, test, settings)
    source, answers, rounding = stored
    progress("2/6 tracing and proving (5 to 20 s)")
    model = onnx_of(source, checkpoint, settings)
    parity = _parity(checkpoint, source, answers, model, test, settings)
    return Proven(settings, output, source, answers, model, (rounding, parity), notes)


def _stored(
    checkpoint: Checkpoint, as_trained: NDArray[np.float32], test: Chips | Tiles, settings: ExportSettings
) -> tuple[nn.Module, NDArray[np.float32], Proof]:
    source = deployed_network(checkpoint, settings.weights_dtype)
    answers = torch_answers(source, test.pixels)
    told: dict[str, Any] = {"min_tiles": settings.proof_tiles, "kind": checkpoint.kind}
    return source, answers, prove(as_trained, answers, names=NAMES, bar=ROUNDED_WEIGHTS, **told)


def _parity(
    checkpoint: Checkpoint,
    source: nn.Module,
    answers: NDArray[np.float32],
    model: bytes,
    test: Chips | Tiles,
    settings: ExportSettings,
) -> Proof:
    found = inferrer(model, batch=batch_for(test.pixels.shape))(test.pixels)
    try:
        return prove(
            answers,
            found,
            names=(NAMES[1], f"onnxruntime {version()} cpu"),
            bar=parity_of(checkpoint.network),
            min_tiles=settings.proof_tiles,
            kind=checkpoint.kind,
        )
    except ExportError as error:
        layer = first_divergence_from_torch(source, model, test.pixels[:4])
        where = "no layer alone is off" if layer is None else f"{layer.layer}, by {layer.relative:.2g} of its range"
        raise ExportError(f"{error} The first layer to part: {where}.") from error


def _reason(error: ExportError) -> str:
    return str(error).removesuffix(" Nothing was written.")
