"""Two dates of one place: shifts are found, compensated or refused, dates keep their order, change makes products."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.package import ModelPackage
from exporters.records import InputSpec, OutputSpec
from runtime.answers import View, When
from runtime.errors import EngineError, FrameError
from runtime.frame import Patch
from runtime.frames import choose_bands
from runtime.frames.stack import Beside, open_stack
from runtime.georeference import Box
from runtime.records import FloatArray, TileRef
from runtime.tasks.aligned import AlignedFrame
from runtime.tasks.change import ChangeTask, Registration, check_dates, reference_bands, register, skip_misregistered
from runtime.tasks.shift import estimate_shift, moved

BANDS = ("reference_red", "reference_green", "reference_blue", "red", "green", "blue")
EDGE_PX = 16
MakePackage = Callable[..., ModelPackage]


@dataclass
class Known:
    """An engine whose answers the test makes itself."""

    name: str = "known v1"
    provider: str = "cpu"

    def infer(self, batch: FloatArray) -> FloatArray:
        return batch

    def close(self) -> None:
        pass


def view(frame_id: str) -> View:
    return View(64, 64)


def texture(edge: int = 96, seed: int = 0) -> NDArray[np.uint8]:
    """(3, edge, edge) with detail of all sizes, as ground has."""
    rng = np.random.default_rng(seed)
    total = np.zeros((3, edge, edge))
    for size in (2, 4, 8, 16):
        many = -(-edge // size)
        total += np.kron(rng.random((3, many, many)), np.ones((1, size, size)))[:, :edge, :edge]
    scaled: NDArray[np.uint8] = (255 * total / total.max()).astype(np.uint8)
    return scaled


def test_a_shift_by_parts_of_a_pixel_is_found() -> None:
    date = texture()
    for down, right in ((0.0, 0.0), (1.5, -2.25), (-3.4, 0.7)):
        shift = estimate_shift(date, moved(date, down, right))
        assert (shift.down_px, shift.right_px) == (pytest.approx(down, abs=0.1), pytest.approx(right, abs=0.1))
        assert shift.agreement > 20


def test_pictures_that_share_nothing_do_not_agree() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, 3, 96, 96)).astype(np.uint8)
    assert estimate_shift(one, other).agreement < 8
    flat = np.full((3, 96, 96), 9, dtype=np.uint8)
    assert estimate_shift(flat, other).agreement == 0.0
    with pytest.raises(ValueError, match="Cut them alike"):
        estimate_shift(one, other[:, :50])


def test_moving_by_whole_pixels_moves_and_back_again_restores_the_middle() -> None:
    date = texture(32)
    there = moved(date, 2.0, -3.0)
    np.testing.assert_array_equal(there[:, 5:, :20], date[:, 3:-2, 3:23])
    np.testing.assert_array_equal(moved(there, -2.0, 3.0)[:, 4:-4, 4:-4], date[:, 4:-4, 4:-4])


def test_a_small_shift_is_left_a_larger_one_compensated_and_a_large_one_refused() -> None:
    date, rules = texture(), Registration(leave_px=0.25, limit_px=4.0)
    for down, done in ((0.1, "left"), (2.5, "moved")):
        result = register(np.concatenate([date, moved(date, down, 0.0)]), BANDS, rules)
        assert result.done == done
        assert result.shift.down_px == pytest.approx(down, abs=0.1)
    middle = np.abs(result.pixels[:3].astype(float) - result.pixels[3:])[:, 8:-8, 8:-8]
    assert middle.mean() < 3.0
    with pytest.raises(FrameError, match=r"6\.0 px off.*at most 4 px"):
        register(np.concatenate([date, moved(date, 6.0, 0.0)]), BANDS, rules)


def test_what_cannot_be_told_is_said_or_refused() -> None:
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 256, (6, 96, 96)).astype(np.uint8)
    assert register(pair, BANDS, Registration()).done == "unverified"
    with pytest.raises(FrameError, match="agree too little"):
        register(pair, BANDS, Registration(strict=True))


def test_the_filter_sheds_misregistered_tiles_with_the_reason() -> None:
    keep, date = skip_misregistered(BANDS), texture()
    assert keep(Patch(np.concatenate([date, date]))) == ""
    assert "misregistered" in keep(Patch(np.concatenate([date, moved(date, 9.0, 2.0)])))
    assert "float32" in keep(Patch(np.zeros((6, 8, 8), dtype=np.float32)))


def test_the_order_of_dates_is_part_of_the_contract() -> None:
    check_dates(1.0, 2.0)
    check_dates(None, 2.0)
    for reference, new in ((3.0, 2.0), (2.0, 2.0)):
        with pytest.raises(FrameError, match="swapped or the same"):
            check_dates(reference, new)


def test_every_band_needs_both_dates() -> None:
    assert reference_bands(BANDS) == ((0, 1, 2), (3, 4, 5))
    for bands in (("red", "green"), ("reference_red", "green"), ("reference_red",)):
        with pytest.raises(EngineError, match="two dates"):
            reference_bands(bands)


def task_of(package: ModelPackage, **settings: object) -> ChangeTask:
    info = replace(
        package.info,
        task="change",
        classes=("unchanged", "change"),
        input=InputSpec(name="tiles", tile_edge_px=EDGE_PX, bands=BANDS),
        output=OutputSpec(name="scores", kind="mask"),
    )
    return ChangeTask(engine=Known(), package=replace(package, info=info), **settings)  # type: ignore[arg-type]


def answers(shares: list[int], score: float = 0.9) -> tuple[list[TileRef], FloatArray]:
    """Tiles of which so many rows changed."""
    raw = np.zeros((len(shares), 2, EDGE_PX, EDGE_PX), dtype=np.float32)
    raw[:, 0] = 0.5
    for number, rows in enumerate(shares):
        raw[number, 1, :rows] = score
    return [TileRef("field", 0, EDGE_PX * number, EDGE_PX) for number in range(len(shares))], raw


def test_changed_tiles_make_products_worth_more_the_more_changed(make_package: MakePackage) -> None:
    task = task_of(make_package(EDGE_PX), class_value={"change": 8.0})
    refs, raw = answers([0, 1, 2, 12])
    findings, outcomes = task.read(refs, raw, view)
    products = task.products([findings], view, When(2, 5.0))
    assert [outcome.outcome for outcome in outcomes] == ["done"] * 4
    assert [product.col_px for product in products] == [16, 32, 48]
    assert [product.score for product in products] == pytest.approx([0.9] * 3)
    assert [product.value for product in products] == pytest.approx([7.2 * 0.25, 7.2 * 0.5, 7.2])


def test_nan_fails_its_tile_and_a_wrong_shape_the_batch(make_package: MakePackage) -> None:
    task = task_of(make_package(EDGE_PX))
    refs, raw = answers([4, 4])
    raw[0, 0, 0, 0] = math.nan
    assert [outcome.outcome for outcome in task.read(refs, raw, view)[1]] == ["failed", "done"]
    with pytest.raises(EngineError, match="expected"):
        task.read(refs, raw[:, :1], view)


def test_a_package_of_another_kind_or_of_one_date_is_refused(make_package: MakePackage) -> None:
    with pytest.raises(EngineError, match="mask of two"):
        ChangeTask(engine=Known(), package=make_package(EDGE_PX, name="colours"))
    task = task_of(make_package(EDGE_PX))
    info = replace(task.package.info, input=replace(task.package.info.input, bands=("red", "green", "blue")))
    with pytest.raises(EngineError, match="two dates"):
        ChangeTask(engine=Known(), package=replace(task.package, info=info))


def test_a_stack_is_aligned_once_for_all_its_windows(tmp_path: Path, write_tiff: Callable[..., Path]) -> None:
    date = texture(160)
    names = {"descriptions": ("red", "green", "blue")}
    new = write_tiff("new.tif", moved(date, 2.0, -1.5), **names)
    reference = write_tiff("reference.tif", date, **names)
    with open_stack(new, [Beside("reference", reference)]) as stack:
        frame = AlignedFrame(stack)
        assert frame.done == "moved"
        assert (frame.width_px, frame.bands) == (stack.width_px, stack.bands)
        order = choose_bands(stack.bands, BANDS, stack.frame_id)
        patch = frame.window(Box(40, 50, 64, 64), order)
        plain = stack.window(Box(40, 50, 64, 64), order)
    np.testing.assert_array_equal(patch.pixels[3:], plain.pixels[3:])
    off, was = (np.abs(pixels[:3].astype(float) - pixels[3:]).mean() for pixels in (patch.pixels, plain.pixels))
    assert off < 1.0 < was
    with open_stack(new, [Beside("reference", reference)]) as stack, pytest.raises(FrameError, match="px off"):
        AlignedFrame(stack, Registration(limit_px=1.0))
    with open_stack(new, []) as stack, pytest.raises(FrameError, match="no reference"):
        AlignedFrame(stack)
