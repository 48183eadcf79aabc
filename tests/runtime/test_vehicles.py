"""The vehicle detector that ships, on the real aerial picture that ships, as a new user runs it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from exporters.metrics.boxes import overlaps
from runtime import cli

pytest.importorskip("onnxruntime")
DETECTOR, DEHAZER = "vehicles-sscdh-edge", "dehaze-dwtma-edge"
SCENE = "kit-ais-mos74"


@pytest.fixture(scope="module")
def marked(repo: Path) -> NDArray[np.float64]:
    """(25, 4) the vehicles that people marked in the sample picture."""
    labels = json.loads((repo / "deploy" / "scenes" / "aerial" / f"{SCENE}.boxes.json").read_text())
    return np.array([box["left_top_right_bottom_px"] for box in labels["boxes"]])


def run(*words: object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CliRunner().invoke(cli.cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def boxes_in(path: Path) -> NDArray[np.float64]:
    features: list[dict[str, Any]] = json.loads(path.read_text())["features"]
    assert {one["properties"]["class"] for one in features} == {"vehicle"}
    return np.array([one["properties"]["px_bbox"] for one in features])


def test_infer_finds_most_vehicles_whole_and_once_and_draws_them(
    repo: Path, tmp_path: Path, marked: NDArray[np.float64]
) -> None:
    picture = repo / "deploy" / "scenes" / "aerial" / f"{SCENE}.png"
    package = repo / "deploy" / "packages" / DETECTOR
    said = run("infer", package, picture, "--overlap", 64, "--preview", "--out", tmp_path)
    assert "12 of 12 tiles done" in said
    found = boxes_in(tmp_path / f"{SCENE}.geojson")
    hits = overlaps(found, marked) > 0.5
    assert hits.any(0).sum() >= 12, "of 25"
    assert hits.any(1).mean() >= 0.6, "what is found is a vehicle"
    assert hits.sum(0).max() == 1, "each once"
    assert (tmp_path / f"{SCENE}.preview.png").stat().st_size > 100_000


def test_dehaze_then_detect_is_a_chain_of_two_packages_that_ship(repo: Path, tmp_path: Path) -> None:
    import rasterio

    from exporters.readers.haze import add_haze

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(repo / "deploy" / "scenes" / "aerial" / f"{SCENE}.png") as source:
            clear = source.read()[:, :320, :320]
        hazy = add_haze(clear, np.random.default_rng(3)).pixels
        size = {"width": 320, "height": 320, "count": 3, "dtype": "uint8"}
        with rasterio.open(tmp_path / "hazy.png", "w", driver="PNG", **size) as out:
            out.write(hazy)
    packages = repo / "deploy" / "packages"
    stages = [(DEHAZER, 16), (DETECTOR, 64)]
    text = "".join(f'[[stage]]\npackage = "{packages / name}"\noverlap_px = {px}\n' for name, px in stages)
    (tmp_path / "chain.toml").write_text(text)
    run("infer", "--chain", tmp_path / "chain.toml", tmp_path / "hazy.png", "--out", tmp_path / "out")
    assert (tmp_path / "out" / f"hazy-{DEHAZER}.tif").is_file()
    assert len(boxes_in(tmp_path / "out" / f"hazy-{DETECTOR}.geojson")) >= 3
