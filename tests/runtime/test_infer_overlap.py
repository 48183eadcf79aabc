"""What the command does about overlaps that nobody asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from runtime.cli import cli


@pytest.mark.parametrize(("given", "tiles"), [((), 9), (("--overlap", "0"), 4)])
def test_tiles_of_a_restorer_overlap_by_a_quarter_unless_told_otherwise(
    given: tuple[str, ...], tiles: int, repo: Path, write_tiff: Callable[..., Path], tmp_path: Path
) -> None:
    scene = write_tiff("hazy.tif", np.random.default_rng(0).integers(90, 160, (3, 128, 128)).astype(np.uint8))
    package = repo / "deploy" / "packages" / "dehaze-dwtma-edge"
    done = CliRunner().invoke(
        cli,
        [
            "infer",
            str(package),
            str(scene),
            "--out",
            str(tmp_path / "o"),
            "--bands",
            "red,green,blue",
            "--json",
            *given,
        ],
    )
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["scenes"]
    assert (row["tiles"], row["done"]) == (tiles, tiles)
