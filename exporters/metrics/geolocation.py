"""How well places are found: recalls at k, and how far off the best answer is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KS = (1, 5, 10)
_NEVER = 10**9


@dataclass(frozen=True, slots=True)
class Found:
    """Recalls in percent. ``at``: by k; ``at_one_percent``: among the best hundredth of the gallery, rounded up."""

    at: Mapping[int, float]
    at_one_percent: float
    median_m: float
    mean_reciprocal_rank: float

    def as_table(self) -> dict[str, float]:
        """By name, such as ``r1`` and ``median_m``."""
        named = {f"r{k}": value for k, value in self.at.items()}
        return {**named, "r1pct": self.at_one_percent, "median_m": self.median_m, "mrr": self.mean_reciprocal_rank}


def recalls_of_ranks(ranks: Sequence[int], gallery: int, ks: Sequence[int] = KS) -> tuple[dict[int, float], float]:
    """Recall in percent at each k and at one percent; ``ranks`` count from 1.

    >>> at, one_percent = recalls_of_ranks([1, 4, 20], 1000)
    >>> [round(at[k], 1) for k in (1, 5, 10)], round(one_percent, 1)
    ([33.3, 66.7, 66.7], 66.7)
    """
    if not len(ranks) or min(ranks) < 1 or gallery < 1:
        raise ValueError(f"{len(ranks)} ranks in a gallery of {gallery}: give at least one rank, counted from 1")
    share = {k: 100.0 * float(np.mean([rank <= k for rank in ranks])) for k in sorted({*ks, math.ceil(gallery / 100)})}
    curve = list(share.values())
    assert curve == sorted(curve), "a recall cannot fall when k grows"
    return {k: share[k] for k in ks}, share[math.ceil(gallery / 100)]


def found(
    scores: NDArray[np.floating], distance_m: NDArray[np.floating], hit_m: float, ks: Sequence[int] = KS
) -> Found:
    """``scores`` and ``distance_m``: (queries, gallery). A hit is a tile whose centre lies within ``hit_m``.

    A wrong tile that ties with a right one counts as before it. A query without a right tile never hits.
    """
    if scores.shape != distance_m.shape or scores.ndim != 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape}, distances {distance_m.shape}: give finite scores, one distance each")
    right = distance_m <= hit_m
    best_right = np.where(right, scores, -np.inf).max(1)
    ranks = 1 + ((scores >= best_right[:, None]) & ~right).sum(1)
    ranks = np.where(right.any(1), ranks, _NEVER)
    at, one_percent = recalls_of_ranks(ranks.tolist(), scores.shape[1], ks)
    errors = distance_m[np.arange(len(scores)), scores.argmax(1)]
    return Found(at, one_percent, float(np.median(errors)), float(np.mean(1.0 / ranks)))


def chance(distance_m: NDArray[np.floating], hit_m: float, ks: Sequence[int] = KS) -> Found:
    """What a random order of the gallery scores in the mean: exact recalls, and the median of all distances."""
    right, gallery = (distance_m <= hit_m).sum(1), distance_m.shape[1]
    wanted = sorted({*ks, math.ceil(gallery / 100)})
    share = {k: 100.0 * float(np.mean([1.0 - _miss(int(r), gallery, k) for r in right])) for k in wanted}
    ranks = np.arange(1, gallery + 1)
    reciprocal = [float(np.mean([1.0 - _miss(int(r), gallery, int(k)) for r in right])) for k in ranks]
    mrr = float(np.sum(np.diff([0.0, *reciprocal]) / ranks))
    return Found({k: share[k] for k in ks}, share[math.ceil(gallery / 100)], float(np.median(distance_m)), mrr)


def _miss(right: int, gallery: int, k: int) -> float:
    """Chance that none of ``right`` is among the first k of ``gallery`` in random order."""
    k = min(k, gallery)
    return math.prod(max(0, gallery - right - i) / (gallery - i) for i in range(k)) if right else 1.0
