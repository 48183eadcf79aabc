"""Finding pictures in a gallery by a real package: fixes, refusals, tracks, and the command."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from click.testing import CliRunner

from exporters.errors import DatasetError
from exporters.gallery import Gallery, Sight
from exporters.keys import load_private, new_key
from exporters.package import Companion, Golden, ModelPackage, OutputSpec, load_package, write_package
from runtime.cli import cli
from runtime.engines import open_engine
from runtime.errors import FrameError, MissionError
from runtime.gallery_work import build_for, read_log
from runtime.locate import Located, Places, locate, open_gallery, read_picture, sight_for, track_of

EDGE = 16


def encoder_graph() -> bytes:
    """Means of 4 px squares without the tile's own mean, as a unit vector of 48."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["tiles"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("AveragePool", ["float"], ["blocks"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["blocks"], ["flat"]),
        helper.make_node("ReduceMean", ["flat", "axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["flat", "mean"], ["centred"]),
        helper.make_node("Add", ["centred", "little"], ["moved"]),
        helper.make_node("LpNormalization", ["moved"], ["answers"], axis=1, p=2),
    ]
    constants = {"axes": np.array([1], dtype=np.int64), "little": np.array([1e-3], dtype=np.float32)}
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["batch", 3, EDGE, EDGE])],
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["batch", 48])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def answers(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    flat = tiles.reshape(len(tiles), 3, 4, 4, 4, 4).mean((3, 5), dtype=np.float32).reshape(len(tiles), -1)
    flat = flat - flat.mean(1, keepdims=True) + np.float32(1e-3)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture
def package(make_package: Callable[..., ModelPackage], tmp_path: Path) -> ModelPackage:
    """A signed package of ``encoder_graph`` that says how much ground a tile covers."""
    plain = make_package(EDGE, name="plain")
    info = replace(
        plain.info,
        id="encoder",
        task="locate",
        classes=(),
        output=OutputSpec(name="answers", kind="embedding", channels=48),
        companions=(Companion(name="locate", file="locate.json", purpose="how sure a similarity is"),),
    )
    tiles = plain.golden.tiles
    accuracy = replace(plain.profile.accuracy, recall_by_class={}, confusion=())
    write_package(
        tmp_path / "packages" / "encoder",
        onnx=encoder_graph(),
        info=info,
        profile=replace(plain.profile, accuracy=accuracy),
        golden=Golden(tiles, answers(tiles), 1e-4),
        key=load_private(new_key(tmp_path / "keys", "test")[0]),
        more={"locate.json": json.dumps({"temperature": 0.07, "tile_m": 16.0}).encode()},
    )
    return load_package(tmp_path / "packages" / "encoder", trust=tmp_path / "keys")


def ground(seed: int = 0, side: int = 128) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (3, side // 8, side // 8)), np.ones((8, 8))).astype(np.uint8)


Write = Callable[..., Path]


@pytest.fixture
def scene(write_tiff: Write) -> Path:
    from affine import Affine

    return write_tiff("map.tif", ground(), transform=Affine(1.0, 0, 500_000.0, 0, -1.0, 5_300_000.0))


@pytest.fixture
def gallery(package: ModelPackage, scene: Path) -> Gallery:
    return build_for(package, [scene], tile_m=None, step_m=4.0, crs=None)


def cut(row: int, col: int, seed: int = 0, side: int = 24) -> NDArray[np.uint8]:
    """A picture whose middle is 12 px below and right of (row, col), with some noise."""
    noise = np.random.default_rng(row * 997 + col).normal(0, 8, (3, side, side))
    return np.clip(ground(seed)[:, row : row + side, col : col + side] + noise, 0, 255).astype(np.uint8)


def ask(package: ModelPackage, gallery: Gallery, pictures: list[NDArray[np.uint8]], **more: Any) -> Located:
    engine, places = open_engine(package), Places.of(gallery)
    sight = Sight.straight_down(1.0)
    track = track_of(places, 3.0) if more.pop("fuse", False) else None
    named = [(f"{n}.png", picture, sight) for n, picture in enumerate(pictures)]
    return locate(package, engine, places, named, track=track, **more)


def test_a_picture_is_found_with_its_place_and_error(package: ModelPackage, gallery: Gallery) -> None:
    fix = ask(package, gallery, [cut(40, 61)]).fixes[0]
    assert fix.status == "fix"
    assert math.dist((fix.east_m or 0, fix.north_m or 0), (500_073, 5_299_948)) < 3
    assert 1.0 < (fix.error_m or 0) < 20
    assert fix.longitude_deg == pytest.approx(9.001, abs=1e-3)
    assert fix.latitude_deg == pytest.approx(47.853, abs=2e-2)
    assert len(fix.candidates) == 5
    assert fix.candidates[0].score > fix.candidates[1].score


def test_other_ground_gets_no_position(package: ModelPackage, gallery: Gallery) -> None:
    found = ask(package, gallery, [cut(row, 30, seed=9) for row in range(0, 100, 5)])
    refused = [fix for fix in found.fixes if fix.status != "fix"]
    assert len(refused) >= 18
    assert all(fix.east_m is fix.longitude_deg is fix.error_m is None for fix in refused)
    assert "pictures from elsewhere do too" in refused[0].reason or refused[0].status == "ambiguous"


def test_two_places_alike_are_named_and_none_is_chosen(package: ModelPackage, write_tiff: Write) -> None:
    from affine import Affine

    pixels = ground()
    pixels[:, 80:112, 80:112] = pixels[:, 16:48, 16:48]
    place = Affine(1.0, 0, 500_000.0, 0, -1.0, 5_300_000.0)
    twice = write_tiff("twice.tif", pixels, transform=place)
    plain = write_tiff("plain.tif", ground(4), transform=place)
    made = build_for(package, [twice], tile_m=None, step_m=4.0, crs=None, calibrate=[plain])
    fix = ask(package, made, [pixels[:, 20:44, 20:44]], false_fix_frac=0.3).fixes[0]
    assert fix.status == "ambiguous"
    assert fix.east_m is None
    spots = sorted((round(one.east_m), round(one.north_m)) for one in fix.candidates[:2])
    assert spots == [(500_032, 5_299_968), (500_096, 5_299_904)]


def test_a_gallery_too_small_to_calibrate_gives_no_position(package: ModelPackage, gallery: Gallery) -> None:
    blind = replace(gallery, null_lifts=np.zeros(0, dtype=np.float32))
    fix = ask(package, blind, [cut(40, 61)]).fixes[0]
    assert fix.status == "no match"
    assert "--calibrate" in fix.reason


def test_a_track_finds_its_place_and_leaves_the_map(package: ModelPackage, gallery: Gallery) -> None:
    inside = [cut(8 + 8 * n, 50) for n in range(8)]
    outside = [cut(8 + 8 * n, 50, seed=9) for n in range(8)]
    moved = [None, *[(0.0, -8.0)] * 15]
    found = ask(package, gallery, inside + outside, fuse=True, moved_m=moved)
    assert found.track is not None
    for n, fix in enumerate(found.track[2:8], start=2):
        assert fix.status == "fix"
        assert math.dist((fix.east_m or 0, fix.north_m or 0), (500_062, 5_300_000 - 20 - 8 * n)) < 4
    assert [fix.status for fix in found.track[-4:]].count("no match") >= 3
    assert "off the map" in found.track[-2].reason


def test_a_track_over_other_ground_never_gets_a_position(package: ModelPackage, gallery: Gallery) -> None:
    found = ask(package, gallery, [cut(8 + 8 * n, 50, seed=3) for n in range(8)], fuse=True)
    assert found.track is not None
    assert all(fix.east_m is None for fix in found.track)


def test_odometry_carries_a_track_over_a_bare_picture(package: ModelPackage, gallery: Gallery) -> None:
    bare = np.full((3, 24, 24), 128, dtype=np.uint8)
    pictures = [cut(16, 40), cut(24, 40), bare, cut(40, 40)]
    found = ask(package, gallery, pictures, fuse=True, moved_m=[None, (0, -8), (0, -8), (0, -8)])
    assert found.track is not None
    last = found.track[3]
    assert last.status == "fix"
    assert math.dist((last.east_m or 0, last.north_m or 0), (500_052, 5_299_948)) < 4


def test_a_slanted_camera_stands_behind_what_it_sees(package: ModelPackage, gallery: Gallery) -> None:
    pixels = cut(40, 61)
    engine, places = open_engine(package), Places.of(gallery)
    straight = locate(package, engine, places, [("a", pixels, Sight.straight_down(1.0))]).fixes[0]
    tilted = replace(Sight.straight_down(1.0), tilt_deg=89.0)
    fix = locate(package, engine, places, [("a", pixels, tilted)]).fixes[0]
    behind = 1000.0 / math.tan(math.radians(89.0))
    assert (straight.north_m or 0) - (fix.north_m or 0) == pytest.approx(behind, abs=4)


def test_galleries_of_another_package_are_refused(package: ModelPackage, gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    replace(gallery, package_sha256="00").write(path)
    with pytest.raises(MissionError, match="Vectors of two networks cannot be compared"):
        open_gallery(path, package)
    path.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="is no gallery"):
        open_gallery(path, package)


def test_pictures_that_cannot_be_used_are_refused(tmp_path: Path, write_tiff: Write) -> None:
    with pytest.raises(FrameError, match="cannot be read as a picture"):
        read_picture(tmp_path / "none.jpg")
    with pytest.raises(FrameError, match="8-bit colour"):
        read_picture(write_tiff("grey.tif", np.zeros((1, 8, 8), dtype=np.uint8)))
    with pytest.raises(MissionError, match="Give --gsd"):
        sight_for(None, height_m=10.0, focal_px=None, heading_deg=0.0, tilt_deg=90.0)
    with pytest.raises(MissionError, match="slanted picture needs these two"):
        sight_for(0.1, height_m=None, focal_px=None, heading_deg=0.0, tilt_deg=60.0)


def test_a_flight_log_is_read_by_image_and_its_mistakes_are_named(tmp_path: Path) -> None:
    log, images = tmp_path / "log.csv", [Path("a.png"), Path("b.png")]
    log.write_text("image,heading_deg,east_m,north_m\nb.png,90,,\na.png,,1.5,-2\n")
    rows = read_log(log, images)
    assert rows[0].moved_m == (1.5, -2.0)
    assert dict(rows[1].sight) == {"heading_deg": 90.0}
    for content, words in (
        ("image,colour\na.png,1\n", "unknown ones"),
        ("image,heading_deg\na.png,north\nb.png,1\n", "no number"),
        ("image,heading_deg\na.png,1\n", "lacks 1 images, the first 'b.png'"),
        ("image,east_m,north_m\na.png,1,\nb.png,1,1\n", "only one of"),
        ("", "no rows"),
    ):
        log.write_text(content)
        with pytest.raises(MissionError, match=words):
            read_log(log, images)


def test_the_commands_make_a_gallery_and_find_pictures_in_it(
    package: ModelPackage, scene: Path, tmp_path: Path, write_tiff: Write
) -> None:
    from affine import Affine

    place, known = Affine(1.0, 0, 0.0, 0, -1.0, 0.0), str(tmp_path / "g.npz")
    paths = [
        str(write_tiff(f"{n}.tif", cut(8 + 8 * n, 50), transform=place)) for n in range(4)
    ]  # their own place is not looked at
    runner, given = CliRunner(), ["--package", str(package.path)]
    made = runner.invoke(cli, ["gallery", "build", str(scene), *given, "--out", known, "--step", "4", "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["views"] == 29 * 29
    found = runner.invoke(
        cli, ["locate", str(package.path), *paths, "--gallery", known, "--track", "--drift", "6", "--json"]
    )
    assert found.exit_code == 0, found.output
    last = json.loads(found.stdout)["track"][-1]
    assert math.dist((last["east_m"], last["north_m"]), (500_062, 5_299_956)) < 5
    other = str(write_tiff("other.tif", cut(0, 0, seed=8)))
    lost = runner.invoke(cli, ["locate", str(package.path), other, "--gallery", known, "--gsd", "1"])
    assert lost.exit_code == 3
    assert "no match" in lost.stdout or "ambiguous" in lost.stdout
