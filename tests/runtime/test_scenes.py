"""The scenes that ship, and drawing tiles from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import FrameError
from runtime.frames import RGB, SceneSource, open_frame, read_scene


@pytest.fixture(scope="module")
def shipped(repo: Path) -> SceneSource:
    return SceneSource.from_folder(repo / "deploy" / "scenes")


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_shipped_mosaic_has_sixty_tiles_of_each_class_side_by_side(shipped: SceneSource, repo: Path) -> None:
    scene = read_scene(repo / "deploy" / "scenes" / "eurosat-test.tif")
    assert len(shipped.classes) == 10
    assert Counter(ref.truth for ref in scene.labelled) == dict.fromkeys(shipped.classes, 60)
    assert len({(ref.row_px, ref.col_px) for ref in scene.labelled}) == 600
    frame = shipped.frame("eurosat-test")
    assert (frame.width_px * frame.height_px, frame.bands) == (600 * 64 * 64, RGB)
    assert frame.georeference is not None
    assert frame.gsd_m == pytest.approx(10.0, rel=1e-3)


def test_the_shipped_real_scene_has_named_bands_and_a_place(shipped: SceneSource) -> None:
    assert shipped.unlabelled == ("naip-2020-north-dakota",)
    frame = shipped.frame("naip-2020-north-dakota")
    assert frame.bands == (*RGB, "nir")
    assert frame.georeference is not None


def test_the_shipped_scenes_stay_small(repo: Path) -> None:
    assert sum(path.stat().st_size for path in (repo / "deploy" / "scenes").iterdir()) < 8_000_000


def test_every_tile_of_the_mosaic_is_the_chip_that_its_label_names(
    shipped: SceneSource, repo: Path, data_dir: Path
) -> None:
    table = json.loads((repo / "deploy" / "scenes" / "eurosat-test.json").read_text(encoding="utf-8"))
    held_out = set((data_dir / "eurosat-rgb-subset" / "test.txt").read_text(encoding="utf-8").split())
    assert {tile["source"] for tile in table["tiles"]} == held_out
    frame = shipped.frame("eurosat-test")
    for tile in table["tiles"][::13]:
        with open_frame(data_dir / "eurosat-rgb-subset" / tile["source"]) as chip:
            assert (frame.read(tile["row_px"], tile["col_px"], 64, (0, 1, 2)) == chip.read(0, 0, 64, (0, 1, 2))).all()
        assert Path(tile["source"]).parent.name == tile["class"]


def test_a_draw_follows_the_mix(shipped: SceneSource) -> None:
    counts: Counter[str | None] = Counter()
    rng = generator()
    for _ in range(50):
        counts.update(ref.truth for ref in shipped.draw({"Forest": 3.0, "River": 1.0, "SeaLake": 0.0}, 40, rng))
    assert set(counts) == {"Forest", "River"}
    assert counts["Forest"] / 2000 == pytest.approx(0.75, abs=0.03)


def test_draws_depend_on_the_generator_alone(shipped: SceneSource, repo: Path) -> None:
    mix = {"Forest": 0.5, "River": 0.5}
    again = SceneSource.from_folder(repo / "deploy" / "scenes")
    assert shipped.draw(mix, 30, generator()) == again.draw(dict(reversed(mix.items())), 30, generator())
    assert shipped.draw(mix, 30, generator()) != shipped.draw(mix, 30, generator(8))
    assert shipped.draw_unlabelled(9, 64, generator()) == again.draw_unlabelled(9, 64, generator())


def test_no_tile_comes_twice_until_all_have_come_and_then_as_another_look(shipped: SceneSource) -> None:
    refs = shipped.draw({"Highway": 1.0}, 150, generator())
    assert len(set(refs)) == 150
    assert Counter(ref.frame_id for ref in refs) == {"eurosat-test": 60, "eurosat-test@2": 60, "eurosat-test@3": 30}
    tiles, left_out = shipped.read(refs, RGB)
    assert ([tile.ref for tile in tiles], left_out) == (refs, [])
    looks = [tile.pixels for tile in tiles if (tile.ref.row_px, tile.ref.col_px) == (refs[0].row_px, refs[0].col_px)]
    assert len(looks) >= 2
    assert all((look == looks[0]).all() for look in looks)


def test_tiles_without_labels_come_from_the_real_scene(shipped: SceneSource) -> None:
    refs = shipped.draw_unlabelled(12, 64, generator())
    assert {ref.frame_id for ref in refs} == {"naip-2020-north-dakota"}
    assert {ref.truth for ref in refs} == {None}
    assert len(shipped.read(refs, ("nir", "red"))[0]) == 12


def test_nothing_is_drawn_where_nothing_is_asked_for(shipped: SceneSource) -> None:
    assert shipped.draw({"Forest": 1.0}, 0, generator()) == []
    assert shipped.read([], RGB) == ([], [])


@pytest.mark.parametrize(
    "mix", [{"Desert": 1.0}, {"Forest": 0.0}, {"Forest": -1.0, "River": 2.0}, {"Forest": float("nan")}, {}]
)
def test_a_mix_that_cannot_be_drawn_is_refused(shipped: SceneSource, mix: dict[str, float]) -> None:
    with pytest.raises(FrameError):
        shipped.draw(mix, 5, generator())


def test_tiles_of_a_scene_that_lacks_a_band_fail_with_the_reason(shipped: SceneSource) -> None:
    refs = shipped.draw({"Forest": 1.0}, 3, generator())
    tiles, left_out = shipped.read(refs, ("red", "nir"))
    assert tiles == []
    assert [(outcome.ref, outcome.outcome) for outcome in left_out] == [(ref, "failed") for ref in refs]
    assert "no band nir" in left_out[0].reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2, "tile_edge_px": 64, "tiles": []}',
        '{"schema": 1, "tile_edge_px": 64, "tiles": [{}]}',
    ],
)
def test_a_label_file_that_is_none_is_refused(write_tiff: Callable[..., Path], text: str) -> None:
    path = write_tiff("scene.tif", np.zeros((3, 64, 64), dtype=np.uint8))
    path.with_suffix(".json").write_text(text)
    with pytest.raises(FrameError, match=r"scene\.json is no label file"):
        read_scene(path)


def test_a_folder_without_scenes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="no scenes"):
        SceneSource.from_folder(tmp_path)


def test_without_unlabelled_scenes_no_such_tile_can_be_drawn(repo: Path) -> None:
    source = SceneSource([read_scene(repo / "deploy" / "scenes" / "eurosat-test.tif")])
    with pytest.raises(FrameError, match="All scenes have labels"):
        source.draw_unlabelled(1, 64, generator())
    with pytest.raises(FrameError, match="There is no scene"):
        source.frame("naip-2020-north-dakota")
