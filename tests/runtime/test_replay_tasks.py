"""A replay that mixes tasks: what each found has its word on the page, and its worth in the queue."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters.keys import load_private, new_key
from exporters.package import Golden, OutputSpec, write_package
from runtime.flight import ReplayOptions
from runtime.replay import fly
from runtime.store import ProductStore

from .conftest import colour_info, colour_profile, spot_answers, spot_graph, spot_info
from .test_replay_detector import EDGE_PX, SCENARIO

ODD = """
[[pool.models]]
name = "odd"
package_id = "odd"
accuracy_min_frac = 0.9
accuracy_max_frac = 0.9
energy_min_j = 0.001
energy_max_j = 0.001
time_min_s = 0.0001
time_max_s = 0.0001
"""


def odd_graph() -> bytes:
    """Scores of anomaly: how far each pixel's red lies above the darkest."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["tiles"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["x", "zero", "one", "one"], ["out"]),
    ]
    values = {"zero": np.array([0]), "one": np.array([1])}
    made = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["n", 3, EDGE_PX, EDGE_PX])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 1, EDGE_PX, EDGE_PX])],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())


def write_packages(folder: Path, key: Any) -> None:
    tiles = np.random.default_rng(5).integers(0, 256, (3, 3, EDGE_PX, EDGE_PX), dtype=np.uint8)
    spot = replace(spot_info(EDGE_PX), gsd_range_m=(0.1, 100.0))
    odd = replace(
        colour_info(EDGE_PX),
        id="odd",
        task="anomaly",
        classes=(),
        output=OutputSpec(name="out", kind="map", unit="1", channels=1),
        gsd_range_m=(0.1, 100.0),
    )
    profile = colour_profile()
    bare = replace(profile, accuracy=replace(profile.accuracy, recall_by_class={}, confusion=(), value=0.8))
    found = Golden(tiles, spot_answers(tiles), 1e-5)
    write_package(folder / "spot", onnx=spot_graph(EDGE_PX), info=spot, profile=profile, golden=found, key=key)
    scores = Golden(tiles, tiles[:, :1].astype(np.float32), 1e-5)
    write_package(folder / "odd", onnx=odd_graph(), info=odd, profile=bare, golden=scores, key=key)


def test_the_dearer_task_flies_and_the_page_says_what_its_answers_are(tmp_path: Path, repo: Path) -> None:
    private, public = new_key(tmp_path / "secret", "launch")
    (tmp_path / "keys").mkdir()
    public.rename(tmp_path / "keys" / public.name)
    write_packages(tmp_path / "packages", load_private(private))
    text = SCENARIO.replace("[policy]", f"{ODD}\n[policy]") + "\n[tasks.anomaly]\nvalue = 3.0\n"
    (tmp_path / "odd.toml").write_text(text)
    options = ReplayOptions(
        scenario=str(tmp_path / "odd.toml"),
        policy="greedy",
        tiles_per_slot=4,
        out=tmp_path / "out",
        packages=tmp_path / "packages",
        scenes=repo / "deploy" / "scenes",
    )
    summary = fly(options, lambda *_: None).summary
    with ProductStore.open_readonly(tmp_path / "out" / "store.sqlite") as store:
        products, slots = store.products(), store.decisions()
    assert {one.kind for one in products} == {"anomaly"}
    assert {slot.model for slot in slots if slot.sampled_tile} == {"odd"}
    assert {round(slot.expected_accuracy_frac, 6) for slot in slots if slot.sampled_tile} == {0.8}
    assert max(one.value for one in products) > 2.0, "half a cover's 2 a tile would be less without the task's worth"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<title>anomaly, score" in page
    assert '"kinds":["anomaly"]' in page
    features = json.loads((tmp_path / "out" / "ground" / "products.geojson").read_text())["features"]
    assert summary["delivered"] == len(features) > 0
    assert any("picture" in one["properties"] for one in features)
