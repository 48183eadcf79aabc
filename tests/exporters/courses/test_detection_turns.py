"""Training pictures turned, taken apart by name and cut at several sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("rasterio")

from exporters.courses.detection import PAD
from exporters.courses.detection_course import Reading
from exporters.courses.detection_turns import apart, named, together, turned, turned_boxes
from exporters.courses.sscdh import course
from exporters.errors import DatasetError
from exporters.readers.detection import DetectionSet

NAMES = ("street-1", "street-2", "square-1")


def bar(rows: int = 60, columns: int = 90) -> DetectionSet:
    """One dark picture with a bright bar of 30 x 8 px."""
    pixels = np.full((3, rows, columns), 20, np.uint8)
    pixels[:, 22:30, 40:70] = 250
    nothing = np.zeros((0, 4), np.float32)
    return DetectionSet(
        "bar", (pixels,), (np.array([[40, 22, 70, 30]], np.float32),), (np.zeros(1, np.int64),), ("bar",), (nothing,)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of 128 x 192 px, two bright rectangles each in their left half, the right half empty."""
    import rasterio

    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("car\nbus\n")
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text("".join(f"images/{name}.png\n" for name in NAMES))
    for name in NAMES:
        pixels = np.full((3, 128, 192), 30, np.uint8)
        pixels[:, 16:32, 8:40] = pixels[:, 80:96, 8:40] = 240
        size = {"count": 3, "dtype": "uint8", "height": 128, "width": 192}
        with rasterio.open(tmp_path / "images" / f"{name}.png", "w", driver="PNG", **size) as out:
            out.write(pixels)
        lines = [f"{kind} {24 / 192} {row / 128} {32 / 192} {16 / 128}\n" for kind, row in ((0, 24), (1, 88))]
        (tmp_path / "labels" / f"{name}.txt").write_text("".join(lines))
    return tmp_path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_whole_pictures_are_held_back_and_those_named_are(folder: Path) -> None:
    reading = Reading(tile_px=64, one_class="thing", held="square*")
    train, held = reading.learned(folder, 0.5)
    assert (train.classes, train.count, held.count) == (("thing",), 6, 3)
    assert len(held) > 3, "tiles without anything in them are judged, too"
    alone, rest = Reading(tile_px=64, pictures="street*").learned(folder, 0.5)
    assert (alone.count, rest.count) == (3, 3)
    with pytest.raises(DatasetError, match="no picture is called 'lake"):
        Reading(pictures="lake*").learned(folder, 0.5)
    with pytest.raises(DatasetError, match="holds back every picture"):
        Reading(held="s*").learned(folder, 0.5)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_zooms_turns_and_empty_tiles_each_add_tiles_to_learn_from(folder: Path) -> None:
    plain = Reading(tile_px=64, held="square*").learned(folder, 0.5)[0]
    assert len(plain) == 6, "one rectangle lies in two tiles whole"
    assert all(len(boxes) for boxes in plain.boxes)
    closer = Reading(tile_px=64, held="square*", zooms=(1.0, 2.0)).learned(folder, 0.5)[0]
    assert {one.shape[1] for one in closer.images if isinstance(one, np.ndarray)} == {64, 32}
    quarter = Reading(tile_px=64, held="square*", turns_deg=(0.0, 90.0)).learned(folder, 0.5)[0]
    assert quarter.count > plain.count
    some = Reading(tile_px=64, held="square*", empty_frac=0.5).learned(folder, 0.5)[0]
    assert [len(boxes) > 0 for boxes in some.boxes].count(False) == 3


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_course_takes_all_that_from_its_settings(folder: Path) -> None:
    made = course(
        folder, size="edge", seed=0, edge_px=64, batch=2, tile_px=64, held="square*", zooms=[1, 2], turns_deg=[0, 45]
    )
    assert len(made.fitted) > 8
    assert {one.pixels.shape[2] for one in made.fitted} == {64}
    assert made.held.count == 3


def test_a_quarter_turn_is_exact_and_four_make_none() -> None:
    once = turned(bar(), 90.0)
    pixels = once.pixels(0)
    assert pixels.shape == (3, 90, 60)
    left, top, right, bottom = once.boxes[0][0].astype(int)
    assert (pixels[:, top:bottom, left:right] == 250).all()
    again = turned(turned(turned(once, 90.0), 90.0), 90.0)
    assert (again.pixels(0) == bar().pixels(0)).all()
    assert again.boxes[0] == pytest.approx(bar().boxes[0], abs=1e-4)


@pytest.mark.parametrize("angle_deg", [20.0, 45.0, 110.0])
def test_the_box_of_a_turned_bar_holds_it_and_hardly_more(angle_deg: float) -> None:
    made = turned(bar(), angle_deg)
    pixels = made.pixels(0)
    rows, columns = np.nonzero(pixels[0] > 200)
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert made.boxes[0][0] == pytest.approx(seen, abs=1.5)
    assert pixels[0, 0, 0] == PAD


def test_a_square_box_says_nothing_of_a_direction_and_keeps_its_size() -> None:
    box = turned_boxes(np.array([[40, 20, 60, 40]], np.float32), (100.0, 60.0), 30.0)[0]
    assert box[2:] - box[:2] == pytest.approx([20, 20], abs=1e-3)


def test_sets_are_put_together_in_their_order() -> None:
    both = together([bar(), turned(bar(), 90.0)])
    assert [both.pixels(place).shape for place in (0, 1)] == [(3, 60, 90), (3, 90, 60)]
    assert both.count == 2
    assert named(bar(), "*").count == 1
    with pytest.raises(DatasetError, match="no picture is called"):
        apart(bar(), "a*")
