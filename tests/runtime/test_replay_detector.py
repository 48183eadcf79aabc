"""A mission whose network finds objects: from scenes through real packets to outlines on the ground."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from exporters.keys import load_private, new_key
from exporters.package import Golden, write_package
from runtime.flight import ReplayOptions
from runtime.replay import fly

from .conftest import colour_profile, spot_answers, spot_graph, spot_info

EDGE_PX = 48
SCENARIO = """
name = "spotter"

[orbit]
kind = "sgp4"
start_utc = "2026-03-01T00:00:00Z"
slot_s = 300.0
orbits = 1.0
altitude_km = 500.0

[power]
panel_m2 = 0.5
battery_wh = 200.0
bus_w = 5.0

[workload.covers.land]
tile_per_s = 1.0
value = 2.0
classes = { Forest = 1.0 }

[workload.covers.sea]
tile_per_s = 1.0
value = 1.0
classes = { SeaLake = 1.0 }

[[pool.models]]
name = "spot"
package_id = "spot"
accuracy_min_frac = 0.9
accuracy_max_frac = 0.9
energy_min_j = 0.001
energy_max_j = 0.001
time_min_s = 0.0001
time_max_s = 0.0001

[policy]
name = "greedy"

[link]
rate_bps = 100000.0

[link.stations.north]
latitude_deg = 78.0
longitude_deg = 15.0

[link.stations.south]
latitude_deg = -75.0
longitude_deg = 0.0

[downlink]
label_share = 0.8
pictures_per_slot = 1
"""


def test_a_detector_flies_a_replay_and_its_objects_lie_on_the_ground_with_their_outlines(
    tmp_path: Path, repo: Path
) -> None:
    private, public = new_key(tmp_path / "secret", "launch")
    (tmp_path / "keys").mkdir()
    public.rename(tmp_path / "keys" / public.name)
    tiles = np.random.default_rng(5).integers(0, 256, (3, 3, EDGE_PX, EDGE_PX), dtype=np.uint8)
    write_package(
        tmp_path / "packages" / "spot",
        onnx=spot_graph(EDGE_PX),
        info=replace(
            spot_info(EDGE_PX),
            gsd_range_m=(0.1, 100.0),
            thresholds=replace(spot_info(EDGE_PX).thresholds, min_score=0.1),
        ),
        profile=colour_profile(),
        golden=Golden(tiles, spot_answers(tiles), 1e-5),
        key=load_private(private),
    )
    (tmp_path / "spotter.toml").write_text(SCENARIO)
    options = ReplayOptions(
        scenario=str(tmp_path / "spotter.toml"),
        policy="greedy",
        tiles_per_slot=4,
        out=tmp_path / "out",
        packages=tmp_path / "packages",
        scenes=repo / "deploy" / "scenes",
    )
    summary = fly(options, lambda *_: None).summary
    assert summary["accuracy"] is None, "a box has no truth to be scored against"
    assert summary["products"] >= summary["delivered"] > 20  # type: ignore[operator]
    features = json.loads((tmp_path / "out" / "ground" / "products.geojson").read_text())["features"]
    assert len({json.dumps(feature["geometry"]) for feature in features if feature["geometry"]}) > 15
    assert sum("picture" in feature["properties"] for feature in features) > 5
