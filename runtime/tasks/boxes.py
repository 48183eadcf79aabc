"""Boxes in a frame, and which of those that overlap to keep.

Suppression is greedy: boxes come in order of score, and one that overlaps a kept box of its class too much goes. Here
candidates come from a grid of strips, and whole generations of boxes are decided at once, so that the result is that of
the plain double loop at a cost that grows with the crowd, not with its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..georeference.rings import Float64Array

IntArray = NDArray[np.int64]
METRICS = ("iou", "ios")
_CHUNK_PAIR = 1_000_000
_MOST_STRIPS = 64
"""That one box stands in."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Detections in frame pixels, n of them."""

    sides_px: Float64Array
    """(n, 4): left, top, right, bottom."""
    score: Float64Array
    """(n,), 0..1."""
    class_id: IntArray
    """(n,)."""
    tile_px: IntArray
    """(n, 2): row and column of the tile that shows it."""
    cut: NDArray[np.bool_]
    """(n,): the tile's inner border cuts through it, so that a neighbour may show more of it."""

    def __len__(self) -> int:
        return len(self.score)

    def take(self, which: NDArray[np.bool_] | IntArray) -> Boxes:
        """Those that ``which`` marks or counts."""
        return Boxes(
            self.sides_px[which], self.score[which], self.class_id[which], self.tile_px[which], self.cut[which]
        )

    @staticmethod
    def none() -> Boxes:
        """No box at all."""
        empty = np.zeros(0, dtype=np.int64)
        return Boxes(np.zeros((0, 4)), np.zeros(0), empty, np.zeros((0, 2), dtype=np.int64), empty.astype(bool))

    @staticmethod
    def together(parts: Sequence[Boxes]) -> Boxes:
        """All boxes of ``parts``."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Boxes.none()
        return Boxes(
            np.concatenate([part.sides_px for part in parts]),
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.class_id for part in parts]),
            np.concatenate([part.tile_px for part in parts]),
            np.concatenate([part.cut for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Overlap:
    """When two boxes of a class are one: intersection over union or over the smaller one, at least ``threshold``.

    With ``rejoin``, the smaller one counts wherever a tile's border cuts one of the two: a part lies within the whole,
    and gives way to it whatever its score. Without, scores alone decide.
    """

    metric: str = "iou"
    threshold: float = 0.5
    rejoin: bool = True

    def __post_init__(self) -> None:
        if self.metric not in METRICS or not 0.0 < self.threshold <= 1.0:
            raise ValueError(f"overlap {self.metric} >= {self.threshold}: use iou or ios, and a threshold in (0, 1]")


def suppress(boxes: Boxes, overlap: Overlap) -> IntArray:
    """Positions of the boxes to keep, best first.

    With ``rejoin`` whole boxes come before cut ones; then higher scores; ties fall to the box further left, then
    further up.
    """
    order = _order(boxes, overlap)
    better, worse = _pairs(boxes.take(order), overlap)
    return order[_greedy(len(boxes), better, worse)]


class StreamingMerge:
    """Suppression for a scene that comes in rows: decides boxes as soon as no box to come can matter to them.

    What it hands out, all together, is what ``suppress`` keeps of all boxes at once.
    """

    def __init__(self, overlap: Overlap) -> None:
        self._overlap = overlap
        self._parts: list[Boxes] = []
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Boxes taken in and not yet decided."""
        return self._waiting

    def add(self, boxes: Boxes) -> None:
        """Take in the boxes of some tiles."""
        if len(boxes):
            self._parts.append(boxes)
            self._waiting += len(boxes)

    def settle(self, front_px: float) -> Boxes:
        """Boxes to keep that nothing below ``front_px`` can change: boxes still to come lie below it altogether."""
        waiting = Boxes.together(self._parts)
        if not len(waiting):
            return waiting
        boxes = waiting.take(_order(waiting, self._overlap))
        better, worse = _pairs(boxes, self._overlap)
        open_ones = _reached(boxes.sides_px[:, 3] > front_px, better, worse)
        keep = np.zeros(len(boxes), dtype=bool)
        keep[_greedy(len(boxes), better, worse)] = True
        rest = boxes.take(open_ones)
        self._parts, self._waiting = [rest] if len(rest) else [], len(rest)
        return boxes.take(keep & ~open_ones)

    def finish(self) -> Boxes:
        """The boxes to keep among those still waiting."""
        return self.settle(np.inf)


