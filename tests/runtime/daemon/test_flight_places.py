"""Position without GNSS in flight: a network trained here, its package, a gallery, a daemon, positions on the ground.

The encoder is the zoo's own in small, exported as every package is.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

from exporters.checkpoint import load_checkpoint
from exporters.courses.geo_encoder import SurveyCourse, course
from exporters.export import ExportSettings, export_checkpoint
from exporters.gallery import read_gallery
from exporters.keys import load_private, new_key
from exporters.package import load_package
from exporters.training.loop import fit_course
from exporters.training.training import Training
from runtime.daemon.mission import load_mission
from runtime.daemon.run import check_mission
from runtime.errors import MissionError
from runtime.gallery_work import build_for
from runtime.ground.direct import DirectLink
from runtime.ground.station import finish, opened
from runtime.locator import Leg
from runtime.positions import position_of
from runtime.tracking import Track

EAST_M, NORTH_M, GSD_M, TILE_PX, SIDE = 500_000.0, 5_300_000.0, 0.5, 32, 256
MakeCraft = Callable[..., Any]
POOL = """
[[pool.models]]
name = "places"
package_id = "places"
accuracy_min_frac = 0.9
accuracy_max_frac = 0.9
energy_min_j = 0.001
energy_max_j = 0.001
time_min_s = 0.0001
time_max_s = 0.0001

"""
LOCATE = """
[locate]
gallery = "area.npz"
gsd_m = 0.5
drift_m = 4.0
false_fix_frac = 0.1
[downlink]
pictures_per_slot = 1
"""


def survey(seed: int = 0, shade: float = 1.0, blocks: int = 0) -> NDArray[np.uint8]:
    """Ground of squares; one number of ``blocks`` is one ground, ``seed`` is its noise."""
    rng, noise = np.random.default_rng(blocks), np.random.default_rng(1000 + seed)
    ground = np.kron(rng.integers(30, 220, (3, SIDE // 8, SIDE // 8)), np.ones((8, 8)))
    return np.clip(shade * ground + noise.normal(0, 4, ground.shape), 0, 255).astype(np.uint8)


def write(path: Path, pixels: NDArray[np.uint8], *, placed: bool = True) -> Path:
    import rasterio

    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "count": 3}
    profile |= {"height": pixels.shape[1], "width": pixels.shape[2]}
    if placed:
        profile |= {"crs": "EPSG:32632", "transform": rasterio.Affine(GSD_M, 0, EAST_M, 0, -GSD_M, NORTH_M)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels)
    return path


def trained(folder: Path) -> Any:
    """A small encoder of the zoo after a few steps on two made-up surveys, as a checkpoint with its course."""
    write(folder / "a_DOP.tif", survey(1))
    write(folder / "a_xDOP.tif", survey(2, 0.8))
    places = [
        f"t{row}{col},{row},{col},{TILE_PX},{'train' if col < 5 * TILE_PX else 'test'}"
        for row in range(0, SIDE, TILE_PX)
        for col in range(0, SIDE, TILE_PX)
    ]
    (folder / "tiles.csv").write_text("place,row_px,col_px,edge_px,split\n" + "\n".join(places) + "\n")
    made = course(folder, edge_px=16, batch=24, steps=60, jitter=False, channels=16, layers=1)
    assert isinstance(made, SurveyCourse)
    training = Training(epochs=2, seed=0, lr=1e-2, ema_decay=0.0, threads=1)
    return load_checkpoint(fit_course(made, training, folder / "fit").best), made


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the signed package, its public key, the flight area's map and the gallery."""
    folder = tmp_path_factory.mktemp("places")
    private, public = new_key(folder, "zoo")
    (folder / "keys").mkdir()
    public.rename(folder / "keys" / public.name)
    checkpoint, made = trained(folder / "data")
    settings = ExportSettings(id="places", batches=(1, 2), repeats=2, proof_tiles=32)
    target = folder / "packages" / "places"
    export_checkpoint(checkpoint, made.tiles("test"), target, load_private(private), settings=settings)
    package = load_package(target, trust=folder / "keys")
    write(folder / "map.tif", survey(2, 0.8))
    build_for(package, [folder / "map.tif"], tile_m=None, step_m=None, crs=None).write(folder / "area.npz")
    return folder


