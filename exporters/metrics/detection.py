"""Average precision as COCO defines it (Lin et al., ECCV 2014; cocodataset.org/#detection-eval), and P, R, F1.

Found boxes are (k, 6): left, top, right, bottom, score, class, the form in which a package of kind ``boxes`` answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .boxes import areas_px, intersections_px, overlaps

IOU_LEVELS = np.linspace(0.5, 0.95, 10)
SMALL_PX2, LARGE_PX2 = 32.0**2, 96.0**2
AREAS_PX2 = {
    "all": (0.0, 1e10),
    "small": (0.0, SMALL_PX2),
    "medium": (SMALL_PX2, LARGE_PX2),
    "large": (LARGE_PX2, 1e10),
}
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class DetectionScores:
    """Means over the classes that occur; NaN where nothing of that size does. All 0..1.

    ``precision``, ``recall`` and ``f1`` hold at IoU 0.5 and the score ``threshold`` that makes F1 largest.
    """

    ap50: float
    ap50_95: float
    ap_small: float
    ap_medium: float
    ap_large: float
    precision: float
    recall: float
    f1: float
    threshold: float
    images: int
    boxes: int

    def as_dict(self) -> dict[str, float]:
        """The scores by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """Detections of one class in one picture. ``hit``, ``out``: (levels, k) bool, right, and not to be counted."""

    scores: NDArray[np.float64]
    hit: NDArray[np.bool_]
    out: NDArray[np.bool_]
    truths: int


def score_detections(
    found: Sequence[NDArray[Any]],
    boxes: Sequence[NDArray[Any]],
    labels: Sequence[NDArray[Any]],
    *,
    classes: int,
    ignored: Sequence[NDArray[Any]] | None = None,
    most: int = 300,
) -> DetectionScores:
    """Score what was found in each picture against its boxes (n, 4) and labels (n,).

    ``ignored`` regions (m, 4) take up detections of every class without counting them. Of each picture and class the
    ``most`` best detections count.
    """
    regions = ignored if ignored is not None else [np.zeros((0, 4))] * len(found)
    pictures = [_by_class(f, b, k, classes) for f, b, k in zip(found, boxes, labels, strict=True)]
    precision: dict[str, list[NDArray[np.float64]]] = {size: [] for size in AREAS_PX2}
    matched_all: list[list[_Matched]] = []
    for kind in range(classes):
        for size, limits in AREAS_PX2.items():
            matched = [
                _match(picture[kind], region, limits, most) for picture, region in zip(pictures, regions, strict=True)
            ]
            if sum(one.truths for one in matched):
                precision[size].append(_average_precision(matched))
                if size == "all":
                    matched_all.append(matched)
    mean = {size: np.mean(values, axis=0) if values else np.full(10, np.nan) for size, values in precision.items()}
    p, r, f1, threshold = _operating_point(matched_all)
    return DetectionScores(
        ap50=float(mean["all"][0]),
        ap50_95=float(mean["all"].mean()),
        ap_small=float(mean["small"].mean()),
        ap_medium=float(mean["medium"].mean()),
        ap_large=float(mean["large"].mean()),
        precision=p,
        recall=r,
        f1=f1,
        threshold=threshold,
        images=len(found),
        boxes=sum(len(one) for one in boxes),
    )