def _order(boxes: Boxes, overlap: Overlap) -> IntArray:
    left, top, right, bottom = boxes.sides_px.T
    keys = (bottom, right, top, left, -boxes.score)
    order: IntArray = np.lexsort((*keys, boxes.cut) if overlap.rejoin else keys)
    return order


def _greedy(count: int, better: IntArray, worse: IntArray) -> IntArray:
    """Ranks that the greedy rule keeps: each round keeps all that nothing better can still stop."""
    kept, open_ones = np.zeros(count, dtype=bool), np.ones(count, dtype=bool)
    while True:
        stopped = np.zeros(count, dtype=bool)
        stopped[worse] = True
        fresh = open_ones & ~stopped
        kept |= fresh
        open_ones &= stopped
        if not len(worse):
            return np.flatnonzero(kept)
        open_ones[worse[fresh[better]]] = False
        live = open_ones[better] & open_ones[worse]
        better, worse = better[live], worse[live]


def _reached(start: NDArray[np.bool_], better: IntArray, worse: IntArray) -> NDArray[np.bool_]:
    """``start`` and everything that is linked to it through overlaps."""
    reached: NDArray[np.bool_] = start.copy()
    while len(better):
        one, other = reached[better], reached[worse]
        if not (one ^ other).any():
            break
        reached[worse[one]] = True
        reached[better[other]] = True
        live = ~(reached[better] & reached[worse])
        better, worse = better[live], worse[live]
    return reached


def _pairs(boxes: Boxes, overlap: Overlap) -> tuple[IntArray, IntArray]:
    """Positions of all overlapping pairs of one class, the earlier one first."""
    sides = boxes.sides_px
    area = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    found: list[tuple[IntArray, IntArray]] = []
    for one, other in _candidates(sides):
        same = boxes.class_id[one] == boxes.class_id[other]
        a, b = sides[one[same]], sides[other[same]]
        wide = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
        high = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
        shared = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
        part = boxes.cut[one[same]] | boxes.cut[other[same]] if overlap.rejoin else np.zeros(len(a), dtype=bool)
        smaller = np.minimum(area[one[same]], area[other[same]])
        if overlap.metric == "iou":
            whole = np.where(part, smaller, area[one[same]] + area[other[same]] - shared)
        else:
            whole = smaller
        hit = (shared >= overlap.threshold * whole) & (shared > 0)
        found.append((one[same][hit], other[same][hit]))
    if not found:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing
    one, other = (np.concatenate(part) for part in zip(*found, strict=True))
    return np.minimum(one, other), np.maximum(one, other)


def _candidates(sides: Float64Array) -> Iterator[tuple[IntArray, IntArray]]:
    """Pairs whose strips and columns meet, each once, some at a time.

    Every box stands in all strips that it touches; within a strip, boxes are swept from the left.
    """
    count = len(sides)
    if count < 2:
        return
    left, top, right, bottom = sides.T
    high = bottom - top
    strip_px = max(float(np.median(high)), float(high.max()) / _MOST_STRIPS, 1e-9)
    first = np.floor((top - top.min()) / strip_px).astype(np.int64)
    last = np.floor((bottom - top.min()) / strip_px).astype(np.int64)
    box = np.repeat(np.arange(count), last - first + 1)
    start = np.repeat(np.cumsum(last - first + 1) - (last - first + 1), last - first + 1)
    strip = first[box] + np.arange(len(box)) - start
    width = float(right.max() - left.min()) + 1.0
    key = strip * width + (left[box] - left.min())
    by_key = np.argsort(key, kind="stable")
    key, box, strip = key[by_key], box[by_key], strip[by_key]
    until = np.searchsorted(key, strip * width + (right[box] - left.min()), side="right")
    many = until - np.arange(len(box)) - 1
    for part in _chunks(many):
        here = many[part]
        one = np.repeat(np.arange(part.start, part.stop), here)
        step = np.arange(len(one)) - np.repeat(np.cumsum(here) - here, here)
        other = one + 1 + step
        a, b = box[one], box[other]
        meet = np.minimum(bottom[a], bottom[b]) > np.maximum(top[a], top[b])
        once = meet & (np.maximum(first[a], first[b]) == strip[one])
        yield a[once], b[once]


def _chunks(many: IntArray) -> Iterator[slice]:
    """Ranges of entries with about ``_CHUNK_PAIR`` pairs each."""
    total = np.cumsum(many)
    start = 0
    while start < len(many):
        done = int(total[start - 1]) if start else 0
        stop = max(int(np.searchsorted(total, done + _CHUNK_PAIR, side="right")), start + 1)
        yield slice(start, min(stop, len(many)))
        start = stop