def craft_with(make_craft: MakeCraft, launched: Path, more: str = LOCATE, pool: str = POOL) -> Any:
    import re
    import shutil

    craft = make_craft(start=False)
    text = re.sub(r"(?s)\[\[pool\.models\]\].*?(?=\[policy\])", pool, craft.mission.read_text(), count=1)
    craft.mission.write_text(text + more)
    shutil.copytree(launched / "packages" / "places", craft.folder / "packages" / "places")
    for key in (launched / "keys").iterdir():
        shutil.copy(key, craft.folder / "keys")
    shutil.copy(launched / "area.npz", craft.folder / "area.npz")
    return craft


def picture(craft: Any, number: int, row: int, col: int, *, blocks: int = 0, side: int = 48, **sight: Any) -> None:
    """A picture of the ground whose middle is that pixel of the map, and what compass and odometry say of it."""
    half = side // 2
    pixels = survey(10 + number, blocks=blocks)[:, row - half : row + half, col - half : col + half]
    inbox = craft.folder / "inbox"
    inbox.mkdir(exist_ok=True)
    if sight:
        (inbox / f"p{number:02d}.sight.json").write_text(json.dumps(sight))
    write(inbox / f"p{number:02d}.tif", pixels, placed=False)


def flight(craft: Any, count: int = 8, **more: Any) -> dict[int, tuple[float, float]]:
    """Pictures along a line to the north-east, odometry a metre off; where each was taken."""
    truth = {}
    for number in range(count):
        row, col = 200 - 16 * number, 56 + 24 * number
        east, north = EAST_M + col * GSD_M, NORTH_M - row * GSD_M
        odometry = {"east_m": 12.0 * number + 1.0 * (number % 2), "north_m": 8.0 * number}
        picture(craft, number, row, col, heading_deg=0.0, **odometry, **more)
        truth[number] = east, north
    return truth


def placed(product: Any) -> tuple[float, float, float]:
    """East, north and error of a product."""
    from rasterio.warp import transform

    longitude, latitude, error_m = position_of(product.footprint)
    (east,), (north,) = transform("EPSG:4326", "EPSG:32632", [longitude], [latitude])
    return east, north, error_m


def products_of(craft: Any) -> list[Any]:
    return sorted(craft.daemon._aboard.store.products(), key=lambda one: one.frame_id)


def test_a_flights_pictures_become_positions_with_errors_on_the_ground(make_craft: MakeCraft, launched: Path) -> None:
    craft = craft_with(make_craft, launched)
    assert "locate: embedding" in check_mission(craft.mission)["packages"]
    craft.start()
    truth = flight(craft)
    craft.daemon._aboard.orders.contact = True
    with opened(craft.folder / "station") as (archive, receiver):
        craft.daemon.wired.radio._link = DirectLink(receiver)
        craft.fly(2)
        craft.daemon.wired.radio.close()
        report = finish(craft.folder / "station", archive, receiver)
    found = products_of(craft)
    assert [(one.kind, one.edge_px) for one in found] == [("position", 48)] * len(truth)
    fixes = {at: placed(one) for at, one in enumerate(found) if one.label == "fix"}
    assert len(fixes) >= 4
    for at, (east, north, error_m) in fixes.items():
        assert 1.0 < error_m < 20.0
        assert math.dist((east, north), truth[at]) < 3.0 * error_m
    assert report.products == len(truth)
    features = json.loads((craft.folder / "station" / "products.geojson").read_text())["features"]
    told = [one["properties"] for one in features if one["properties"]["label"] == "fix"]
    assert {"longitude_deg", "latitude_deg", "error_m"} <= told[0].keys()
    assert all(one["geometry"] is None for one in features if one["properties"]["label"] != "fix")
    assert report.files >= 1
    counts = craft.daemon.status["counts"]
    assert (counts["done_tile"], counts["failed_tile"]) == (len(truth), 0)
    entry = load_package(craft.folder / "packages" / "places", trust=craft.folder / "keys").profile.entry_for(batch=32)
    slots = list(craft.daemon._aboard.store.decisions())
    assert sum(one.energy_j for one in slots) == pytest.approx(entry.energy_j_per_tile * len(truth), rel=1e-6)


