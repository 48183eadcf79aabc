"""Clouds filled in flight: CM-CR in small, exported as every package is, on pairs of optical and radar scenes.

The scene is a real patch of SEN12MS-CR where the data set is, and a made-up one where it is not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch  # noqa: TID253

from exporters.checkpoint import load_checkpoint
from exporters.courses.cm_cr import CloudCourse
from exporters.export import ExportSettings, export_checkpoint
from exporters.keys import load_private, new_key
from exporters.package import Golden, InputSpec, OutputSpec, load_package, write_package
from exporters.readers.sen12mscr import RGB_INDEX, Triplet, read_triplets
from exporters.training.loop import fit_course
from exporters.training.training import Training
from runtime.ground.direct import DirectLink
from runtime.ground.station import finish, opened
from runtime.keepsakes import MADE_UP, MEASURED
from runtime.tasks.declouded import SAMPLING_TAG

MakeCraft = Callable[..., Any]
EDGE, STEPS, SIDE = 32, 2, 96
PLACE = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0)
POOL = """
[[pool.models]]
name = "clearer"
package_id = "clearer"
accuracy_min_frac = 0.9
accuracy_max_frac = 0.9
energy_min_j = 0.001
energy_max_j = 0.001
time_min_s = 0.0001
time_max_s = 0.0001

