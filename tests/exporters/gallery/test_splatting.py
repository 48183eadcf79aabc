"""Gaussians, their pictures and virtual cameras against the card's hand-computed values."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from exporters.errors import DatasetError
from exporters.gallery.cameras import centre_of, height_for, raw_normals, stage_of, virtual_camera
from exporters.gallery.gaussians import Gaussians, of_map, of_points, read_ply, write_ply
from exporters.gallery.novel import drawn_tile, sight_at
from exporters.gallery.splatter import BLUR_PX2, Camera, draw, project


def gaussians(mean: object, colour: object, opacity: object, scale_m: float = 0.1) -> Gaussians:
    place = np.array(mean, dtype=float)
    turn = np.tile([1.0, 0.0, 0.0, 0.0], (len(place), 1))
    return Gaussians(place, np.full((len(place), 3), scale_m), turn, np.array(opacity), np.array(colour, dtype=float))


def cloud(count: int, seed: int = 0) -> Gaussians:
    rng = np.random.default_rng(seed)
    mean = rng.uniform([-1, -1, 4], [1, 1, 6], (count, 3))
    scale = rng.uniform(0.03, 0.15, (count, 3))
    return Gaussians(mean, scale, rng.normal(size=(count, 4)), rng.uniform(0.3, 0.9, count), rng.random((count, 3)))


CAMERA = Camera(np.eye(3), np.zeros(3), 24.0, 24, 24)


def test_a_round_gaussian_has_the_variance_of_the_card() -> None:
    camera = Camera(np.eye(3), np.zeros(3), 500.0, 65, 65)
    place, covariance, depth = project(gaussians([[0, 0, 5]], [[1, 0, 0]], [0.5]), camera)
    np.testing.assert_allclose(covariance[0], 100.0 * np.eye(2), rtol=1e-9)
    assert BLUR_PX2 == 0.3
    np.testing.assert_allclose(place[0], [32, 32])
    assert depth[0] == 5


def test_colours_are_laid_over_each_other_from_the_front() -> None:
    camera = Camera(np.eye(3), np.zeros(3), 100.0, 33, 33)
    two = gaussians([[0, 0, 6], [0, 0, 5]], [[0, 1, 0], [1, 0, 0]], [0.5, 0.6])
    seen = draw(two, camera)
    np.testing.assert_allclose(seen.colour[:, 16, 16], [0.6, 0.2, 0.0], atol=1e-9)
    assert seen.through[16, 16] == pytest.approx(0.2)
    assert seen.through[0, 0] == 1.0


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    seen = draw(gaussians([[0, 0, -5]], [[1, 1, 1]], [0.9]), CAMERA)
    assert (seen.colour == 0).all()
    assert (seen.through == 1).all()


def test_the_two_splatters_agree() -> None:
    torch = pytest.importorskip("torch")
    from exporters.gallery.fitting import dense, gaussians_of, tensors

    scene = cloud(60)
    with torch.inference_mode():
        slow = dense(tensors(scene), CAMERA).numpy()
    np.testing.assert_allclose(draw(scene, CAMERA).colour, slow, atol=0.02)
    back = gaussians_of(tensors(scene))
    np.testing.assert_allclose(back.scale_m, scene.scale_m, rtol=1e-5)


def test_a_disturbed_scene_is_fitted_back() -> None:
    pytest.importorskip("torch")
    from exporters.gallery.fitting import fit

    scene, rng = cloud(150, 1), np.random.default_rng(2)
    wanted = np.clip(np.rint(255 * draw(scene, CAMERA).colour), 0, 255).astype(np.uint8)
    moved = scene.mean_m + rng.normal(0, 0.02, scene.mean_m.shape)
    start = Gaussians(moved, scene.scale_m, scene.quaternion, scene.opacity, rng.random((150, 3)))
    _, curve = fit(start, [(wanted, CAMERA)], steps=13, fitted=("mean_m", "colour"), rate=5.0)
    assert curve[12] < 0.4 * curve[0]


def test_the_normal_of_a_bend_is_the_one_of_the_card() -> None:
    centre = np.array([0.5, 0.0, 2.0])
    path = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(raw_normals(path, centre), [[0, 2, 0]])
    stage = stage_of(path, np.tile([0.0, -1.0, 0.0], (2, 1)), np.tile([0.0, 0.0, 1.0], (2, 1)), centre)
    np.testing.assert_allclose(stage.normal, [0, -1, 0])
    assert not stage.fallback


@pytest.mark.parametrize(("centre", "normal"), [([0, 0, 5], [0, 0, 0]), ([0, -2, 0.5], [-2, 0, 0])])
def test_a_straight_drive_falls_back_on_the_cameras_own_up(centre: list[float], normal: list[float]) -> None:
    path = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    raw = raw_normals(path, np.array(centre, dtype=float))[0]
    np.testing.assert_allclose(np.abs(raw), np.abs(normal))
    stage = stage_of(
        path, np.tile([0.0, -1.0, 0.0], (2, 1)), np.tile([0.0, 0.0, 1.0], (2, 1)), np.array(centre, dtype=float)
    )
    assert stage.fallback
    np.testing.assert_allclose(stage.normal, [0, -1, 0])


@pytest.mark.parametrize(("tilt", "place"), [(30, (0, -10, -17.321)), (45, (0, -14.142, -14.142)), (90, (0, -20, 0))])
def test_a_virtual_camera_stands_where_the_card_puts_it(tilt: float, place: tuple[float, ...]) -> None:
    path = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    stage = stage_of(path, np.tile([0.0, -1.0, 0.0], (2, 1)), np.tile([0.0, 0.0, 1.0], (2, 1)), np.zeros(3))
    axes, where = virtual_camera(stage, tilt, 20.0)
    np.testing.assert_allclose(where, place, atol=1e-3)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    np.testing.assert_allclose(axes @ (stage.centre_m - where), [0, 0, 20], atol=1e-9)


def test_the_centre_forgets_the_farthest_points_and_the_height_is_clamped() -> None:
    points = np.vstack([np.zeros((19, 3)), [[1000.0, 0, 0]]])
    np.testing.assert_allclose(centre_of(points), 0.0)
    assert height_for(points, np.zeros(3), 500.0, 500) == 10.0
    ball = np.random.default_rng(0).normal(size=(400, 3))
    radius = np.quantile(np.linalg.norm(ball, axis=1), 0.9)
    assert height_for(10 * ball, np.zeros(3), 500.0, 1000) == pytest.approx(2 * 10 * radius * 500 / 800)


def test_a_flat_map_seen_from_the_side_gives_the_map_back() -> None:
    rng = np.random.default_rng(3)
    pixels = np.kron(rng.integers(0, 256, (3, 13, 13)), np.ones((4, 4))).astype(np.uint8)
    scene = of_map(pixels, np.zeros((52, 52)), 0.5)
    sight = sight_at(60.0, 90.0, tile_m=16.0, edge_px=32)
    tile = drawn_tile(scene, sight, tile_m=16.0, edge_px=32).astype(float)

    def alike(right: int, down: int) -> float:
        shifted = pixels[:, 10 + down : 42 + down, 10 + right : 42 + right].astype(float)
        return float(np.corrcoef(tile.ravel(), shifted.ravel())[0, 1])

    assert alike(0, 0) > 0.8
    assert all(alike(0, 0) > alike(right, down) for right, down in ((1, 0), (-1, 0), (0, 1), (0, -1)))


def test_a_tower_leans_away_in_a_slanted_view() -> None:
    pixels, height = np.full((3, 52, 52), 60, dtype=np.uint8), np.zeros((52, 52))
    pixels[:, 24:28, 24:28], height[24:28, 24:28] = 255, 5.0
    sight = sight_at(45.0, 0.0, tile_m=16.0, edge_px=32)
    tile = drawn_tile(of_map(pixels, height, 0.5), sight, tile_m=16.0, edge_px=32)[0].astype(float)
    rows = np.nonzero(tile > 200)[0]
    assert rows.mean() < 11  # 5 m high at 45 degrees: 5 m further north, 10 px up from row 15.5


def test_gaussians_survive_their_file(tmp_path: Path) -> None:
    scene = cloud(7)
    write_ply(tmp_path / "a.ply", scene)
    back = read_ply(tmp_path / "a.ply")
    for one, other in zip((scene.mean_m, scene.scale_m, scene.opacity, scene.colour), (back.mean_m, back.scale_m, back.opacity, back.colour), strict=True):  # fmt: skip  # noqa: E501
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    for content, words in (
        (b"", "header has no end"),
        (b"ply\nformat ascii 1.0\nend_header\n", "second line"),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nend_header\n0000", "plain point"),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n0", "buffer"),
    ):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=words):
            read_ply(path)


def test_points_become_gaussians_as_wide_as_their_neighbours_are_near() -> None:
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=float)
    made = of_points(corner, np.ones((4, 3)))
    np.testing.assert_allclose(made.scale_m, (1 + 1 + 2**0.5) / 3)
    assert (made.opacity == 0.5).all()


@pytest.mark.skipif(find_spec("pycolmap") is not None, reason="pycolmap is here")
def test_without_the_extra_a_reconstruction_says_how_to_get_it(tmp_path: Path) -> None:
    from exporters.gallery.reconstruct import reconstruct

    with pytest.raises(DatasetError, match=r"pip install 'subsolar\[splat\]'"):
        reconstruct(tmp_path, tmp_path / "work")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.skipif(find_spec("pycolmap") is None, reason="needs the extra splat")
def test_pictures_of_one_square_are_placed(tmp_path: Path) -> None:
    import rasterio

    from exporters.gallery.reconstruct import reconstruct

    rng = np.random.default_rng(4)
    height = np.kron(rng.uniform(0, 6, (20, 20)), np.ones((12, 12)))
    pixels = np.kron(rng.integers(0, 256, (3, 80, 80)), np.ones((3, 3))).astype(np.uint8)
    scene = of_map(pixels, height, 0.25)
    folder = tmp_path / "pictures"
    folder.mkdir()
    down = np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])
    for number in range(6):
        seen = draw(scene, Camera(down, np.array([-10.0 + 4.0 * number, 0.0, 40.0]), 320.0, 240, 320))
        with rasterio.open(
            folder / f"{number}.png", "w", driver="PNG", width=320, height=240, count=3, dtype="uint8"
        ) as file:
            file.write(np.clip(np.rint(255 * seen.colour), 0, 255).astype(np.uint8))
    found = reconstruct(folder, tmp_path / "work")
    assert len(found.cameras) >= 5
    assert len(found.start()) > 50