def test_pictures_of_other_ground_have_no_position_and_are_worth_nothing(make_craft: MakeCraft, launched: Path) -> None:
    craft = craft_with(make_craft, launched)
    craft.start()
    for number in range(6):
        picture(craft, number, 60 + 20 * number, 60 + 20 * number, blocks=7)
    craft.fly(2)
    found = products_of(craft)
    assert len(found) == 6
    without = [one for one in found if one.label != "fix"]
    assert len(without) >= 5
    assert {(one.footprint, one.score, one.value) for one in without} == {(None, 0.0, 0.0)}


@pytest.mark.parametrize(
    ("sight", "side", "words"),
    [
        ({"heading": 3.0}, 48, "unknown keys"),
        ({"east_m": 3.0}, 48, "east_m and north_m alone"),
        ({"gsd_m": "x"}, 48, "is none"),
        ({"gsd_m": 0.1}, 48, "of a tile of 16.0 m are in the picture"),
        ({"tilt_deg": 5.0}, 48, "known"),
    ],
)
def test_a_picture_that_cannot_be_laid_onto_the_ground_fails_in_words(
    make_craft: MakeCraft, launched: Path, sight: dict[str, Any], side: int, words: str
) -> None:
    craft = craft_with(make_craft, launched)
    craft.start()
    picture(craft, 0, 100, 100, side=side, **sight)
    craft.fly()
    assert products_of(craft) == []
    assert craft.daemon.status["counts"]["failed_tile"] == 1
    assert words in reasons_of(craft)
    assert not list((craft.folder / "state" / "frames").glob("*.json"))[1:]


def reasons_of(craft: Any) -> str:
    return " | ".join(reason for _, _, reason, _ in craft.daemon._aboard.store.outcomes())


def test_a_mission_whose_gallery_and_packages_do_not_belong_together_is_refused(
    make_craft: MakeCraft, launched: Path
) -> None:
    other = POOL.replace('"places"', '"thrifty"')
    craft = craft_with(make_craft, launched, pool=POOL + other)
    with pytest.raises(MissionError, match="Fly them as two missions"):
        craft.start()
    text = craft.mission.read_text()
    craft.mission.write_text(text.replace(POOL, ""))
    with pytest.raises(MissionError, match="no package of the pool is of the task locate"):
        check_mission(craft.mission)
    craft.mission.write_text(text.replace(other, ""))
    gallery = read_gallery(craft.folder / "area.npz")
    replace(gallery, package="older", package_sha256="0" * 64).write(craft.folder / "area.npz")
    with pytest.raises(MissionError, match="was made by older"):
        check_mission(craft.mission)


def test_a_gallery_in_metres_of_its_own_is_refused_because_products_need_degrees(
    make_craft: MakeCraft, launched: Path
) -> None:
    craft = craft_with(make_craft, launched)
    replace(read_gallery(craft.folder / "area.npz"), crs="local").write(craft.folder / "area.npz")
    with pytest.raises(MissionError, match="Build it with --crs"):
        craft.start()


def test_a_slot_that_is_flown_again_counts_its_pictures_once() -> None:
    middle = np.array([(float(x), float(y)) for x in range(0, 100, 10) for y in range(0, 100, 10)])
    leg = Leg(Track(middle, step_m=10.0, tile_m=20.0, temperature=0.1, drift_m=10.0))
    scores = -np.abs(middle - [40.0, 50.0]).max(1).astype(np.float32) / 100.0
    leg.begin(1)
    first = [leg.step(scores, (0.0, 0.0)), leg.step(scores, (1.0, 0.0))]
    leg.begin(1)
    again = [leg.step(scores, (0.0, 0.0)), leg.step(scores, (1.0, 0.0))]
    assert first == again
    leg.begin(2)
    assert leg.step(scores, (2.0, 0.0)) != first[0]


@pytest.mark.parametrize("name", ["locate", "declouded"])
def test_the_sample_missions_hold_but_for_packages_that_do_not_ship(repo: Path, name: str) -> None:
    mission = load_mission(repo / f"deploy/missions/{name}.toml")
    assert (mission.name, list(mission.flight.tasks)) == (name, [name])
