"""Clouds filled on the host: what is made up is marked, what was measured stays, what cannot be filled says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.package import Golden, ModelPackage, OutputSpec
from exporters.zoo.cm_cr_sampler import STEP_BANDS, Sampling, noise_at
from power_sim.profiles import ModelProfile
from runtime.answers import View, When
from runtime.engines.engine import self_test
from runtime.errors import EngineError, FrameError
from runtime.frames import open_frame, parse_beside
from runtime.frames.scenes import SceneSource
from runtime.georeference import Box
from runtime.infer import infer_scenes, make_task
from runtime.onboard import SceneTiles, load_networks
from runtime.pipeline.chaining import infer_chain
from runtime.pipeline.job import InferOptions
from runtime.pipeline.scene import Cutting
from runtime.pool import measured_profile
from runtime.records import FloatArray, Tile, TileRef
from runtime.tasks import MapTask
from runtime.tasks.chain import Chain
from runtime.tasks.declouded import SAMPLING_TAG, Declouder, PlacedFrame, Sampler, declouder, generated_apart

from .recorded import SquareFinder, package_of

MakePackage = Callable[..., ModelPackage]
WriteTiff = Callable[..., Path]
EDGE = 32
SIZE = 48, 64


class OneStep:
    """Estimates the clear image as the radar's brightness and a trace of the noise; counts what it is asked."""

    name, provider = "step v1", "cpu"

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.levels: list[float] = []

    def infer(self, batch: FloatArray) -> FloatArray:
        assert batch.dtype == np.float32
        assert batch.shape[1] == len(STEP_BANDS)
        self.asked.append(batch.shape)
        self.levels.append(float(batch[0, 5, 0, 0]))
        made: FloatArray = 0.01 * batch[:, :3] / batch[:, 5:6] + batch[:, 3:4] / 25.0 + 0.5
        return made

    def close(self) -> None:
        pass


@pytest.fixture
def package(make_package: MakePackage) -> ModelPackage:
    """One step of a sampler, of three steps."""
    plain = make_package(EDGE)
    given = replace(plain.info.input, dtype="float32", bands=STEP_BANDS)
    info = replace(
        plain.info,
        id="step",
        task="declouded",
        input=given,
        output=OutputSpec(name="answers", kind="map", channels=3),
        training={"steps": 3},
    )
    tiles = np.random.default_rng(0).normal(-14, 4, (1, 6, EDGE, EDGE)).astype(np.float32)
    return replace(plain, info=info, golden=Golden(tiles, OneStep().infer(tiles), 1e-3))


def scene_bands(cloudy: tuple[slice, slice] | None = None) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    optical = rng.integers(300, 3000, (3, *SIZE)).astype(np.uint16)
    radar = rng.uniform(-20, -6, (2, *SIZE)).astype(np.float32)
    cloud = np.zeros((1, *SIZE), dtype=np.uint8)
    if cloudy is not None:
        cloud[0][cloudy] = 1
    return optical, radar, cloud


@pytest.fixture
def fly(package: ModelPackage, write_tiff: WriteTiff, tmp_path: Path) -> Callable[..., Any]:
    """Writes optical, radar and mask and sends them through; returns the result and the step's engine."""

    def run(cloudy: tuple[slice, slice] | None, *, overlap_px: int = 0, **parts: Any) -> Any:
        optical, radar, cloud = scene_bands(cloudy)
        first = write_tiff("pass.tif", parts.get("optical", optical), descriptions=("red", "green", "blue"))
        sar = write_tiff("sar.tif", parts.get("radar", radar), **parts.get("sar", {}))
        mask = write_tiff("mask.tif", cloud)
        beside = parse_beside(f"sar:vv,vh={sar}"), parse_beside(f"cloud={mask}")
        engine = OneStep()
        result = infer_scenes(
            package,
            [first],
            tmp_path / "out",
            engine=engine,
            overlap_px=overlap_px,
            beside=beside[: parts.get("count", 2)],
            value_range=(0, 10000),
        )
        return result.scenes[0], engine

    return run


