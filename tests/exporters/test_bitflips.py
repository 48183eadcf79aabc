"""Flipped bits: on disk the hash sees every one, in memory the golden tiles see those that change an answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from exporters.bitflips import inject_flips
from exporters.datasets import Chips
from exporters.errors import PackageError
from exporters.package import load_package


def test_golden_tiles_catch_what_changes_an_answer_after_the_hash_was_checked(repo: Path, chips: Chips) -> None:
    """The long form, 1,000 flips, is `make bench-export`."""
    package = load_package(repo / "deploy/packages/eurosat-mobilenet-v2", trust=repo / "deploy/keys")
    report = inject_flips(package, chips.pixels, flips=60, seed=1)
    assert report.flips == 60
    assert report.golden_changed > 0
    assert report.caught_of_golden_frac == 1.0
    assert report.harmful_caught == report.harmful, "also those that change a top-1 elsewhere"
    assert report.caught >= report.golden_caught


def test_any_flipped_bit_of_a_graph_on_disk_is_seen_before_it_is_loaded(tmp_path: Path, repo: Path) -> None:
    folder = tmp_path / "p"
    shutil.copytree(repo / "deploy/packages/eurosat-mobilenet-v2", folder)
    graph = folder / "model.onnx"
    whole = graph.read_bytes()
    rng = np.random.default_rng(2)
    for _ in range(10):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        graph.write_bytes(bytes(damaged))
        with pytest.raises(PackageError, match=r"model\.onnx is damaged"):
            load_package(folder, trust=repo / "deploy/keys")
