"""A network of the zoo from the command line: its own course reads the tiles that prove it and that prove it again."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("onnxslim")

from exporters.checkpoint import Checkpoint, save_checkpoint  # noqa: E402
from exporters.fit import course_of  # noqa: E402
from exporters.keys import new_key  # noqa: E402
from runtime.cli import main as entry  # noqa: E402
from runtime.cli.common import cli  # noqa: E402

PLAIN = {"dwb": False, "mab": False, "wdm": False, "ca": False, "pa": False, "fam": False}
"""DWTMA-Net without its modules: what is tested here is the way of the tiles, and a small graph is traced soon."""


def write_pairs(root: Path, seed: int) -> Path:
    """Six pairs of 32 px, two of them for the test."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    rng = np.random.default_rng(seed)
    for number in range(6):
        clear = rng.integers(0, 120, (3, 32, 32), dtype=np.uint8)
        for name, pixels in (("clear", clear), ("hazy", (clear // 2 + 100).astype(np.uint8))):
            (root / name).mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                how: dict[str, Any] = {"driver": "PNG", "width": 32, "height": 32, "count": 3, "dtype": "uint8"}
                with rasterio.open(root / name / f"{number}.png", "w", **how) as image:
                    image.write(pixels)
    (root / "train.txt").write_text("0\n1\n2\n3\n")
    (root / "test.txt").write_text("4\n5\n")
    return root


def untrained(path: Path, data: Path) -> Path:
    """A checkpoint as `subsolar fit` would leave it before the first step."""
    settings: dict[str, Any] = {"tile_px": 32, "crop_px": 16, "hold_back": 1, **PLAIN}
    course = course_of("dwtma_net", data, size="edge", seed=3, **settings)
    torch.manual_seed(3)
    network, told = course.build(), course.describe()
    checkpoint = Checkpoint(
        network="dwtma_net",
        size="edge",
        switches=dict(course.switches),
        kind="image",
        classes=(),
        bands=told.bands,
        edge_px=told.edge_px,
        mean=told.mean,
        std=told.std,
        dataset="six pairs",
        state_dict=network.state_dict(),
        notes={"course": settings, "training": {"seed": 3}, "metric": "ssim", "test": {"ssim": 0.5, "n": 2}},
    )
    save_checkpoint(path, checkpoint)
    return path


def run(*words: object) -> Any:
    """The answer of a command that succeeds."""
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_package_of_the_zoo_is_proven_again_on_its_courses_own_tiles(tmp_path: Path) -> None:
    assert callable(entry), "the package that adds the subcommands"
    data = write_pairs(tmp_path / "pairs", 0)
    key, _ = new_key(tmp_path / "keys", "craft")
    package = tmp_path / "packages" / "haze"
    checkpoint = untrained(tmp_path / "c.pt", data)
    run("export", checkpoint, "--data", data, "--out", package, "--key", key, "--id", "haze", "--json")
    (found,) = run("check", package, "--data", data, "--json")["packages"]
    assert (found["id"], found["proof"]["tiles"], found["tensorrt_issues"]) == ("haze", 2, 0)
    assert found["proof"]["psnr_db"] > 80
    others = write_pairs(tmp_path / "others", 1)
    result = CliRunner().invoke(cli, ["check", str(package), "--data", str(others)])
    assert result.exit_code != 0
    assert "other tiles than the proof" in str(result.exception) + result.output