"""
BESIDE = """
[source.beside]
sar = ["vv", "vh"]
cloud = ["cloud"]
[downlink]
pictures_per_slot = 2
"""


def made_up(seed: int) -> Triplet:
    rng = np.random.default_rng(seed)
    clear = np.kron(rng.uniform(500, 2500, (13, SIDE // 8, SIDE // 8)), np.ones((8, 8))).astype(np.float32)
    cloudy, cloud = clear.copy(), np.zeros((SIDE, SIDE), dtype=bool)
    cloud[4:28, 4:28] = True
    cloudy[:, cloud] = 8000
    sar = np.stack([clear[3] / 100.0 - 30.0, clear[1] / 100.0 - 34.0]).astype(np.float32)
    return Triplet(f"ROIs1_x_{seed}_p1", cloudy, clear, sar, cloud)


def real() -> Triplet | None:
    """A corner of the samples' test patch under its own clouds."""
    data = Path(os.environ.get("SUBSOLAR_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
    folder = data / "cr-sen12mscr-samples"
    if not folder.is_dir():
        return None
    (one,) = read_triplets(folder, "train")
    window = slice(0, SIDE), slice(0, SIDE)
    assert one.sar is not None
    cut = [part[:, window[0], window[1]] for part in (one.cloudy, one.clear, one.sar)]
    cloud = np.zeros((SIDE, SIDE), dtype=bool)
    cloud[4:28, 4:28] = True
    return Triplet(one.name, cut[0], cut[1], cut[2], cloud)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the signed package of a student after two steps, and its public key."""
    folder = tmp_path_factory.mktemp("clouds")
    one, other = made_up(1), made_up(2)
    stages: dict[str, Path | None] = {"teacher": None}
    options = {"multipliers": (1, 2), "attention_at": ()}
    for stage in ("teacher", "student"):
        course = CloudCourse(
            size="mini", stage=stage, train=(one,), held_out=(other,), donors=(one,), teacher=stages.get("teacher"),
            seed=1, dataset="synthetic", batch=1, crop_px=16, steps_per_epoch=1, steps=STEPS, tile_px=EDGE,
            options=options,
        )  # fmt: skip
        torch.manual_seed(0)
        training = Training(epochs=1, seed=1, lr=1e-3, weight_decay=0.0, ema_decay=0.0, threads=1)
        stages[stage] = fit_course(course, training, folder / stage).best
    private, public = new_key(folder, "zoo")
    (folder / "keys").mkdir()
    public.rename(folder / "keys" / public.name)
    settings = ExportSettings(id="clearer", batches=(1,), repeats=2, proof_tiles=8, precision="fp32")
    best = stages["student"]
    assert best is not None
    target = folder / "packages" / "clearer"
    export_checkpoint(load_checkpoint(best), course.tiles("test"), target, load_private(private), settings=settings)
    return folder


def craft_with(make_craft: MakeCraft, launched: Path, more: str = BESIDE, *, start: bool = True) -> Any:
    craft = make_craft(start=False)
    text = re.sub(r"(?s)\[\[pool\.models\]\].*?(?=\[policy\])", POOL, craft.mission.read_text(), count=1)
    craft.mission.write_text(text + more)
    shutil.copytree(launched / "packages" / "clearer", craft.folder / "packages" / "clearer")
    for key in (launched / "keys").iterdir():
        shutil.copy(key, craft.folder / "keys")
    if start:
        craft.start()
    return craft


def write(path: Path, pixels: NDArray[Any], place: tuple[float, ...] = PLACE, **more: Any) -> None:
    import rasterio

    path.parent.mkdir(exist_ok=True)
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": pixels.dtype.name, "count": len(pixels)}
    profile |= {"height": pixels.shape[1], "width": pixels.shape[2], "crs": "EPSG:32632"}
    names = more.pop("descriptions", ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **profile, transform=rasterio.Affine(*place), **more) as target:
            target.write(pixels)
            if names:
                target.descriptions = names


def put_scene(craft: Any, scene: Triplet, *, without: tuple[str, ...] = (), **parts: Any) -> None:
    """Radar and mask first, then the optical frame that they belong to."""
    inbox, optical = craft.folder / "inbox", scene.cloudy[list(RGB_INDEX)].astype(np.uint16)
    if "sar" not in without:
        write(inbox / "pass.sar.tif", parts.get("sar", scene.sar), parts.get("place", PLACE), **parts.get("more", {}))
    if "cloud" not in without:
        write(inbox / "pass.cloud.tif", parts.get("cloud", scene.cloud[None].astype(np.uint8)))
    write(inbox / "pass.tif", parts.get("optical", optical), descriptions=("red", "green", "blue"))


def products_of(craft: Any) -> list[Any]:
    return sorted(craft.daemon._aboard.store.products(), key=lambda one: (one.row_px, one.col_px))


def reasons_of(craft: Any) -> str:
    return " | ".join(reason for _, _, reason, _ in craft.daemon._aboard.store.outcomes())


def test_a_cloudy_scene_with_radar_comes_down_filled_and_says_what_is_made_up(
    make_craft: MakeCraft, launched: Path
) -> None:
    import rasterio

    scene = real() or made_up(3)
    craft = craft_with(make_craft, launched)
    put_scene(craft, scene)
    craft.daemon._aboard.orders.contact = True
    with opened(craft.folder / "station") as (archive, receiver):
        craft.daemon.wired.radio._link = DirectLink(receiver)
        craft.fly(3)
        craft.daemon.wired.radio.close()
        report = finish(craft.folder / "station", archive, receiver)
    found = products_of(craft)
    assert [(one.kind, one.label) for one in found] == [("filled", "declouded")] * 9
    cloud_frac = float(scene.cloud[:EDGE, :EDGE].mean())
    assert found[0].score == pytest.approx(1.0 - cloud_frac)
    assert [one.score for one in found[1:]] == [1.0] * 8
    assert report.products == 9
    features = json.loads((craft.folder / "station" / "products.geojson").read_text())["features"]
    (filled,) = [one["properties"] for one in features if one["properties"]["generated_frac"] > 0]
    assert filled["generated_frac"] == pytest.approx(cloud_frac, abs=1e-6)
    with rasterio.open(craft.folder / "station" / filled["values"]) as values:
        assert values.descriptions == ("red", "green", "blue", "generated")
        pixels, told = values.read(), json.loads(values.tags()[SAMPLING_TAG])
    assert (told["seed"], told["steps"], told["package"]) == (0, STEPS, "clearer")
    made = scene.cloud[:EDGE, :EDGE]
    assert np.array_equal(pixels[3] > 0, made)
    optical = scene.cloudy[list(RGB_INDEX)][:, :EDGE, :EDGE]
    assert np.array_equal(pixels[:3, ~made], optical.astype(np.uint16)[:, ~made])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture has no place
        (chip,) = (craft.folder / "station" / "files" / "pictures").glob("*-chip.png")
        with rasterio.open(chip) as shown:
            opacity = shown.read(4)
    assert np.array_equal(opacity == MADE_UP, made)
    assert np.array_equal(opacity == MEASURED, ~made)
    entry = load_package(craft.folder / "packages" / "clearer", trust=craft.folder / "keys").profile.entry_for(batch=32)
    spent_j = sum(one.energy_j for one in craft.daemon._aboard.store.decisions())
    assert spent_j == pytest.approx(9 * STEPS * entry.energy_j_per_tile, rel=1e-6)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"without": ("sar",)}, r"pass\.sar\.tif did not come with it"),
        ({"without": ("sar", "cloud")}, r"pass\.sar\.tif, pass\.cloud\.tif did not come"),
        ({"place": (10.0, 0.0, 900_000.0, 0.0, -10.0, 5_300_000.0)}, "show different places"),
    ],
)
def test_a_frame_without_radar_of_its_place_is_refused_and_nothing_is_made_up(
    make_craft: MakeCraft, launched: Path, parts: dict[str, Any], words: str
) -> None:
    craft = craft_with(make_craft, launched)
    put_scene(craft, made_up(3), **parts)
    craft.fly()
    assert re.search(words, craft.daemon._aboard.intake.last_event)
    assert craft.daemon.status["counts"]["refused_frame"] == 1
    assert products_of(craft) == []
    assert list((craft.folder / "inbox").iterdir()) == []
    if "without" in parts:
        put_scene(craft, made_up(3))
        craft.fly()
        assert len(products_of(craft)) == 9, "it may come again with what it lacked"


@pytest.mark.parametrize(
    ("parts", "words", "done"),
    [
        ({"cloud": np.ones((1, SIDE, SIDE), dtype=np.uint8)}, "too much cloud: more than 80% of the tile", 0),
        ({"sar": np.full((2, SIDE, SIDE), 0.1, dtype=np.float32)}, "are no decibels of backscatter", 0),
        ({"optical": np.full((3, SIDE, SIDE), 1, dtype=np.uint16)}, "Give reflectance times 10000", 0),
        ({"sar": "holes"}, "do not cover the whole tile, so nothing was made up", 8),
    ],
)
def test_what_cannot_be_filled_fails_in_words(
    make_craft: MakeCraft, launched: Path, parts: dict[str, Any], words: str, done: int
) -> None:
    scene = made_up(3)
    given = dict(parts)
    if isinstance(given.get("sar"), str):
        assert scene.sar is not None
        holes = scene.sar.copy()
        holes[:, 2:6, 2:9] = -9999.0
        given = {"sar": holes, "more": {"nodata": -9999.0}}
    craft = craft_with(make_craft, launched)
    put_scene(craft, scene, **given)
    craft.fly()
    assert words in reasons_of(craft)
    counts = craft.daemon.status["counts"]
    assert counts["done_tile"] >= done
    if "nothing was made up" in words or "too much cloud" in words:
        assert counts["failed_tile"] == 0, "a scene that gives nothing to go by is no fault of the network"
        assert craft.daemon.wired.fleet.networks["clearer"].healthy
    assert all(one.score == 1.0 for one in products_of(craft))


def test_frames_go_with_what_came_with_them(make_craft: MakeCraft, launched: Path) -> None:
    craft = craft_with(make_craft, launched)
    put_scene(craft, made_up(3))
    craft.fly(2)
    assert list((craft.folder / "state" / "frames").iterdir()) == []
    put_scene(craft, made_up(3))
    craft.fly()
    assert craft.daemon._aboard.intake.counts["duplicate_frame"] == 1
    assert list((craft.folder / "inbox").iterdir()) == []


def write_labels(craft: Any) -> None:
    """A classifier of physical values: the band that is brightest in the mean."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["tiles"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Mul", ["flat", "little"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "labels",
        [helper.make_tensor_value_info("tiles", TensorProto.FLOAT, ["n", 3, EDGE, EDGE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        [onnx.numpy_helper.from_array(np.array([1e-3], dtype=np.float32), "little")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content = bytes(model.SerializeToString())
    tiles = np.random.default_rng(0).uniform(300, 3000, (2, 3, EDGE, EDGE)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {"tiles": tiles})
    plain, profile = craft.colours.colour_info(EDGE), craft.colours.colour_profile()
    info = replace(
        plain,
        id="labels",
        input=InputSpec(name="tiles", tile_edge_px=EDGE, bands=("red", "green", "blue"), dtype="float32"),
        output=OutputSpec(name="probabilities"),
    )
    golden = Golden(tiles, np.asarray(answers), 1e-4)
    target = craft.folder / "packages" / "labels"
    write_package(target, onnx=content, info=info, profile=profile, golden=golden, key=craft.key)


@pytest.mark.parametrize(("forbid", "labels"), [("true", 8), ("false", 9)])
def test_a_classifier_behind_it_says_nothing_of_tiles_with_made_up_pixels_unless_allowed(
    make_craft: MakeCraft, launched: Path, forbid: str, labels: int
) -> None:
    chain = f"""
[chain]
forbid_detection_on_generated = {forbid}
[[chain.stages]]
package = "clearer"
[[chain.stages]]
package = "labels"
"""
    craft = craft_with(make_craft, launched, BESIDE + chain, start=False)
    craft.mission.write_text(craft.mission.read_text().replace('package_id = "clearer"', 'package_id = "chain"'))
    write_labels(craft)
    craft.start()
    put_scene(craft, made_up(3))
    craft.fly()
    found = products_of(craft)
    assert sum(one.kind == "label" for one in found) == labels
    assert craft.daemon.status["counts"]["done_tile"] == 9
