"""What `subsolar infer` says: a wrong request is told once, before any scene, and shed tiles are told by reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from exporters.package import ModelPackage, OutputSpec
from runtime.cli import cli
from runtime.errors import EngineError, MissionError
from runtime.frames import Beside, open_frame
from runtime.infer import infer_scenes
from runtime.meters import METERS
from runtime.pipeline.drawing import COLOURS
from runtime.pipeline.energy import open_joules
from runtime.pipeline.job import SceneResult
from runtime.pipeline.preview import write_preview
from runtime.pipeline.verdict import exit_code, remarks
from runtime.records import FloatArray, UInt8Array

MakePackage = Callable[..., ModelPackage]
WriteTiff = Callable[..., Path]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"skip": {"snow": 0.5}}, "There is no pre-filter snow. Use nodata, cloud, dark, water."),
        ({"skip": {"dark": 1.5}}, "--skip dark=1.5 gives no share of a tile"),
        ({"overlap_px": 16}, "does not fit colour, whose tiles have 16. Use --overlap 0 to 15."),
        ({"value_range": (5.0, 5.0)}, "--range 5 5 is empty"),
        ({"value_range": (float("nan"), 5.0)}, "--range nan 5 is empty"),
        ({"band_names": ("red", "", "blue")}, "--bands has an empty name"),
        ({"band_names": ("red", "B04", "blue")}, "--bands names red more than once"),
        ({"fill": float("inf")}, "--fill cannot be infinite"),
        ({"provider": "abacus"}, "--provider knows no 'abacus'. Use one of cpu, cuda, tensorrt"),
        ({"meter": "bogus"}, "--meter knows no 'bogus'. Use one of estimate, auto, " + ", ".join(METERS)),
        ({"beside": [Beside("old", Path("none.tif"))]}, "There is no scene none.tif to lay over others"),
    ],
)
def test_a_request_that_no_scene_could_make_right_is_refused_before_the_first(
    make_package: MakePackage, tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(MissionError) as refused:
        infer_scenes(make_package(), [Path("a.tif"), Path("b.tif")], tmp_path / "out", **given)
    assert words in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_such_a_request_once_and_as_usage(repo: Path, tmp_path: Path) -> None:
    package = str(repo / "deploy" / "packages" / "eurosat-mobilenet-v2")
    command = [sys.executable, "-m", "runtime", "infer", package, "a.tif", "b.tif", "--out", str(tmp_path / "out")]
    ran = subprocess.run([*command, "--meter", "bogus"], capture_output=True, text=True, check=False, cwd=repo)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1
    for arguments, words in (
        (["--skip", "dark=x"], "is no pre-filter"),
        (["--with", "old"], "is no scene with a role"),
    ):
        refused = CliRunner().invoke(cli, ["infer", package, "a.tif", *arguments])
        assert (refused.exit_code, words in refused.output) == (2, True)


def test_a_meter_that_nobody_knows_is_refused_with_all_that_there_are(make_package: MakePackage) -> None:
    with pytest.raises(EngineError, match=r"Use one of auto, estimate, ina3221, ina238, nvml, rapl"):
        open_joules("bogus", make_package(), 8)


def test_shed_tiles_are_counted_by_the_kind_of_their_reason(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    pixels = np.full((3, 16, 64), 90, dtype=np.uint8)
    pixels[:, :, :16] = 0
    pixels[:, :, 16:29] = 0
    pixels[:, :, 32:48] = 5
    scene = write_tiff("mixed.tif", pixels, nodata=0)
    result = infer_scenes(make_package(), [scene], tmp_path / "out", skip={"dark": 0.9})
    (one,) = result.scenes
    assert one.shed_by == {"nodata": 2, "dark": 1}
    assert len(one.shed) == 3
    assert json.loads(json.dumps(result.summary()))["scenes"][0]["shed_by"] == one.shed_by
    tiles = json.loads((tmp_path / "out" / "mixed.geojson").read_text())["subsolar"]["tiles"]
    assert tiles["shed_by"] == one.shed_by
    (more,) = infer_scenes(make_package(name="again"), [scene], tmp_path / "more", skip={"nodata": 0.9}).scenes
    assert more.shed_by == {"nodata": 1}


class Inverter:
    """Restores by turning 0 into 255."""

    name, provider = "inverter", "none"

    def infer(self, batch: UInt8Array) -> FloatArray:
        return 255.0 - batch.astype(np.float32)

    def close(self) -> None:
        """There is nothing to give back."""


class Failing(Inverter):
    """An engine that cannot."""

    def infer(self, batch: UInt8Array) -> FloatArray:
        raise EngineError("it is out of memory")


def test_a_tile_with_little_data_is_restored_where_it_has_some(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import rasterio

    made = make_package()
    spec = OutputSpec(name="out", kind="image")
    package = replace(made, info=replace(made.info, classes=(), output=spec))
    pixels = np.full((3, 16, 32), 90, dtype=np.uint8)
    pixels[:, :, :13] = 0
    pixels[:, :, 16:] = 0
    scene = write_tiff("edge.tif", pixels, nodata=0)
    (done,) = infer_scenes(package, [scene], tmp_path / "out", engine=Inverter()).scenes
    assert (done.error, done.done, done.shed_by) == ("", 1, {"nodata": 1})
    with rasterio.open(str(done.output)) as restored:
        values = restored.read()
    assert (values[:, :, 13:16] == 165).all()
    assert not values[:, :, :13].any()
    assert not values[:, :, 16:].any()


@pytest.mark.parametrize(
    ("names", "code"), [(["nope.tif"], 2), (["nope.tif", "broken.tif"], 1), (["nope.tif", "good.tif"], 3)]
)
def test_scenes_that_are_not_there_are_wrong_usage_where_no_other_was_named(
    repo: Path, write_tiff: WriteTiff, tmp_path: Path, names: list[str], code: int
) -> None:
    package = str(repo / "deploy" / "packages" / "eurosat-mobilenet-v2")
    good = write_tiff("good.tif", np.full((3, 64, 64), 90, dtype=np.uint8))
    (good.parent / "broken.tif").write_bytes(b"no image")
    scenes = [str(good.parent / name) for name in names]
    ended = CliRunner().invoke(cli, ["infer", package, *scenes, "--out", str(tmp_path / "out")])
    assert ended.exit_code == code


def test_a_preview_shows_a_label_on_the_part_of_its_tile_that_it_answers_for(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    pixels = np.full((3, 16, 20), 30, dtype=np.uint8)
    pixels[0, :, :8], pixels[2, :, 8:] = 250, 250
    scene, package = write_tiff("edge.tif", pixels), make_package()
    (done,) = infer_scenes(package, [scene], tmp_path / "out").scenes
    assert done.tiles == 2
    picture = tmp_path / "edge.png"
    with open_frame(scene) as frame:
        write_preview(picture, frame, package.info, Path(str(done.output)))
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(picture) as made:
        shown = made.read().transpose(1, 2, 0)
    grown = shown.shape[1] // 20
    across = shown[shown.shape[0] // 2]
    lines = np.any([(across == np.array(colour)).all(axis=1) for colour in COLOURS[:3]], axis=0)
    assert not lines[3 * grown : 9 * grown].any()
    assert lines[10 * grown - 2 : 10 * grown + 2].all()


def test_of_many_scenes_the_finished_ones_are_counted(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    scenes = [write_tiff(f"{name}.tif", np.full((3, 16, 40), 90, dtype=np.uint8)) for name in "ab"]
    told: list[tuple[int, int, str]] = []
    infer_scenes(make_package(), scenes, tmp_path / "out", batch=2, progress=lambda *step: told.append(step))
    assert told == [
        (0, 2, "a, tile 2 of 3"),
        (0, 2, "a, tile 3 of 3"),
        (1, 2, "a"),
        (1, 2, "b, tile 2 of 3"),
        (1, 2, "b, tile 3 of 3"),
        (2, 2, "b"),
    ]


def test_what_a_killed_run_left_unfinished_is_gone_after_the_next(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    scene, out = write_tiff("a.tif", np.full((3, 16, 16), 90, dtype=np.uint8)), tmp_path / "out"
    out.mkdir()
    for name in (".a.geojson.x1y2z3_a.part", ".b.tif.scratch.tif", "kept.part"):
        (out / name).write_text("half")
    infer_scenes(make_package(), [scene], out)
    assert sorted(path.name for path in out.iterdir()) == [".subsolar-infer.jsonl", "a.geojson", "kept.part"]


def test_a_scene_that_is_screened_out_leaves_an_empty_file_a_line_and_code_0(
    repo: Path, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    package = str(repo / "deploy" / "packages" / "eurosat-mobilenet-v2")
    dark = write_tiff("dark.tif", np.full((3, 64, 64), 3, dtype=np.uint8))
    night = write_tiff("night.tif", np.full((3, 64, 64), 3, dtype=np.uint8))
    out = tmp_path / "out"
    ended = CliRunner().invoke(cli, ["infer", package, str(dark), str(night), "--skip", "dark", "--out", str(out)])
    assert ended.exit_code == 0
    told = "subsolar: no tile of dark, night was looked at: 2 shed (dark). Their files are whole and empty."
    assert told in ended.stderr.splitlines()
    assert json.loads((out / "dark.geojson").read_text())["features"] == []


def scene_result(name: str, **ended: Any) -> SceneResult:
    return SceneResult(
        **{"scene": name, "output": name, "done": 0, "tiles": 4, "shed": {}, "failed": {}, "labels": {}, **ended}
    )


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([scene_result("a", done=4)], 0),
        ([scene_result("a", shed={"cloud: much": 4})], 0),
        ([scene_result("a", shed={"cloud: much": 4}), scene_result("b", failed={"engine": 4})], 3),
        ([scene_result("a", done=1, failed={"engine": 3})], 3),
        ([scene_result("a", failed={"engine": 4})], 1),
        ([scene_result("a", done=4), scene_result("b", error="no band")], 3),
        ([scene_result("b", error="no band")], 1),
    ],
)
def test_the_exit_code_says_whether_a_part_or_all_is_missing(results: list[SceneResult], code: int) -> None:
    good = [not one.error for one in results]
    assert exit_code(results, complete=all(good), any_whole=any(good)) == code


def test_failed_tiles_are_told_with_their_commonest_reason() -> None:
    results = [scene_result(name, failed={"engine died": 2, "NaN": 1}) for name in "abcde"]
    assert remarks(results) == ["15 tiles of a, b, c and 2 more failed, most of them with: engine died"]


def test_a_scene_with_failed_tiles_is_tried_again_by_resume(
    make_package: MakePackage, write_tiff: WriteTiff, tmp_path: Path
) -> None:
    package = make_package()
    scene = write_tiff("a.tif", np.full((3, 16, 16), 90, dtype=np.uint8))
    (first,) = infer_scenes(package, [scene], tmp_path / "out", engine=Failing()).scenes
    again = infer_scenes(package, [scene], tmp_path / "out", resume=True)
    assert (sum(first.failed.values()), again.resumed, again.scenes[0].done) == (1, 0, 1)
