"""Proof of parity: the source and what was made of it, on the same real tiles. No proof, no package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError
from .metrics import boxes
from .onnx_cpu import batch_for
from .records import Proof

if TYPE_CHECKING:
    from torch import nn

MIN_TILES = 256


SPANS = {"image": 255.0}
"""Full scale of what a kind answers; a map's is the span of its source's answers, all others' is 1."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a proof demands.

    The worst difference as a share of full scale (probabilities, masks, embeddings), and the share whose top-1 stays;
    boxes are held to their overlap instead, images and maps to their PSNR, embeddings also to their cosine. Of a
    mask's pixels a few may tie.
    """

    tolerance_abs: float
    min_top1_agreement: float
    min_box_iou: float = 0.99
    min_psnr_db: float = 80.0
    min_cosine: float = 0.99999
    min_pixel_agreement: float = 0.9999


SAME_WEIGHTS = Bar(1e-4, 1.0)
"""Two programs that compute one function in float32; 80 dB is a mean difference of 1e-4 of full scale."""
ROUNDED_WEIGHTS = Bar(0.1, 0.995, 0.95, 45.0, 0.999, 0.995)
"""Weights, or arithmetic, in float16 against float32."""
QUANTISED = Bar(1.0, 0.9, 0.8, 30.0, 0.95, 0.95)
"""INT8 against float. Where tiles have labels, what decides is the accuracy on them: see ``MAX_DROP``."""
MAX_DROP = 0.01
"""Accuracy that INT8 may lose on the test set."""


def torch_answers(network: nn.Module, tiles: NDArray[Any], *, batch: int | None = None) -> NDArray[np.float32]:
    """What a deployed torch network answers to (n, bands, edge, edge) tiles, (n, ...) float32.

    ExportError where it answers anything but one float32 tensor with a row for each tile.
    """
    import torch

    network.eval()
    parts = []
    with torch.inference_mode():
        for part in torch.split(torch.from_numpy(tiles), batch or batch_for(tiles.shape, most=64)):
            answer = network(part)
            if not isinstance(answer, torch.Tensor) or answer.dtype != torch.float32 or len(answer) != len(part):
                raise ExportError(
                    f"{type(network).__name__} answers {_named(answer)} to {len(part)} tiles; one float32 tensor with "
                    "a row a tile is needed. Give the network a deploy function."
                )
            parts.append(answer.numpy())
    return np.concatenate(parts)


def _named(answer: Any) -> str:
    return f"{answer.dtype} {tuple(answer.shape)}" if hasattr(answer, "dtype") else type(answer).__name__


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

    ``kind`` is the package's kind of output: see ``Bar`` for what is compared.
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
    difference, span = np.abs(answers - source), span_of(source, kind)
    return Proof(
        source=names[0],
        target=names[1],
        tiles=len(source),
        max_abs_diff=float(difference.max()),
        mean_abs_diff=float(difference.mean()),
        tolerance_abs=bar.tolerance_abs * span,
        top1_agreement=agreement,
        min_top1_agreement=bar.min_pixel_agreement if kind == "mask" else bar.min_top1_agreement,
        box_iou_mean=overlap,
        psnr_db=psnr_db(source, answers, span) if kind in ("image", "map") else None,
        cosine_min=_cosine_min(source, answers) if kind == "embedding" else None,
    )


def span_of(source: NDArray[np.float32], kind: str) -> float:
    """Full scale of the answers: 255 of an image; of a map and of scores what they span, at least 1 for scores."""
    if kind in ("map", "mask"):
        low, high = float(source.min()), float(source.max())
        return max(high - low, 1.0 if kind == "mask" else 1e-12)
    return SPANS.get(kind, 1.0)


def shortfall(proof: Proof, bar: Bar, kind: str) -> str:
    """Which part of the bar a proof misses; empty when it meets it."""
    reasons = []
    if kind in ("probabilities", "mask", "embedding") and not proof.max_abs_diff <= proof.tolerance_abs:
        reasons.append(f"by up to {proof.max_abs_diff:.3g} (allowed {proof.tolerance_abs:g})")
    if not np.isfinite(proof.max_abs_diff) and not reasons:
        reasons.append(f"by up to {proof.max_abs_diff:.3g}")
    if proof.top1_agreement < proof.min_top1_agreement or reasons:
        needed = f"(needed {100 * proof.min_top1_agreement:g} %)"
        reasons.append(f"in top-1 agreement {100 * proof.top1_agreement:.2f} % {needed}")
    if proof.box_iou_mean is not None and proof.box_iou_mean < bar.min_box_iou:
        reasons.append(f"in box IoU {proof.box_iou_mean:.3f} (needed {bar.min_box_iou:g})")
    if proof.psnr_db is not None and not proof.psnr_db >= bar.min_psnr_db:
        reasons.append(f"in PSNR {proof.psnr_db:.1f} dB (needed {bar.min_psnr_db:g})")
    if proof.cosine_min is not None and not proof.cosine_min >= bar.min_cosine:
        reasons.append(f"in cosine {proof.cosine_min:.6f} (needed {bar.min_cosine:g})")
    return ", ".join(reasons)


def psnr_db(source: NDArray[np.float32], answers: NDArray[np.float32], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio of ``answers`` against ``source``; 99 where nothing differs."""
    error = float(np.mean((answers.astype(np.float64) - source.astype(np.float64)) ** 2))
    return 99.0 if error == 0.0 else min(99.0, 10.0 * float(np.log10(peak**2 / error)))


def _top1(source: NDArray[np.float32], answers: NDArray[np.float32], kind: str) -> float:
    if kind in ("image", "map"):
        return 1.0
    if kind == "embedding":
        return _nearest_stays(source, answers)
    return float(np.mean(answers.argmax(1) == source.argmax(1)))


def _nearest_stays(source: NDArray[np.float32], answers: NDArray[np.float32]) -> float:
    """Share of tiles whose nearest other tile is still the nearest, or as near as the nearest within 1e-4."""
    if len(source) < 2:
        return 1.0
    here, there = source @ source.T, answers @ answers.T
    np.fill_diagonal(here, -2.0)
    np.fill_diagonal(there, -2.0)
    chosen = here[np.arange(len(here)), there.argmax(1)]
    return float(np.mean(chosen >= here.max(1) - 1e-4))


def _cosine_min(source: NDArray[np.float32], answers: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(source, axis=1) * np.linalg.norm(answers, axis=1)
    return float(np.min(np.sum(source * answers, axis=1) / np.maximum(norms, 1e-12)))


def _boxes_agree(
    source: NDArray[np.float32], answers: NDArray[np.float32], min_score: float = 0.25
) -> tuple[float, float]:
    """(mean best overlap of the source's boxes, share of them whose best match has their class)."""
    overlaps, same = [], []
    for ours, theirs in zip(source, answers, strict=True):
        theirs = theirs[theirs[:, 4] > min_score * 0.8]
        for box in ours[ours[:, 4] > min_score]:
            found = boxes.overlaps(box[None], theirs)[0]
            best = int(found.argmax()) if len(found) else -1
            overlaps.append(float(found[best]) if best >= 0 else 0.0)
            same.append(best >= 0 and theirs[best, 5] == box[5])
    return (float(np.mean(overlaps)), float(np.mean(same))) if overlaps else (1.0, 1.0)