def _by_class(
    found: NDArray[Any], boxes: NDArray[Any], labels: NDArray[Any], classes: int
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    return [(found[found[:, 5] == kind], boxes[labels == kind]) for kind in range(classes)]


def _match(
    pair: tuple[NDArray[Any], NDArray[Any]], regions: NDArray[Any], limits: tuple[float, float], most: int
) -> _Matched:
    """Greedy matching, best score first: a box inside the size limits before one outside, then a region."""
    found, truth = pair
    found = found[np.argsort(-found[:, 4], kind="stable")][:most]
    area = areas_px(truth)
    foreign = (area < limits[0]) | (area > limits[1])
    order = np.argsort(foreign, kind="stable")
    truth, foreign = truth[order], foreign[order]
    hit = np.zeros((len(IOU_LEVELS), len(found)), dtype=bool)
    out = hit.copy()
    own = areas_px(found)
    inside = _share_in(found, regions, own)
    taken = np.zeros((len(IOU_LEVELS), len(truth)), dtype=bool)
    iou = overlaps(found, truth)
    for number in range(len(found)):
        near = np.flatnonzero(iou[number] >= IOU_LEVELS[0] - 1e-10)
        for level, needed in enumerate(IOU_LEVELS):
            best = _best(iou[number], near, taken[level], foreign, float(needed)) if len(near) else -1
            if best >= 0:
                taken[level, best] = True
                hit[level, number], out[level, number] = not foreign[best], bool(foreign[best])
            else:
                out[level, number] = inside[number] >= needed - 1e-10
    outside = (own < limits[0]) | (own > limits[1])
    out |= ~hit & ~out & outside[None]
    return _Matched(found[:, 4].astype(np.float64), hit, out, int((~foreign).sum()))


def _share_in(found: NDArray[Any], regions: NDArray[Any], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k,) the largest share of each detection that lies in one region."""
    if not len(regions) or not len(found):
        return np.zeros(len(found))
    share: NDArray[np.float64] = (intersections_px(found, regions) / np.maximum(own, 1e-12)[:, None]).max(axis=1)
    return share


def _best(
    iou: NDArray[np.float64], near: NDArray[Any], taken: NDArray[np.bool_], foreign: NDArray[np.bool_], needed: float
) -> int:
    """Index of the free box that overlaps most, the last among equals; those that count come first. -1: none."""
    floor, best = min(needed, 1.0 - 1e-10), -1
    for index in near.tolist():
        if taken[index]:
            continue
        if best >= 0 and not foreign[best] and foreign[index]:
            break
        if iou[index] >= floor:
            floor, best = float(iou[index]), index
    return best


def _average_precision(matched: Sequence[_Matched]) -> NDArray[np.float64]:
    """(levels,) mean over 101 recalls of the largest precision at that recall or beyond."""
    truths = sum(one.truths for one in matched)
    order, hit, out = _ranked(matched)
    result = np.zeros(len(IOU_LEVELS))
    for level in range(len(IOU_LEVELS)):
        right = np.cumsum(hit[level, order])
        wrong = np.cumsum(~hit[level, order] & ~out[level, order])
        recall = right / truths
        precision = right / np.maximum(right + wrong, np.spacing(1.0))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, _RECALLS, side="left")
        result[level] = np.append(envelope, 0.0)[np.minimum(at, len(envelope))].mean()
    return result


def _ranked(matched: Sequence[_Matched]) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    scores = np.concatenate([one.scores for one in matched])
    hit = np.concatenate([one.hit for one in matched], axis=1)
    out = np.concatenate([one.out for one in matched], axis=1)
    return np.argsort(-scores, kind="stable"), hit, out


def _operating_point(matched_all: Sequence[Sequence[_Matched]]) -> tuple[float, float, float, float]:
    """(precision, recall, F1, score) at IoU 0.5 where F1 over all classes together is largest."""
    matched = [one for kind in matched_all for one in kind]
    truths = sum(one.truths for one in matched)
    if not matched or not sum(len(one.scores) for one in matched):
        return 0.0, 0.0, 0.0, 1.0
    order, hit, out = _ranked(matched)
    scores = np.concatenate([one.scores for one in matched])[order]
    right = np.cumsum(hit[0, order])
    wrong = np.cumsum(~hit[0, order] & ~out[0, order])
    f1 = 2.0 * right / np.maximum(right + wrong + truths, 1)
    best = int(f1.argmax())
    precision = right[best] / max(right[best] + wrong[best], 1)
    return float(precision), float(right[best] / truths), float(f1[best]), float(scores[best])