def test_image_mask_and_seed_come_out_and_measured_pixels_are_as_they_were(fly: Any) -> None:
    import rasterio

    scene, engine = fly((slice(4, 20), slice(10, 40)))
    assert scene.error == ""
    assert engine.levels[:3] == pytest.approx([80.0, 9.7232, 0.46998], rel=1e-4)
    optical, _, cloud = scene_bands((slice(4, 20), slice(10, 40)))
    with rasterio.open(scene.output) as made:
        assert made.descriptions == ("red", "green", "blue", "generated")
        pixels, told = made.read(), json.loads(made.tags()[SAMPLING_TAG])
    clear = cloud[0] == 0
    assert np.array_equal(pixels[3], cloud[0])
    assert np.array_equal(pixels[:3, clear], optical[:, clear])
    assert not np.array_equal(pixels[:3, ~clear], optical[:, ~clear])
    assert (told["seed"], told["steps"], told["package"]) == (0, 3, "step")


def test_tiles_that_overlap_share_their_noise_so_there_is_no_seam(fly: Any) -> None:
    """The step's answer depends on a pixel and its noise alone: with one noise a scene, the cut changes nothing."""
    import rasterio

    pixels = []
    for overlap_px in (0, 8, 16):
        scene, _ = fly((slice(0, 48), slice(20, 36)), overlap_px=overlap_px)
        with rasterio.open(scene.output) as made:
            pixels.append(made.read())
    assert np.allclose(pixels[0], pixels[1], atol=1e-2)  # the fade rounds, measured pixels included
    assert np.allclose(pixels[0], pixels[2], atol=1e-2)


def test_a_tile_that_is_nearly_all_cloud_is_not_filled_and_says_so(fly: Any) -> None:
    import rasterio

    scene, engine = fly((slice(0, 48), slice(0, 32)))
    assert scene.failed == {"too much cloud: more than 80% of the tile, so nothing was made up": 2}
    assert scene.done == 2
    assert engine.asked == []  # the other tiles have no cloud
    with rasterio.open(scene.output) as made:
        assert np.isnan(made.read(1)[:, :32]).all()
        assert not made.read(4)[:, 32:].any()


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"count": 1}, r"has no band cloud.*needs radar in dB and a cloud mask of the same place: --with sar"),
        ({"count": 0}, r"has no band vv, vh, cloud.*--with cloud=MASK"),
        ({"sar": {"crs": "EPSG:32640"}}, "show different places"),
    ],
)
def test_without_radar_or_mask_of_the_same_place_there_is_no_answer(fly: Any, parts: Any, told: str) -> None:
    import re

    scene, engine = fly((slice(4, 20), slice(10, 40)), **parts)
    assert re.search(told, scene.error)
    assert scene.output is None
    assert engine.asked == []


def test_radar_on_another_grid_is_laid_on_the_optical_one(fly: Any) -> None:
    from affine import Affine

    coarse = np.full((2, 24, 32), -11.0, dtype=np.float32)
    scene, _ = fly(
        (slice(4, 20), slice(10, 40)),
        radar=coarse,
        sar={"transform": Affine(20, 0, 500_000, 0, -20, 5_300_000)},
    )
    assert (scene.error, scene.done) == ("", 4)


def test_what_is_not_in_decibels_or_not_in_ten_thousandths_is_refused(fly: Any) -> None:
    where = slice(4, 20), slice(10, 40)
    linear, _ = fly(where, radar=np.full((2, *SIZE), 0.07, dtype=np.float32))
    assert any("are no decibels of backscatter" in reason for reason in linear.failed)
    share, _ = fly(where, optical=np.full((3, *SIZE), 0.2, dtype=np.float32))
    assert any("Give reflectance times 10000" in reason for reason in share.failed)


def test_a_pixel_without_radar_is_left_out(fly: Any) -> None:
    import rasterio

    _, radar, _ = scene_bands()
    radar[:, :6, :9] = -9999.0
    scene, _ = fly((slice(4, 20), slice(10, 40)), radar=radar, sar={"nodata": -9999.0})
    with rasterio.open(scene.output) as made:
        assert np.isnan(made.read(1)[:6, :9]).all()
        assert np.isfinite(made.read(1)[6:]).all()


def test_a_package_that_is_the_whole_of_it_is_run_as_it_is(package: ModelPackage) -> None:
    whole = replace(package, info=replace(package.info, input=replace(package.info.input, bands=("red", "vv"))))
    assert type(declouder(engine=OneStep(), package=whole)) is MapTask
    assert isinstance(make_task(package, OneStep()), Declouder)


