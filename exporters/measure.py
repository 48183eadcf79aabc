"""Measurements for the profile: accuracy on chips never seen, time by batch size, energy estimated from time."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Chips
from .errors import ExportError
from .onnx_cpu import Infer, inferrer, version
from .prove import SAME_WEIGHTS, compare, span_of
from .records import Accuracy, PackageInfo, ProfileEntry
from .tiles import Tiles

if TYPE_CHECKING:
    from .checkpoint import Checkpoint

ACTIVE_POWER_W = 15.0
BATCHES = (1, 8, 32)


def wilson_ci95(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a fraction (Wilson, "Probable Inference", JASA 1927).

    >>> [round(bound, 3) for bound in wilson_ci95(50, 100)]
    [0.404, 0.596]
    """
    z, fraction = 1.959964, successes / n
    centre = (fraction + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def accuracy_on(infer: Infer, chips: Chips) -> Accuracy:
    """Top-1 accuracy of ``infer`` on labelled chips."""
    return _top1(infer(chips.pixels).argmax(1), chips)


def accuracy_of(
    answers: NDArray[np.float32], source: NDArray[np.float32], chips: Chips | Tiles, info: PackageInfo
) -> Accuracy:
    """Top-1 of ``answers`` on labelled chips; without labels, how well they agree with what the source answers."""
    if is_labelled(chips, info):
        return _top1(answers.argmax(1), chips)
    kind = info.output.kind
    proof = compare(source, answers, names=("", ""), bar=SAME_WEIGHTS, kind=kind)
    value, metric = proof.top1_agreement, "agreement with the source"
    if proof.box_iou_mean is not None:
        value, metric = proof.box_iou_mean, "box IoU with the source"
    if proof.psnr_db is not None:
        value, metric = 1.0 - proof.mean_abs_diff / span_of(source, kind), "1 - mean difference from the source"
    value = min(max(value, 0.0), 1.0)
    return Accuracy(
        metric=metric,
        dataset=chips.name,
        n=len(chips),
        value=value,
        ci95=wilson_ci95(round(value * len(chips)), len(chips)),
        recall_by_class=dict.fromkeys(info.classes, value),
        confusion=(),
    )


def is_labelled(chips: Chips | Tiles, info: PackageInfo) -> bool:
    """Whether the accuracy can be measured on these tiles."""
    return info.output.kind == "probabilities" and len(chips.classes) > 0 and int(chips.labels.min()) >= 0


def stated_accuracy(checkpoint: Checkpoint, info: PackageInfo) -> Accuracy | None:
    """The course's own figure on its test data; None where it has none within 0..1, as an accuracy must be.

    Its metric where that is a share, else its first figure that is one. ``n``, ``ci95_low`` and ``ci95_high`` of the
    test are what they say; a figure without interval has its value twice.
    """
    figures: dict[str, float] = checkpoint.notes.get("test", {})
    metric = checkpoint.notes.get("metric", "")
    words = [metric, *(key for key in figures if key not in ("n", "ci95_low", "ci95_high", metric))]
    chosen = next((word for word in words if 0.0 <= figures.get(word, -1.0) <= 1.0), None)
    if chosen is None:
        return None
    value = figures[chosen]
    low, high = (figures.get(key, value) if chosen == metric else value for key in ("ci95_low", "ci95_high"))
    return Accuracy(
        metric=chosen,
        dataset=checkpoint.dataset or info.training_data,
        n=int(figures.get("n", 0)),
        value=value,
        ci95=(low, high),
        recall_by_class=dict.fromkeys(info.classes, value),
        confusion=(),
    )


def _top1(answers: NDArray[np.int64], chips: Chips | Tiles) -> Accuracy:
    count = len(chips.classes)
    confusion = np.zeros((count, count), dtype=np.int64)
    np.add.at(confusion, (chips.labels, answers), 1)
    present = confusion.sum(1)
    if not present.all():
        raise ExportError(f"{chips.name} has no chip of {chips.classes[int(present.argmin())]}. Use a whole test set.")
    correct = int(np.trace(confusion))
    recalls = (np.diag(confusion) / present).tolist()
    return Accuracy(
        metric="top1",
        dataset=chips.name,
        n=len(chips),
        value=correct / len(chips),
        ci95=wilson_ci95(correct, len(chips)),
        recall_by_class=dict(zip(chips.classes, recalls, strict=True)),
        confusion=tuple(tuple(int(value) for value in row) for row in confusion),
    )


def profile_on_cpu(
    onnx: bytes,
    tiles: NDArray[Any],
    *,
    precision: str,
    batches: Sequence[int] = BATCHES,
    repeats: int = 30,
    active_power_w: float = ACTIVE_POWER_W,
    clock: Callable[[], float] = time.process_time,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[ProfileEntry, ...]:
    """Time each batch size with one thread, in CPU seconds, so that other work on the machine matters less."""
    entries = []
    for batch in batches:
        samples = _latencies_s(inferrer(onnx, batch=batch), _repeat_to(tiles, batch), repeats, clock)
        entry = _entry(samples, batch=batch, precision=precision, active_power_w=active_power_w)
        progress(f"batch {batch}: {1e3 * entry.tile_s:.3f} ms of CPU a tile")
        entries.append(entry)
    return tuple(entries)


def machine_name() -> str:
    """The processor of this machine, as its kernel names it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}, {platform.machine()}" if models else platform.machine()


def _repeat_to(tiles: NDArray[Any], batch: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.take(tiles, np.arange(batch) % len(tiles), axis=0))


def _latencies_s(infer: Infer, tiles: NDArray[Any], repeats: int, clock: Callable[[], float]) -> NDArray[np.float64]:
    for _ in range(3):
        infer(tiles)
    samples = np.empty(repeats)
    for index in range(repeats):
        begin_s = clock()
        infer(tiles)
        samples[index] = clock() - begin_s
    return samples


def _entry(samples: NDArray[np.float64], *, batch: int, precision: str, active_power_w: float) -> ProfileEntry:
    ordered = np.sort(samples)
    low, high = _median_ranks(len(ordered))
    tile_s = float(np.median(ordered)) / batch
    return ProfileEntry(
        device="cpu",
        machine=machine_name(),
        runtime=f"onnxruntime {version()}",
        precision=precision,
        power_mode="default",
        threads=1,
        batch=batch,
        clock="cpu",
        latency_p50_s=float(np.median(ordered)),
        latency_p99_s=float(np.percentile(ordered, 99)),
        tile_s=tile_s,
        tile_s_ci95=(float(ordered[low]) / batch, float(ordered[high]) / batch),
        repeats=len(ordered),
        energy_j_per_tile=tile_s * active_power_w,
        energy_kind="estimated",
        energy_method=f"CPU seconds a tile times {active_power_w:g} W, assumed for one busy core; no meter",
        active_power_w=active_power_w,
        measured_on=datetime.now(timezone.utc).date().isoformat(),
    )


def _median_ranks(n: int) -> tuple[int, int]:
    """Ranks that bracket the median with 95 % confidence (order statistics, normal approximation)."""
    half = 0.98 * math.sqrt(n)
    return max(0, math.floor(n / 2 - half)), min(n - 1, math.ceil(n / 2 + half))
