"""Merging boxes: the keep set of the plain double loop, in one go or row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.tasks.boxes import Boxes, Overlap, StreamingMerge, suppress


def boxes_of(count: int, span_px: float, size_px: float, *, classes: int = 2, seed: int = 0) -> Boxes:
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(0, span_px, (count, 2)), rng.uniform(0.3, 2.0, (count, 2)) * size_px
    score = np.round(rng.uniform(0, 1, count), 2)  # many ties
    return Boxes(
        np.concatenate([centre - size / 2, centre + size / 2], axis=1),
        score,
        rng.integers(0, classes, count),
        np.zeros((count, 2), dtype=np.int64),
        rng.random(count) < 0.2,
    )


def brute_force(boxes: Boxes, overlap: Overlap) -> list[int]:
    left, top, right, bottom = boxes.sides_px.T
    area, kept = (right - left) * (bottom - top), list[int]()
    parts_last = boxes.cut if overlap.rejoin else np.zeros(len(boxes))
    for i in np.lexsort((bottom, right, top, left, -boxes.score, parts_last)).tolist():
        for k in kept:
            wide = min(right[i], right[k]) - max(left[i], left[k])
            high = min(bottom[i], bottom[k]) - max(top[i], top[k])
            if boxes.class_id[i] != boxes.class_id[k] or wide <= 0 or high <= 0:
                continue
            shared = wide * high
            part = overlap.rejoin and (boxes.cut[i] or boxes.cut[k])
            union = overlap.metric == "iou" and not part
            whole = area[i] + area[k] - shared if union else min(area[i], area[k])
            if shared >= overlap.threshold * whole:
                break
        else:
            kept.append(i)
    return kept


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(0, 120),
    span=st.floats(1, 300),
    size=st.floats(0.5, 60),
    metric=st.sampled_from(["iou", "ios"]),
    threshold=st.sampled_from([0.05, 0.3, 0.5, 0.9, 1.0]),
    rejoin=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_r29_the_keep_set_is_that_of_brute_force(
    count: int, span: float, size: float, metric: str, threshold: float, rejoin: bool, seed: int
) -> None:
    boxes, overlap = boxes_of(count, span, size, seed=seed), Overlap(metric, threshold, rejoin)
    assert suppress(boxes, overlap).tolist() == brute_force(boxes, overlap)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 8),
    per_row=st.integers(0, 40),
    threshold=st.sampled_from([0.2, 0.5]),
    seed=st.integers(0, 10**6),
)
def test_row_by_row_keeps_what_all_at_once_keeps(rows: int, per_row: int, threshold: float, seed: int) -> None:
    overlap, height = Overlap("ios", threshold), 40.0
    merge, everything, kept = StreamingMerge(overlap), [], []
    for row in range(rows):
        part = boxes_of(per_row, height * 1.5, 12, seed=seed + row)
        sides = np.clip(part.sides_px, 0, height * 1.5)
        sides[:, [1, 3]] += row * height
        part = Boxes(sides, part.score, part.class_id, part.tile_px, part.cut)
        merge.add(part)
        everything.append(part)
        kept.append(merge.settle((row + 1) * height))
    kept.append(merge.finish())
    together = Boxes.together(everything)
    expected = together.take(suppress(together, overlap))
    got = Boxes.together(kept)
    assert sorted(map(tuple, got.sides_px.tolist())) == sorted(map(tuple, expected.sides_px.tolist()))


def test_thirty_thousand_crowded_boxes_keep_what_sahi_keeps() -> None:
    combine = pytest.importorskip("sahi.postprocess.combine", reason="needs the extra: bench")
    boxes = boxes_of(33_337, 3000, 40, classes=1, seed=9)
    whole = Boxes(boxes.sides_px, boxes.score, boxes.class_id, boxes.tile_px, np.zeros(len(boxes), dtype=bool))
    table = np.column_stack([whole.sides_px, whole.score, whole.class_id])
    assert set(suppress(whole, Overlap()).tolist()) == set(combine.nms(table, "IOU", 0.5))


def test_a_whole_box_stands_for_the_part_of_it_that_a_border_cut_off() -> None:
    sides = np.array([[0.0, 0.0, 10.0, 20.0], [0.0, 12.0, 10.0, 20.0]])
    boxes = Boxes(
        sides, np.array([0.6, 0.9]), np.zeros(2, dtype=int), np.zeros((2, 2), dtype=int), np.array([False, True])
    )
    assert suppress(boxes, Overlap()).tolist() == [0]
    assert suppress(boxes, Overlap(rejoin=False)).tolist() == [1, 0]


def test_one_box_that_covers_everything_does_not_slow_the_rest_down() -> None:
    boxes = boxes_of(5000, 3000, 2, classes=1)
    sides = boxes.sides_px.copy()
    sides[0] = (0, 0, 1e9, 1e9)
    huge = Boxes(sides, boxes.score, boxes.class_id, boxes.tile_px, np.zeros(5000, dtype=bool))
    assert len(suppress(huge, Overlap())) > 4500


@pytest.mark.parametrize(("metric", "threshold"), [("giou", 0.5), ("iou", 0.0), ("iou", 1.5)])
def test_an_overlap_that_is_none_is_refused(metric: str, threshold: float) -> None:
    with pytest.raises(ValueError, match="iou or ios"):
        Overlap(metric, threshold)
