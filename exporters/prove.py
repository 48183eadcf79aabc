"""Proof of parity: the source and what was made of it, on the same real tiles. No proof, no package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError
from .onnx_cpu import Infer
from .records import Proof

if TYPE_CHECKING:
    from torch import nn

MIN_TILES, TOLERANCE_ABS = 256, 1e-4


def torch_answers(network: nn.Module, tiles: NDArray[np.uint8], *, batch: int = 64) -> NDArray[np.float32]:
    """What a deployed torch network answers to (n, bands, edge, edge) uint8, as (n, classes) float32."""
    import torch

    network.eval()
    with torch.inference_mode():
        return np.concatenate([network(part).numpy() for part in torch.split(torch.from_numpy(tiles), batch)])


def prove(
    source: NDArray[np.float32],
    target: Infer,
    tiles: NDArray[np.uint8],
    *,
    names: tuple[str, str],
    tolerance_abs: float = TOLERANCE_ABS,
    min_tiles: int = MIN_TILES,
) -> Proof:
    """Compare ``target`` with the answers of the source on ``tiles``; ExportError unless all are close and agree."""
    if len(tiles) < min_tiles:
        raise ExportError(f"A proof needs {min_tiles} real tiles, {len(tiles)} were given. Add tiles.")
    answers = target(tiles)
    if answers.shape != source.shape:
        raise ExportError(f"{names[1]} answers {answers.shape}, {names[0]} {source.shape}. Check the class list.")
    difference = np.abs(answers - source)
    agreement = float(np.mean(answers.argmax(1) == source.argmax(1)))
    worst = float(difference.max())
    if not worst <= tolerance_abs or agreement < 1.0:
        raise ExportError(
            f"{names[1]} differs from {names[0]} by up to {worst:.3g} (allowed {tolerance_abs:g}), top-1 agreement "
            f"{100 * agreement:.2f} % (needed 100 %) on {len(tiles)} tiles. Nothing was written."
        )
    return Proof(
        source=names[0],
        target=names[1],
        tiles=len(tiles),
        max_abs_diff=worst,
        mean_abs_diff=float(difference.mean()),
        tolerance_abs=tolerance_abs,
        top1_agreement=agreement,
    )
