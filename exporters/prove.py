"""Proof of parity: the source and what was made of it, on the same real tiles. No proof, no package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError
from .records import Proof

if TYPE_CHECKING:
    from torch import nn

MIN_TILES = 256


@dataclass(frozen=True, slots=True)
class Bar:
    """What a proof demands: the worst difference of a probability, and the share of tiles whose top-1 stays."""

    tolerance_abs: float
    min_top1_agreement: float


SAME_WEIGHTS = Bar(1e-4, 1.0)
"""Two programs that compute one function in float32."""
ROUNDED_WEIGHTS = Bar(0.1, 0.995)
"""Weights rounded to float16 against the weights as trained."""


def torch_answers(network: nn.Module, tiles: NDArray[np.uint8], *, batch: int = 64) -> NDArray[np.float32]:
    """What a deployed torch network answers to (n, bands, edge, edge) uint8, as (n, classes) float32."""
    import torch

    network.eval()
    with torch.inference_mode():
        return np.concatenate([network(part).numpy() for part in torch.split(torch.from_numpy(tiles), batch)])


def prove(
    source: NDArray[np.float32],
    answers: NDArray[np.float32],
    *,
    names: tuple[str, str],
    bar: Bar = SAME_WEIGHTS,
    min_tiles: int = MIN_TILES,
) -> Proof:
    """Compare the answers of two forms of a network to the same tiles; ExportError unless they meet the bar."""
    if len(source) < min_tiles:
        raise ExportError(f"A proof needs {min_tiles} real tiles, {len(source)} were given. Add tiles.")
    if answers.shape != source.shape:
        raise ExportError(f"{names[1]} answers {answers.shape}, {names[0]} {source.shape}. Check the class list.")
    difference = np.abs(answers - source)
    agreement = float(np.mean(answers.argmax(1) == source.argmax(1)))
    worst = float(difference.max())
    if not worst <= bar.tolerance_abs or agreement < bar.min_top1_agreement:
        raise ExportError(
            f"{names[1]} differs from {names[0]} by up to {worst:.3g} (allowed {bar.tolerance_abs:g}), top-1 agreement "
            f"{100 * agreement:.2f} % (needed {100 * bar.min_top1_agreement:g} %) on {len(source)} tiles. "
            "Nothing was written."
        )
    return Proof(
        source=names[0],
        target=names[1],
        tiles=len(source),
        max_abs_diff=worst,
        mean_abs_diff=float(difference.mean()),
        tolerance_abs=bar.tolerance_abs,
        top1_agreement=agreement,
        min_top1_agreement=bar.min_top1_agreement,
    )
