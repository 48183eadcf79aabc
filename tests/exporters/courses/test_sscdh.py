from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from exporters.courses.detection import (
    Augmentation,
    Fitted,
    anchors_for,
    augmented,
    batches,
    estimate_anchors,
    evaluate,
    fit_picture,
    letterbox,
    possible_recall,
)
from exporters.courses.detection_colour import from_hsv, jitter_hsv, to_hsv
from exporters.courses.sscdh import course
from exporters.errors import DatasetError
from exporters.readers.detection import DetectionSet
from exporters.zoo.sscdh import ANCHORS_PX


def drawn(count: int = 6, rows: int = 100, columns: int = 160, colour: bool = False) -> list[Fitted]:
    """Pictures on which each box is a bright rectangle."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(count):
        pixels = np.full((3, rows, columns), 20, np.uint8)
        boxes = []
        for _ in range(3):
            left, top = int(rng.integers(0, columns - 40)), int(rng.integers(0, rows - 40))
            width, height = rng.integers(12, 36, 2)
            pixels[:, top : top + height, left : left + width] = [[[240]], [[60 if colour else 240]], [[240]]]
            boxes.append([left, top, left + width, top + height])
        pictures.append(fit_picture(pixels, np.float32(boxes), np.zeros(3, np.int64), 128))
    return pictures


def test_letterboxed_boxes_still_frame_what_they_framed() -> None:
    pixels, boxes, (top, left) = letterbox(drawn(1)[0], 128)
    assert (pixels.shape, top, left) == ((3, 128, 128), 24, 0)
    assert (pixels[:, :24] == 114).all()
    for x0, y0, x1, y1 in boxes.round().astype(int):
        assert pixels[0, y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].min() > 230


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_boxes_follow_every_random_view(share: float) -> None:
    pictures = drawn()
    rng = np.random.default_rng(1)
    settings = Augmentation(mosaic=share, flip=0.5, hsv=(0.0, 0.0, 0.0))
    seen = 0
    for index in range(40):
        pixels, boxes, labels = augmented(pictures, index % 6, 128, settings, rng)
        assert (boxes >= 0).all()
        assert (boxes <= 128).all()
        assert len(labels) == len(boxes)
        for x0, y0, x1, y1 in boxes.round().astype(int):
            inner = pixels[0, y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]
            seen += inner.size > 0
            assert not inner.size or inner.min() > 200
    assert seen > 40


def test_one_seed_and_epoch_make_the_same_batches() -> None:
    def batch(seed: int, epoch: int) -> list[float]:
        made = batches(drawn(), edge_px=128, batch=4, settings=Augmentation(), seed=seed, epoch=epoch)
        return [float(one["image"].sum()) + float(one["targets"].sum()) for one in made]

    assert batch(1, 2) == batch(1, 2)
    assert len({tuple(batch(*one)) for one in ((1, 2), (1, 3), (2, 2))}) == 3
    assert len(batch(1, 2)) == 1


def test_colours_survive_the_way_to_hue_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    assert np.abs(from_hsv(*to_hsv(pixels)).astype(int) - pixels).max() <= 1
    grey = np.repeat(pixels[:1], 3, axis=0)
    changed = jitter_hsv(grey, (0.5, 0.5, 0.4), np.random.default_rng(1))
    assert (changed[0] == changed[1]).all()
    assert (changed != grey).any()


def test_a_perfect_detector_scores_one_on_letterboxed_pictures() -> None:
    fitted = drawn()
    truth = DetectionSet(
        "drawn",
        tuple(one.pixels for one in fitted),
        tuple(one.boxes / one.scale for one in fitted),
        tuple(one.labels for one in fitted),
        ("ship",),
        tuple(np.zeros((0, 4), np.float32) for _ in fitted),
    )
    rows = iter([letterbox(one, 128)[1] for one in fitted])

    def answer(tiles: np.ndarray) -> np.ndarray:
        boxes = np.stack([next(rows) for _ in tiles])
        return np.concatenate([boxes, np.full((*boxes.shape[:2], 1), 0.9), np.zeros((*boxes.shape[:2], 1))], 2)

    scores = evaluate(answer, truth, fitted, edge_px=128, max_overlap=1.0, batch=4)
    assert (scores.ap50_95, scores.boxes) == (pytest.approx(1.0), 18)


def test_anchors_are_estimated_only_where_the_usual_ones_do_not_serve() -> None:
    usual = np.array(ANCHORS_PX)
    assert anchors_for(drawn(), usual) is usual
    tiny = [Fitted(one.pixels, one.boxes / 20, one.labels, one.scale) for one in drawn()]
    sides = np.concatenate([one.boxes[:, 2:] - one.boxes[:, :2] for one in tiny])
    found = anchors_for(tiny, usual)
    assert found.shape == (3, 3, 2)
    assert possible_recall(sides, found.reshape(-1, 2)) > 0.98 > possible_recall(sides, usual.reshape(-1, 2))
    assert (np.diff(estimate_anchors(sides, 4).prod(1)) >= 0).all()


def test_a_course_on_real_ships_trains_and_scores(data_dir: Path) -> None:
    root = data_dir / "ssdd-sar-ships"
    if not root.is_dir():
        pytest.skip("needs DATA: ssdd-sar-ships")
    import torch

    made = course(root, size="edge", seed=0, network="yolov5n", edge_px=64, batch=4)
    assert (made.network, made.box_loss, made.switches["head"]) == ("yolov5n", "ciou", "coupled")
    network = made.build().train()
    parts = made.loss(network, next(iter(made.batches(0))))
    assert torch.isfinite(parts["loss"])
    assert (made.steps_per_epoch, len(made.held_fitted)) == (75, 43)
    assert 0 <= made.validate(network.eval())["ap50_95"] <= 1
    assert made.describe().edge_px == 64


def test_a_course_without_its_data_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no folder"):
        course(tmp_path / "absent", size="edge", seed=0)
