"""Golden tiles: those that the network hesitates over, held closer on a CPU than elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from exporters.datasets import Chips
from exporters.golden import certainty, golden_index
from exporters.package import Golden, OutputSpec, PackageInfo, load_package
from exporters.settings import ExportSettings

CLASSES = ("forest", "water")


def chips_of(labels: list[int]) -> Chips:
    pixels = np.zeros((len(labels), 3, 4, 4), dtype=np.uint8)
    return Chips("some", pixels, np.array(labels, dtype=np.int64), CLASSES)


def answers_of(*first: float) -> np.ndarray:
    values = np.array(first, dtype=np.float32)
    return np.stack([values, 1.0 - values], axis=1)


def test_of_each_class_the_tiles_are_taken_that_the_network_hesitates_over(info: PackageInfo) -> None:
    chips = chips_of([0, 0, 0, 0, 1, 1, 1])
    answers = answers_of(0.99, 0.7, 0.55, 0.9, 0.01, 0.3, 0.45)
    index = golden_index(answers, chips, info, ExportSettings(golden_per_class=2))
    assert index.tolist() == [1, 2, 5, 6]


def test_a_tile_that_rounding_could_turn_is_taken_last(info: PackageInfo) -> None:
    chips = chips_of([0, 0, 1])
    answers = answers_of(0.5005, 0.8, 0.4999)
    assert golden_index(answers, chips, info, ExportSettings(golden_per_class=1)).tolist() == [1, 2]
    assert certainty(answers, 2e-3) == pytest.approx([1.999, 0.6, 1.9998], abs=1e-5)
    int8 = ExportSettings(golden_per_class=1, precision="int8")  # its answers move by up to 0.1
    assert golden_index(answers_of(0.56, 0.8, 0.3), chips, info, int8).tolist() == [1, 2]


def test_without_classes_the_first_tiles_are_taken(info: PackageInfo) -> None:
    pictures = replace(info, output=OutputSpec(name="answers", kind="image"), classes=())
    answers = np.zeros((7, 3, 4, 4), dtype=np.float32)
    assert golden_index(answers, chips_of([0] * 7), pictures, ExportSettings()).tolist() == list(range(7))


def test_on_a_cpu_the_answers_are_held_closer(
    tmp_path: Path, write: Callable[..., Path], golden: Golden, trust: dict[str, Ed25519PublicKey]
) -> None:
    path = write(tmp_path / "p", golden=replace(golden, tolerance_cpu_abs=1e-5))
    package = load_package(path, trust=trust)
    moved = package.golden.expected + np.float32(1e-4)
    assert "allowed 1e-05" in str(package.golden_for("cpu").mismatch(moved))
    assert package.golden_for("cuda").mismatch(moved) is None
    older = load_package(write(tmp_path / "older"), trust=trust)
    assert older.golden_for("cpu").mismatch(moved) is None