def test_answers_depend_on_tile_and_seed_alone(package: ModelPackage) -> None:
    optical, radar, cloud = scene_bands((slice(4, 20), slice(10, 30)))
    tile = np.concatenate([optical, radar, cloud]).astype(np.float32)[None, :, :EDGE, :EDGE]
    first, again, other = (
        Sampler(OneStep(), Sampling(steps=3, seed=seed)).infer(np.concatenate([tile] * 2)) for seed in (5, 5, 6)
    )
    assert np.array_equal(first, again)
    assert np.array_equal(first[0], first[1])
    assert not np.array_equal(first, other)


def test_a_step_of_another_shape_is_refused() -> None:
    class Wrong(OneStep):
        def infer(self, batch: FloatArray) -> FloatArray:
            return batch[:, :2]

    tile = np.full((1, 6, 8, 8), 900.0, dtype=np.float32)
    tile[:, 3:5], tile[:, 5, 4:] = -9.0, 0.0
    with pytest.raises(EngineError, match=r"answered \(1, 2, 8, 8\), expected \(1, 3, 8, 8\)"):
        Sampler(Wrong(), Sampling()).infer(tile)


def test_in_flight_a_tile_is_worth_what_was_measured_of_it_and_a_worn_engine_is_found(package: ModelPackage) -> None:
    task = declouder(engine=OneStep(), package=package)
    assert isinstance(task, Declouder)
    flown = task.in_flight()
    assert flown.package.info.bands == ("red", "green", "blue", "vv", "vh", "cloud")
    self_test(flown.engine, flown.package)
    optical, radar, cloud = scene_bands((slice(0, 8), slice(0, 64)))
    tile = np.concatenate([optical, radar, cloud]).astype(np.float32)[None, :, :EDGE, :EDGE]
    refs = [TileRef("pass", 0, 0, EDGE)]

    def view(frame_id: str) -> View:
        return View(64, 48)

    found, outcomes = flown.read(refs, flown.engine.infer(tile), view)
    assert [one.outcome for one in outcomes] == ["done"]
    (product,) = flown.products([found], view, When(0, 0.0))
    assert product.score == pytest.approx(0.75)

    class Worn(OneStep):
        def infer(self, batch: FloatArray) -> FloatArray:
            return super().infer(batch) + np.float32(0.5)

    with pytest.raises(EngineError, match="fails its self-test"):
        self_test(Sampler(Worn(), task.sampling), flown.package)


def test_a_placed_frame_tells_row_and_column_of_every_pixel(write_tiff: WriteTiff) -> None:
    optical, _, _ = scene_bands()
    path = write_tiff("pass.tif", optical, descriptions=("red", "green", "blue"))
    with open_frame(path, tile_dtype="float32") as inner:
        frame = PlacedFrame(inner)
        assert frame.bands[-2:] == ("row_px", "col_px")
        patch = frame.window(Box(5, 7, 4, 6), (3, 0, 4))
        assert patch.pixels[0, :, 0].tolist() == [5, 6, 7, 8]
        assert patch.pixels[2, 0].tolist() == [7, 8, 9, 10, 11, 12]
        assert np.array_equal(patch.pixels[1], optical[0, 5:9, 7:13])
        assert frame.file == path
        assert frame.read(40, 60, 8, (0, 3)).shape == (2, 8, 8)


