"""Arithmetic of boxes: overlap, and one box for each thing. Boxes are (n, 4): left, top, right, bottom in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[Any]


def areas_px(boxes: Boxes) -> NDArray[np.float64]:
    """(n,) areas.

    >>> areas_px(np.array([[0, 0, 2, 3]])).tolist()
    [6.0]
    """
    sides = np.clip(boxes[:, 2:4].astype(np.float64) - boxes[:, :2], 0.0, None)
    area: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return area


def intersections_px(ours: Boxes, theirs: Boxes) -> NDArray[np.float64]:
    """(n, m) shared areas."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:4], theirs[None, :, 2:4])
    sides = np.clip(high.astype(np.float64) - low, 0.0, None)
    shared: NDArray[np.float64] = sides[..., 0] * sides[..., 1]
    return shared


def overlaps(ours: Boxes, theirs: Boxes) -> NDArray[np.float64]:
    """(n, m) intersection over union; 0 where both are empty.

    >>> overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    shared = intersections_px(ours, theirs)
    union = areas_px(ours)[:, None] + areas_px(theirs)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0)


def suppress(found: Boxes, *, min_score: float, max_overlap: float, most: int = 300) -> Boxes:
    """Non-maximum suppression of (k, 6) left, top, right, bottom, score, class: the best ``most``, best first.

    A box goes when one of its class with a higher score overlaps it by more than ``max_overlap``.
    """
    found = found[found[:, 4] > min_score]
    found = found[np.argsort(-found[:, 4], kind="stable")]
    apart = found[:, :4].astype(np.float64) + 1e5 * found[:, 5:6]
    kept: list[int] = []
    alive = np.ones(len(found), dtype=bool)
    for number in range(len(found)):
        if not alive[number]:
            continue
        kept.append(number)
        if len(kept) == most:
            break
        rest = np.flatnonzero(alive[number + 1 :]) + number + 1
        alive[rest[overlaps(apart[number : number + 1], apart[rest])[0] > max_overlap]] = False
    return found[kept]


def paired_difference(ours: Boxes, theirs: Boxes, score_slack: float = 1e-4) -> tuple[float, float]:
    """Largest difference in pixels and in score between (k, 6) answers whose equal scores may stand in another order.

    Each of our boxes is held against the nearest of theirs with its class; those whose score is within ``score_slack``
    of the last one's are left out, since either side may have cut off the other of a tie.
    """
    if not len(ours) or not len(theirs):
        return (0.0, 0.0) if len(ours) == len(theirs) else (float("inf"), float("inf"))
    kept = ours[ours[:, 4] > ours[:, 4].min() + score_slack]
    worst_px = worst_score = 0.0
    for row in kept:
        apart = np.abs(theirs[:, :4] - row[:4]).max(1) + 1e6 * (theirs[:, 5] != row[5])
        nearest = int(apart.argmin())
        worst_px = max(worst_px, float(apart[nearest]))
        worst_score = max(worst_score, float(abs(theirs[nearest, 4] - row[4])))
    return worst_px, worst_score
