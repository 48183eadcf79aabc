"""Both stages of CM-CR's course on two synthetic patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253

from exporters.checkpoint import load_checkpoint
from exporters.courses.cm_cr import CloudCourse, course, filled, mean_colour, one_step, rising_levels
from exporters.errors import FitError
from exporters.readers.sen12mscr import Triplet
from exporters.training.loop import fit_course
from exporters.training.training import Training

SIZE = 96


def patch(name: str, seed: int) -> Triplet:
    rng = np.random.default_rng(seed)
    clear = rng.uniform(500, 2500, (13, SIZE, SIZE)).astype(np.float32)
    cloudy, cloud = clear.copy(), np.zeros((SIZE, SIZE), dtype=bool)
    cloud[20:60, 20:60] = True
    cloudy[:, cloud] = 8000
    sar = rng.uniform(-20, -5, (2, SIZE, SIZE)).astype(np.float32)
    return Triplet(name, cloudy, clear, sar, cloud)


def made(stage: str, teacher: Path | None = None, **given: Any) -> CloudCourse:
    one, other = patch("ROIs1_x_1_p1", 1), patch("ROIs1_x_2_p1", 2)
    settings: dict[str, Any] = {"batch": 1, "crop_px": 16, "steps_per_epoch": 2, "steps": 2, "tile_px": 32, **given}
    return CloudCourse(
        size="mini",
        stage=stage,
        train=(one,),
        held_out=(other,),
        donors=(one,),
        teacher=teacher,
        seed=1,
        dataset="synthetic",
        **settings,
    )


def test_the_teacher_is_trained_and_the_student_distilled_from_it(tmp_path: Path) -> None:
    training = Training(epochs=1, seed=1, lr=1e-3, weight_decay=0.0, ema_decay=0.0, threads=1)
    teacher = fit_course(made("teacher"), training, tmp_path / "teacher")
    assert teacher.metric == "denoised_db"
    assert load_checkpoint(teacher.best).switches == {"eps_t": 0.0, "dropout": 0.1}
    student = fit_course(made("student", teacher.best), training, tmp_path / "student")
    assert student.metric == "psnr_cloud_db"
    assert {"ssim", "psnr_db", "cm_cr_psnr_cloud_db", "nothing_sam_rad", "laid_mean_mae_dn"} <= student.test.keys()
    assert all(np.isfinite(value) for value in student.test.values())
    kept = load_checkpoint(student.best)
    assert (kept.kind, kept.dtype, kept.bands[-1]) == ("map", "float32", "noise_level")
    with pytest.raises(FitError, match="distilled from its teacher"):
        made("student").build()
    with pytest.raises(FitError, match="is no teacher of cm_cr"):
        made("student", student.best).build()


def test_batches_follow_from_seed_and_epoch_and_keep_off_the_rows_held_back() -> None:
    one, again = list(made("teacher").batches(3)), list(made("teacher").batches(3))
    for first, second in zip(one, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other = next(iter(made("teacher").batches(4)))
    assert not torch.equal(one[0][2], other[2])
    clear, sar, z, t, _ = one[0]
    assert (clear.shape, sar.shape, z.shape, t.shape) == ((1, 3, 16, 16), (1, 2, 16, 16), (1, 3, 16, 16), (1,))
    marked = made("teacher")
    marked.train[0].clear[:, -64:] = np.nan
    assert all(torch.isfinite(batch[0]).all() for epoch in range(5) for batch in marked.batches(epoch))


def test_the_students_levels_are_neighbours_of_the_distillation_grid() -> None:
    grid = rising_levels(40)
    assert (grid[0], grid[-1]) == pytest.approx((0.002, 80.0))
    for _, _, _, t, below in made("student").batches(0):
        at = int(np.argmin(np.abs(grid - float(t[0]))))
        assert float(below[0]) == pytest.approx(grid[at - 1], rel=1e-5)


def test_tiles_hold_each_level_of_the_sampler_at_each_place() -> None:
    tiles = made("student").tiles("test").pixels
    assert tiles.shape == (9 * 2, 6, 32, 32)
    assert sorted(set(tiles[:, 5].max(axis=(1, 2)).round(3).tolist())) == pytest.approx([2.515, 80.0], abs=0.01)


def test_answers_leave_measured_pixels_alone() -> None:
    one = patch("ROIs1_x_1_p1", 1)
    torch.manual_seed(0)
    network = made("teacher").build().eval()
    for answer in (mean_colour(one), filled(one_step(network), one, 1)):
        assert np.array_equal(answer[:, ~one.cloud], one.cloudy[[3, 2, 1]][:, ~one.cloud])
        assert not np.array_equal(answer, one.cloudy[[3, 2, 1]])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stage": "middle"}, "no stage 'middle'"),
        ({"stage": "teacher", "crop_px": 12}, "multiples of 8 for size mini"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(FitError, match=told):
        course(tmp_path, size="mini", seed=1, **given)
