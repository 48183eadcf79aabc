"""The packages in deploy/packages: the pool that a fresh checkout flies with."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.datasets import Chips
from exporters.measure import accuracy_on
from exporters.package import ModelPackage, load_package

pytest.importorskip("onnxruntime")

NAMES = ("eurosat-mobilenet-v3-large", "eurosat-mobilenet-v2", "eurosat-resnet18")


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest, repo: Path) -> ModelPackage:
    return load_package(repo / "deploy" / "packages" / request.param, trust=repo / "deploy" / "keys")


def test_all_three_together_are_small_enough_to_ship(repo: Path) -> None:
    folder = repo / "deploy" / "packages"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 45e6


def test_each_is_signed_proven_and_accurate_enough(shipped: ModelPackage) -> None:
    assert shipped.info.id == shipped.path.name
    assert shipped.key_id is not None
    assert shipped.profile.accuracy.n == 600
    assert shipped.profile.accuracy.value >= 0.82
    assert min(shipped.profile.accuracy.recall_by_class.values()) > 0.5
    parity = shipped.info.proofs[-1]
    assert parity.tiles >= 256
    assert parity.max_abs_diff <= 1e-4
    assert parity.top1_agreement == 1.0
    assert {entry.batch for entry in shipped.profile.measurements} == {1, 8, 32}


def test_each_answers_its_golden_tiles_and_real_chips(shipped: ModelPackage, chips: Chips) -> None:
    from exporters.onnx_cpu import inferrer

    infer = inferrer(shipped.read_onnx())
    assert shipped.golden.mismatch(infer(shipped.golden.tiles)) is None
    assert accuracy_on(infer, chips).value >= 0.82


def test_each_passes_the_check_of_the_exporter(shipped: ModelPackage, repo: Path) -> None:
    pytest.importorskip("onnx")
    from exporters.check import check_package

    result = check_package(shipped.path, trust=repo / "deploy" / "keys")
    assert result.sha256 == shipped.sha256
    assert result.opset == 18
