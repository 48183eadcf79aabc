"""Proof of parity: the source and what was made of it, on the same real tiles. No proof, no package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError
from .records import Proof

if TYPE_CHECKING:
    from torch import nn

MIN_TILES = 256


@dataclass(frozen=True, slots=True)
class Bar:
    """What a proof demands: the worst difference of a value (1 is full scale), and the share whose top-1 stays."""

    tolerance_abs: float
    min_top1_agreement: float
    min_box_iou: float = 0.99
    min_psnr_db: float = 60.0


SAME_WEIGHTS = Bar(1e-4, 1.0)
"""Two programs that compute one function in float32."""
ROUNDED_WEIGHTS = Bar(0.1, 0.995, min_box_iou=0.95, min_psnr_db=45.0)
"""Weights, or arithmetic, in float16 against float32."""
QUANTISED = Bar(1.0, 0.9, min_box_iou=0.8, min_psnr_db=30.0)
"""INT8 against float. What decides is the accuracy on labelled tiles: see ``MAX_DROP``."""
MAX_DROP = 0.01
"""Accuracy that INT8 may lose on the test set."""


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
    kind: str = "probabilities",
) -> Proof:
    """Compare the answers of two forms of a network to the same tiles; ExportError unless they meet the bar.

    ``kind`` is the package's kind of output. Boxes are compared in pixels and by overlap, images also by PSNR.
    """
    if len(source) < min_tiles:
        raise ExportError(f"A proof needs {min_tiles} real tiles, {len(source)} were given. Add tiles.")
    if answers.shape != source.shape:
        raise ExportError(f"{names[1]} answers {answers.shape}, {names[0]} {source.shape}. Check the class list.")
    proof = compare(source, answers, names=names, bar=bar, kind=kind)
    if reason := shortfall(proof, bar, kind):
        raise ExportError(f"{names[1]} differs from {names[0]} {reason} on {len(source)} tiles. Nothing was written.")
    return proof


def compare(
    source: NDArray[np.float32], answers: NDArray[np.float32], *, names: tuple[str, str], bar: Bar, kind: str
) -> Proof:
    """How far two forms are apart, whether or not that is near enough."""
    overlap, agreement = _boxes_agree(source, answers) if kind == "boxes" else (None, _top1(source, answers, kind))
    difference = np.abs(answers - source)
    return Proof(
        source=names[0],
        target=names[1],
        tiles=len(source),
        max_abs_diff=float(difference.max()),
        mean_abs_diff=float(difference.mean()),
        tolerance_abs=bar.tolerance_abs,
        top1_agreement=agreement,
        min_top1_agreement=bar.min_top1_agreement,
        box_iou_mean=overlap,
        psnr_db=psnr_db(source, answers) if kind == "image" else None,
    )


def shortfall(proof: Proof, bar: Bar, kind: str) -> str:
    """Which part of the bar a proof misses; empty when it meets it."""
    reasons = []
    if kind in ("probabilities", "mask") and not proof.max_abs_diff <= bar.tolerance_abs:
        reasons.append(f"by up to {proof.max_abs_diff:.3g} (allowed {bar.tolerance_abs:g})")
    if not np.isfinite(proof.max_abs_diff) and not reasons:
        reasons.append(f"by up to {proof.max_abs_diff:.3g}")
    if proof.top1_agreement < bar.min_top1_agreement or reasons:
        needed = f"(needed {100 * bar.min_top1_agreement:g} %)"
        reasons.append(f"in top-1 agreement {100 * proof.top1_agreement:.2f} % {needed}")
    if proof.box_iou_mean is not None and proof.box_iou_mean < bar.min_box_iou:
        reasons.append(f"in box IoU {proof.box_iou_mean:.3f} (needed {bar.min_box_iou:g})")
    if proof.psnr_db is not None and proof.psnr_db < bar.min_psnr_db:
        reasons.append(f"in PSNR {proof.psnr_db:.1f} dB (needed {bar.min_psnr_db:g})")
    return ", ".join(reasons)


def psnr_db(source: NDArray[np.float32], answers: NDArray[np.float32], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio of ``answers`` against ``source``; 99 where nothing differs."""
    error = float(np.mean((answers.astype(np.float64) - source.astype(np.float64)) ** 2))
    return 99.0 if error == 0.0 else min(99.0, 10.0 * float(np.log10(peak**2 / error)))


def _top1(source: NDArray[np.float32], answers: NDArray[np.float32], kind: str) -> float:
    if kind == "image":
        return 1.0
    return float(np.mean(answers.argmax(1) == source.argmax(1)))


def _boxes_agree(
    source: NDArray[np.float32], answers: NDArray[np.float32], min_score: float = 0.25
) -> tuple[float, float]:
    """(mean best overlap of the source's boxes, share of them whose best match has their class)."""
    overlaps, same = [], []
    for ours, theirs in zip(source, answers, strict=True):
        theirs = theirs[theirs[:, 4] > min_score * 0.8]
        for box in ours[ours[:, 4] > min_score]:
            found = _iou(box, theirs)
            best = int(found.argmax()) if len(found) else -1
            overlaps.append(float(found[best]) if best >= 0 else 0.0)
            same.append(best >= 0 and theirs[best, 5] == box[5])
    return (float(np.mean(overlaps)), float(np.mean(same))) if overlaps else (1.0, 1.0)


def _iou(box: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
    areas = np.prod(others[:, 2:4] - others[:, :2], axis=1) + np.prod(box[2:4] - box[:2])
    overlap: NDArray[Any] = shared / np.maximum(areas - shared, 1e-9)
    return overlap
