"""Measurements for the profile: accuracy on chips never seen, time by batch size, energy estimated from time."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .datasets import Chips
from .errors import ExportError
from .onnx_cpu import Infer, inferrer, version
from .prove import SAME_WEIGHTS, compare
from .records import Accuracy, PackageInfo, ProfileEntry

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


def accuracy_of(answers: NDArray[np.float32], source: NDArray[np.float32], chips: Chips, info: PackageInfo) -> Accuracy:
    """Top-1 of ``answers`` on labelled chips; without labels, how well they agree with what the source answers."""
    if info.output.kind == "probabilities" and len(chips.classes) and int(chips.labels.min()) >= 0:
        return _top1(answers.argmax(1), chips)
    proof = compare(source, answers, names=("", ""), bar=SAME_WEIGHTS, kind=info.output.kind)
    value = proof.top1_agreement if proof.box_iou_mean is None else proof.box_iou_mean
    return Accuracy(
        metric="agreement with the source" if proof.box_iou_mean is None else "box IoU with the source",
        dataset=chips.name,
        n=len(chips),
        value=value,
        ci95=wilson_ci95(round(value * len(chips)), len(chips)),
        recall_by_class=dict.fromkeys(info.classes, value),
        confusion=(),
    )


def _top1(answers: NDArray[np.int64], chips: Chips) -> Accuracy:
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
    tiles: NDArray[np.uint8],
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


def _repeat_to(tiles: NDArray[np.uint8], batch: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.take(tiles, np.arange(batch) % len(tiles), axis=0))


def _latencies_s(
    infer: Infer, tiles: NDArray[np.uint8], repeats: int, clock: Callable[[], float]
) -> NDArray[np.float64]:
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
