"""Golden tiles: which they are, and how far their answers may move.

A flipped bit moves the answers most where the network hesitates; where it is certain, the softmax hides the change. So
the tiles that it hesitates over most are taken, but none so near a tie that rounding alone could turn it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .datasets import Chips
from .onnx_cpu import batch_for, inferrer
from .package import Golden
from .prove import span_of
from .records import PackageInfo
from .settings import ExportSettings
from .stored_proof import stored_count
from .tiles import Tiles

GOLDEN_BYTE = 1 << 20
"""What golden tiles and their answers may take together: large ones are few."""
INT8_TOLERANCE, HALF_TOLERANCE = 0.1, 0.02
"""How far golden answers may move between processors: rounding of integers, or of float16, differs among them."""
HESITANT = 10.0
"""How many times further the answers of hesitant tiles may move on a GPU, whose products drop mantissa bits (TF32)."""
CPU_FLOOR, CPU_MARGIN = 1e-5, 10.0
"""Of full scale; and how many times the difference between two float32 programs (PyTorch and ONNX Runtime, kernels of
their own each) another processor's kernels may make."""


def golden_index(
    answers: NDArray[np.float32], test: Chips | Tiles, info: PackageInfo, settings: ExportSettings
) -> NDArray[np.int64]:
    """Which of the test tiles are golden: (n,) int64.

    Of each class the ``golden_per_class`` that the network hesitates over most; without labels, or for pixels, the
    first ten times as many. Whoever checks compares them with the source's stored answers, of which large ones are few.
    """
    most = min(stored_count(answers), GOLDEN_BYTE // (test.pixels[0].nbytes + answers[0].nbytes))
    most, per_class = max(1, most), settings.golden_per_class
    if info.output.kind != "probabilities" or not test.classes:
        return np.arange(min(len(test), 10 * per_class, most))
    certain = certainty(answers, 2.0 * _loose(info, settings))
    by_class = [np.flatnonzero(test.labels == label) for label in range(len(test.classes))]
    chosen = [places[np.argsort(certain[places], kind="stable")][:per_class] for places in by_class]
    return np.sort(np.concatenate(chosen))


def certainty(answers: NDArray[np.float32], tie: float) -> NDArray[np.float64]:
    """(n,): how far the first class is ahead of the second; above all others where that is no more than ``tie``."""
    if answers.shape[1] < 2:
        return np.zeros(len(answers))
    ordered = np.sort(answers, axis=1).astype(np.float64)
    ahead = ordered[:, -1] - ordered[:, -2]
    return np.where(ahead > tie, ahead, 2.0 - ahead)


def golden_of(
    content: bytes, test: Chips | Tiles, index: NDArray[np.int64], info: PackageInfo, settings: ExportSettings
) -> Golden:
    """The tiles at ``index`` with what the graph answers, and how far that may move: on any engine, and on a CPU."""
    infer = inferrer(content, batch=min(batch_for(test.pixels.shape), info.input.max_batch))
    tiles, kind = np.ascontiguousarray(test.pixels[index]), info.output.kind
    expected = infer(tiles)
    scale = float(info.input.tile_edge_px) if kind == "boxes" else span_of(expected, kind)
    anywhere, close = _loose(info, settings) * scale, settings.golden_tolerance_abs * scale
    parted = info.proofs[1].max_abs_diff if len(info.proofs) > 1 else close  # of a foreign graph nothing is known
    on_cpu = None if settings.precision == "int8" else min(close, max(CPU_FLOOR * scale, CPU_MARGIN * parted))
    return Golden(tiles, expected, anywhere, values_alone=kind == "embedding", tolerance_cpu_abs=on_cpu)


def _loose(info: PackageInfo, settings: ExportSettings) -> float:
    if settings.precision == "int8":
        return INT8_TOLERANCE
    return settings.golden_tolerance_abs * (HESITANT if info.output.kind == "probabilities" else 1.0)
