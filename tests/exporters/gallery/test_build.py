"""Galleries: made from real files, kept and read again, refused where they would mislead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.errors import DatasetError
from exporters.gallery import Gallery, Plan, Sight, Source, build_gallery, read_gallery, tile_of
from exporters.gallery.gallery import lift

PLAN = Plan(package="p", package_sha256="ab", edge_px=16, tile_m=16.0, step_m=8.0, temperature=0.05)


def embed(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 4 px squares, without the tile's own mean."""
    blocks = tiles.reshape(len(tiles), 3, 4, tiles.shape[2] // 4, 4, tiles.shape[3] // 4).mean((3, 5))
    flat = blocks.reshape(len(tiles), -1)
    flat = flat - flat.mean(1, keepdims=True) + 1e-6
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True), dtype=np.float32)


def ground(seed: int = 0, side: int = 96) -> NDArray[np.uint8]:
    return np.kron(np.random.default_rng(seed).integers(0, 256, (3, side // 4, side // 4)), np.ones((4, 4))).astype(
        "u1"
    )


def write(path: Path, pixels: NDArray[Any], **profile: Any) -> Path:
    import rasterio
    from affine import Affine

    layout = {
        "driver": "GTiff", "dtype": pixels.dtype.name, "count": len(pixels), "height": pixels.shape[1],
        "width": pixels.shape[2], "crs": "EPSG:32632", "transform": Affine(1.0, 0, 5e5, 0, -1.0, 5.3e6), **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **layout) as file:
        file.write(pixels)
    return path


def test_every_place_of_a_scene_is_in_the_gallery(tmp_path: Path) -> None:
    made = build_gallery(embed, PLAN, [write(tmp_path / "a.tif", ground())])
    assert len(made) == 11 * 11
    assert made.crs == "EPSG:32632"
    np.testing.assert_allclose(made.centre_m[0], [5e5 + 8, 5.3e6 - 8])
    assert (made.sources[0].name, made.sources[0].views, made.sources[0].gsd_m) == ("a.tif", 121, 1.0)
    np.testing.assert_allclose(made.vectors[0], embed(ground()[None, :, :16, :16])[0], atol=1e-3)


def test_a_gallery_survives_its_file(tmp_path: Path) -> None:
    made = build_gallery(embed, replace(PLAN, headings=4), [write(tmp_path / "a.tif", ground())])
    size_byte = made.write(tmp_path / "g.npz")
    back = read_gallery(tmp_path / "g.npz")
    assert size_byte < 100_000
    assert len(back) == 4 * 121
    assert set(back.heading_deg.tolist()) == {0.0, 90.0, 180.0, 270.0}
    assert (back.package, back.sources, back.temperature) == (made.package, made.sources, made.temperature)
    np.testing.assert_array_equal(back.vectors, made.vectors)


def test_degrees_become_metres_of_the_utm_zone(tmp_path: Path) -> None:
    from affine import Affine

    step = 1.0 / 111_320.0
    path = write(tmp_path / "a.tif", ground(), crs="EPSG:4326", transform=Affine(step, 0, 9.0, 0, -step, 0.5))
    made = build_gallery(embed, PLAN, [path])
    assert made.crs == "EPSG:32632"
    assert len(made) > 80


def test_holes_are_left_out(tmp_path: Path) -> None:
    pixels = ground()
    pixels[:, :, 48:] = 0
    made = build_gallery(embed, PLAN, [write(tmp_path / "a.tif", pixels, nodata=0)])
    assert made.centre_m[:, 0].max() <= 5e5 + 42


def test_novel_views_stand_beside_the_straight_ones(tmp_path: Path) -> None:
    plan = replace(PLAN, tilts_deg=(60.0,), step_m=16.0)
    heights = write(tmp_path / "h.tif", np.zeros((1, 48, 48), dtype=np.float32))
    made = build_gallery(embed, replace(plan, heights=heights), [write(tmp_path / "a.tif", ground(side=48))])
    slanted = made.tilt_deg == 60.0
    assert slanted.sum() == 4  # the one place whose wider view is inside, from four sides
    for at in np.flatnonzero(slanted):
        apart = np.linalg.norm(made.centre_m[~slanted] - made.centre_m[at], axis=1)
        alike = made.vectors[~slanted].astype(float) @ made.vectors[at].astype(float)
        assert alike.argmax() == apart.argmin()


def test_the_threshold_keeps_its_share_of_what_is_not_there(tmp_path: Path) -> None:
    made = build_gallery(embed, PLAN, [write(tmp_path / "a.tif", ground())])
    assert made.null_kind == "leave-one-out"
    assert np.mean(made.null_lifts >= made.threshold(0.05)) <= 0.05
    other = build_gallery(
        embed, PLAN, [write(tmp_path / "a.tif", ground())], calibrate=[write(tmp_path / "b.tif", ground(5))]
    )
    assert other.null_kind == "calibration"
    assert len(other.null_lifts) > 50
    assert replace(made, null_lifts=made.null_lifts[:3]).threshold(0.05) == float("inf")


def test_a_lift_does_not_change_when_all_scores_rise() -> None:
    scores = np.random.default_rng(0).random(50).astype(np.float32)
    assert lift(scores, 0.1) == pytest.approx(lift(scores + 0.5, 0.1), abs=1e-6)
    assert lift(np.ones(9), 0.1) == 0.0


def test_scenes_that_mislead_are_refused(tmp_path: Path) -> None:
    from affine import Affine
    from rasterio.errors import NotGeoreferencedWarning

    metres = {"crs": "EPSG:4326", "transform": Affine(1.0, 0, -92.8, 0, -1.0, 92.8)}
    wrong = write(tmp_path / "wrong.tif", ground(), **metres)
    with pytest.raises(DatasetError, match="degrees of latitude"):
        build_gallery(embed, PLAN, [wrong])
    assert build_gallery(embed, replace(PLAN, crs="local"), [wrong]).crs == "local"
    nameless = write(tmp_path / "nameless.tif", ground(), crs=None)
    with pytest.raises(DatasetError, match="names no CRS"):
        build_gallery(embed, PLAN, [nameless])
    with pytest.warns(NotGeoreferencedWarning):
        placeless = write(tmp_path / "placeless.tif", ground(), transform=Affine.identity())
    for path, words in (
        (placeless, "not georeferenced"),
        (write(tmp_path / "deep.tif", ground().astype(np.uint16)), "red, green and blue as uint8"),
        (write(tmp_path / "small.tif", ground(side=12)), "no tile of 16 m without holes"),
        (tmp_path / "none.tif", "cannot be used as a map"),
    ):
        with pytest.raises(DatasetError, match=words):
            build_gallery(embed, PLAN, [path])
    with pytest.raises(DatasetError, match="at least one scene"):
        build_gallery(embed, PLAN, [])


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(DatasetError, match="make no gallery"):
        replace(PLAN, step_m=0.0)
    with pytest.raises(DatasetError, match="headings"):
        replace(PLAN, headings=3)


def test_damaged_galleries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    good = Gallery(
        vectors=np.eye(4, dtype=np.float16), centre_m=np.zeros((4, 2)), heading_deg=np.zeros(4, np.float32),
        tilt_deg=np.zeros(4, np.float32), null_lifts=np.zeros(4, np.float32), package="p", package_sha256="s",
        crs="local", edge_px=16, tile_m=16.0, step_m=8.0, temperature=0.1, null_kind="leave-one-out",
        sources=(Source("a", "b", 1.0, "local", 4),),
    )  # fmt: skip
    for broken in (
        replace(good, centre_m=np.zeros((3, 2))),
        replace(good, vectors=np.full((4, 4), np.nan, dtype=np.float16)),
        replace(good, vectors=np.eye(4, dtype=np.float32)),  # type: ignore[arg-type]
        replace(good, temperature=0.0),
    ):
        broken.write(path)
        with pytest.raises(DatasetError, match="is no gallery"):
            read_gallery(path)
    good.write(path)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"PK" + whole[2:40]):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="is no gallery"):
            read_gallery(path)