def test_the_mask_bars_a_detector_from_what_was_made_up(
    package: ModelPackage, make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    """A chain over optical, radar and mask in one file: nothing is found on filled pixels unless that is allowed."""
    optical, radar, cloud = scene_bands((slice(8, 20), slice(36, 60)))
    optical[:] = 400
    optical[0, 30:38, 4:16], optical[1, 30:38, 4:16] = 10000, 40  # a ship in the clear
    stacked = np.concatenate([optical, radar, cloud]).astype(np.float32)
    names = ("red", "green", "blue", "vv", "vh", "cloud")
    scene = write_tiff("pass.tif", stacked, descriptions=names)
    finder = replace(
        package_of(make_package(EDGE, name="plain"), "boxes", ("ship",)),
    )
    made = {"step": package, "finder": replace(finder, info=replace(finder.info, id="finder"))}

    class Bright(OneStep):
        def infer(self, batch: FloatArray) -> FloatArray:
            answer = np.full_like(batch[:, :3], -0.99)
            answer[:, 0] = 1.0  # a ship of the network's own making
            return answer

    engines: dict[str, Callable[[], Any]] = {"step": Bright, "finder": SquareFinder}

    def found(allow: bool) -> int:
        table: dict[str, Any] = {"stage": [{"package": "step"}, {"package": "finder", "overlap_px": 16}]}
        if allow:
            table["forbid_detection_on_generated"] = False
        result = infer_chain(
            Chain.from_table(table),
            lambda path: made[path.name],
            [scene],
            tmp_path / f"chain-{allow}",
            options=InferOptions(cutting=Cutting(), value_range=(0, 10000)),
            open_with=lambda one: engines[one.info.id](),
        )
        (done,) = result.scenes
        assert done.error == ""
        answer = json.loads((tmp_path / f"chain-{allow}" / "pass-finder.geojson").read_text(encoding="utf-8"))
        return len(answer["features"])

    assert found(allow=False) == 1
    assert found(allow=True) > 1


def test_tiles_of_a_frame_that_was_filled_before_are_told_apart(write_tiff: WriteTiff) -> None:
    optical, _, cloud = scene_bands((slice(0, 4), slice(0, 4)))
    stacked = np.concatenate([optical, cloud]).astype(np.float32)
    path = write_tiff("filled.tif", stacked, descriptions=("red", "green", "blue", "generated"))
    refs = [TileRef("filled", 0, 0, EDGE), TileRef("filled", 0, 32, EDGE)]
    with open_frame(path, tile_dtype="float32") as frame:
        assert generated_apart(refs, lambda ref: frame) == ([refs[1]], [refs[0]])
    plain = write_tiff("plain.tif", optical, descriptions=("red", "green", "blue"))
    with open_frame(plain, tile_dtype="float32") as frame:
        assert generated_apart(refs, lambda ref: frame) == (refs, [])

    def broken(ref: TileRef) -> Any:
        raise FrameError("gone")

    assert generated_apart(refs, broken) == (refs, [])


def test_noise_at_float_places_is_that_at_whole_ones() -> None:
    rows, cols = np.indices((8, 8))
    assert np.array_equal(
        noise_at(rows.astype(np.float32), cols.astype(np.float32), seed=1, step=0), noise_at(rows, cols, seed=1, step=0)
    )


def test_a_sampler_flies_as_one_network(package: ModelPackage) -> None:
    step = OneStep()
    network = load_networks({"step": package}, opener=lambda one: step)["step"]
    assert network.bands == ("red", "green", "blue", "vv", "vh", "cloud")
    optical, radar, cloud = scene_bands((slice(0, 8), slice(0, 64)))
    stacked = np.concatenate([optical, radar, cloud]).astype(np.float32)
    tiles = [Tile(TileRef("pass", 0, 0, EDGE), stacked[:, :EDGE, :EDGE])]
    found, outcomes = network.answer(tiles, lambda frame_id: View(64, 48))
    assert [one.outcome for one in outcomes] == ["done"]
    assert found is not None
    self_test(network.engine, network.package)


def test_a_replay_sheds_tiles_that_were_filled(write_tiff: WriteTiff) -> None:
    optical, _, cloud = scene_bands((slice(0, 4), slice(0, 4)))
    stacked = np.concatenate([optical // 12, cloud]).astype(np.uint8)
    path = write_tiff("filled.tif", stacked, descriptions=("red", "green", "blue", "generated"))
    refs = [TileRef("filled", 0, 0, EDGE), TileRef("filled", 0, 32, EDGE)]
    for forbid, left in ((True, 1), (False, 2)):
        scenes = SceneSource.from_folder(path.parent)
        source = SceneTiles(scenes=scenes, mixes={}, seed=0, forbid_generated=forbid)
        tiles, shed = source.read(refs, ("red", "green", "blue"), "uint8")
        assert (len(tiles), [one.reason for one in shed]) == (left, ["generated pixels"] * (2 - left))
        scenes.close()


def test_a_tile_costs_all_of_its_steps(package: ModelPackage) -> None:
    model = ModelProfile(
        name="step",
        accuracy_min_frac=0.5,
        accuracy_max_frac=0.5,
        energy_min_j=1.0,
        energy_max_j=1.0,
        time_min_s=1.0,
        time_max_s=1.0,
    )
    of_one = measured_profile(model, replace(package, info=replace(package.info, input=plain_input(package))))
    assert measured_profile(model, package).energy_min_j == pytest.approx(3 * of_one.energy_min_j)
    seen = make_task(package, OneStep()).package.profile.entry_for(batch=32)
    assert seen.tile_s == pytest.approx(3 * package.profile.entry_for(batch=32).tile_s)


def plain_input(package: ModelPackage) -> Any:
    return replace(package.info.input, bands=("red", "green", "blue"))
