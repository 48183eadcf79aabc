from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from exporters.metrics.boxes import overlaps, paired_difference, suppress
from exporters.metrics.detection import score_detections

Scene = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], list[np.ndarray]]


def some_scene(seed: int, *, images: int = 25, classes: int = 3, regions: bool = False) -> Scene:
    """Random truths and detections that resemble them, with ties in score, misses and inventions."""
    rng = np.random.default_rng(seed)
    found, boxes, labels, ignored = [], [], [], []
    for _ in range(images):
        count = int(rng.integers(0, 9))
        corner = rng.uniform(0, 300, (count, 2))
        truth = np.hstack([corner, corner + np.exp(rng.uniform(1.5, 5.2, (count, 2)))])
        kinds = rng.integers(0, classes, count)
        again = np.repeat(truth, 2, axis=0) + rng.normal(0, 4, (2 * count, 4))
        again[:, 2:] = np.maximum(again[:, 2:], again[:, :2] + 1)
        stray = rng.uniform(0, 300, (3, 2))
        all_boxes = np.vstack([again, np.hstack([stray, stray + rng.uniform(5, 150, (3, 2))])])
        scores = np.round(rng.uniform(0, 1, len(all_boxes)), 2)
        guessed = np.where(rng.random(2 * count) < 0.8, np.repeat(kinds, 2), rng.integers(0, classes, 2 * count))
        kind = np.concatenate([guessed, rng.integers(0, classes, 3)])
        found.append(np.column_stack([all_boxes, scores, kind]))
        boxes.append(truth)
        labels.append(kinds)
        ignored.append(np.array([[0.0, 0.0, 150.0, 150.0]]) if regions else np.zeros((0, 4)))
    return found, boxes, labels, ignored


def by_pycocotools(scene: Scene, classes: int, most: int) -> list[float]:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found, boxes, labels, ignored = scene
    truth = COCO()
    truth.dataset = {"images": [], "annotations": [], "categories": [{"id": k} for k in range(classes)]}
    results = []
    for image, (seen, real, kinds, regions) in enumerate(zip(found, boxes, labels, ignored, strict=True)):
        truth.dataset["images"].append({"id": image})
        rows = [(box, int(kind), 0) for box, kind in zip(real, kinds, strict=True)]
        rows += [(box, kind, 1) for box in regions for kind in range(classes)]
        for (left, top, right, bottom), kind, crowd in rows:
            truth.dataset["annotations"].append(
                {
                    "id": len(truth.dataset["annotations"]) + 1,
                    "image_id": image,
                    "category_id": kind,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": crowd,
                }
            )
        for left, top, right, bottom, score, kind in seen:
            box = [left, top, right - left, bottom - top]
            results.append({"image_id": image, "category_id": int(kind), "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        measured = COCOeval(truth, truth.loadRes(results), "bbox")
        measured.params.maxDets = [1, 10, most]
        measured.evaluate()
        measured.accumulate()
    precision = measured.eval["precision"]  # (level, recall, class, size, most)
    parts = [precision[0, :, :, 0, 2], *(precision[:, :, :, size, 2] for size in range(4))]
    return [float(part[part > -1].mean()) for part in parts]


@pytest.mark.parametrize(("seed", "regions"), [(0, False), (1, False), (2, True)])
def test_average_precision_is_that_of_pycocotools(seed: int, regions: bool) -> None:
    scene = some_scene(seed, regions=regions)
    ours = score_detections(*scene[:3], classes=3, ignored=scene[3], most=20)
    theirs = by_pycocotools(scene, 3, 20)
    assert [ours.ap50, ours.ap50_95, ours.ap_small, ours.ap_medium, ours.ap_large] == pytest.approx(theirs, abs=1e-9)


def test_a_perfect_answer_scores_one_and_none_scores_zero() -> None:
    _, boxes, labels, _ = some_scene(3)
    perfect = [np.column_stack([b, np.full(len(b), 0.9), k]) for b, k in zip(boxes, labels, strict=True)]
    scores = score_detections(perfect, boxes, labels, classes=3)
    assert (scores.ap50, scores.ap50_95, scores.precision, scores.recall, scores.f1) == (1.0, 1.0, 1.0, 1.0, 1.0)
    nothing = score_detections([np.zeros((0, 6))] * len(boxes), boxes, labels, classes=3)
    assert (nothing.ap50, nothing.f1, nothing.boxes) == (0.0, 0.0, scores.boxes)


def test_precision_and_recall_are_those_where_f1_is_largest() -> None:
    truth = [np.array([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])]
    seen = [np.array([[0.0, 0, 10, 10, 0.9, 0], [20, 0, 30, 10, 0.8, 0], [70, 0, 80, 10, 0.7, 0]])]
    scores = score_detections(seen, truth, [np.zeros(3, int)], classes=1)
    assert (scores.precision, scores.recall, scores.threshold) == (1.0, pytest.approx(2 / 3), 0.8)
    assert scores.f1 == pytest.approx(0.8)


def test_sizes_that_do_not_occur_have_no_average_precision() -> None:
    truth = [np.array([[0.0, 0, 10, 10]])]
    scores = score_detections([np.array([[0.0, 0, 10, 10, 0.9, 0]])], truth, [np.zeros(1, int)], classes=1)
    assert scores.ap_small == 1.0
    assert np.isnan([scores.ap_medium, scores.ap_large]).all()


def test_suppression_keeps_the_best_of_each_heap_and_class() -> None:
    found = np.array(
        [[0, 0, 10, 10, 0.6, 0], [1, 0, 11, 10, 0.9, 0], [1, 0, 11, 10, 0.8, 1], [50, 50, 60, 60, 0.2, 0]], np.float32
    )
    kept = suppress(found, min_score=0.25, max_overlap=0.45)
    assert kept[:, 4].tolist() == pytest.approx([0.9, 0.8])
    assert overlaps(kept[:1], kept[1:])[0, 0] == pytest.approx(1.0)


def test_answers_are_compared_whatever_the_order_of_equal_scores() -> None:
    ours = np.array([[0, 0, 10, 10, 0.9, 0], [5, 5, 9, 9, 0.9, 0], [50, 50, 60, 60, 0.2, 0]], np.float32)
    theirs = ours[[1, 0, 2]] + np.float32([0, 0.5, 0, 0, 0.01, 0])
    assert paired_difference(ours, theirs) == pytest.approx((0.5, 0.01))
    assert paired_difference(ours[:0], theirs[:0]) == (0.0, 0.0)
    assert paired_difference(ours, theirs[:0]) == (np.inf, np.inf)