def test_a_picture_is_turned_north_up() -> None:
    pixels = np.zeros((3, 64, 64), dtype=np.uint8)
    pixels[:, :32] = 200  # what lies ahead
    east = tile_of(pixels, Sight.straight_down(0.5, 90.0), tile_m=16.0, edge_px=16)
    assert east[0, :, 9:].min() == 200
    assert east[0, :, :7].max() == 0


def test_a_slanted_picture_is_laid_onto_the_ground() -> None:
    sight = Sight(focal_px=100.0, height_m=50.0, heading_deg=0.0, tilt_deg=45.0)
    assert sight.ahead_m == pytest.approx((0.0, 50.0))
    ends = sight.project(np.array([[0.0, 0.0], [0.0, 10.0], [0.0, -10.0]]), (101, 101))
    np.testing.assert_allclose(ends[0], [50, 50])
    assert 50 - ends[1, 1] < ends[2, 1] - 50  # what is farther is smaller
    assert ends[1, 1] == pytest.approx(50 - 100 * np.tan(np.arctan(60 / 50) - np.pi / 4))


def test_a_picture_that_shows_too_little_is_refused() -> None:
    with pytest.raises(DatasetError, match="% of a tile"):
        tile_of(np.zeros((3, 20, 20), dtype=np.uint8), Sight.straight_down(0.1), tile_m=16.0, edge_px=16)
    for wrong in ({"tilt_deg": 5.0}, {"height_m": -1.0}, {"heading_deg": float("nan")}):
        with pytest.raises(DatasetError, match=r"Use 25 to 90|Give positive"):
            Sight(**{"focal_px": 100.0, "height_m": 50.0, **wrong})
