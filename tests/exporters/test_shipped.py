"""The packages in deploy/packages: the pool that a fresh checkout flies with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.datasets import Chips
from exporters.measure import accuracy_on
from exporters.package import ModelPackage, load_package

pytest.importorskip("onnxruntime")

INT8 = "eurosat-mobilenet-v2-int8"
"""Ships beside the pool, not in it."""
VEHICLES = "vehicles-sscdh-edge"
"""The detector: pictures of two licences taught it, and its own is the stricter one."""
NAMES = ("eurosat-mobilenet-v3-large", "eurosat-mobilenet-v2", "eurosat-resnet18")


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest, repo: Path) -> ModelPackage:
    return load_package(repo / "deploy" / "packages" / request.param, trust=repo / "deploy" / "keys")


def test_all_together_are_small_enough_to_ship(repo: Path) -> None:
    folder = repo / "deploy" / "packages"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 51e6


def test_the_vehicle_detector_is_signed_proven_and_says_whose_pictures_taught_it(repo: Path) -> None:
    from exporters.onnx_cpu import inferrer

    package = load_package(repo / "deploy" / "packages" / VEHICLES, trust=repo / "deploy" / "keys")
    info = package.info
    assert (info.id, info.output.kind, info.classes) == (VEHICLES, "boxes", ("vehicle",))
    assert package.key_id is not None
    assert info.licence == "CC-BY-SA-4.0"
    assert all(name in info.training_data for name in ("KIT AIS", "CC BY 3.0", "Yauhen Kharuzhy", "CC BY-SA"))
    assert all(proof.tiles >= 256 for proof in info.proofs)
    assert info.proofs[-1].box_iou_mean is not None
    assert info.proofs[-1].box_iou_mean >= 0.999
    assert info.gsd_range_m[1] < 1.0, "a car must be larger than a few pixels"
    assert package.profile.accuracy.value >= 0.3
    golden = package.golden_for("cpu")
    assert golden.mismatch(inferrer(package.read_onnx())(golden.tiles)) is None


def test_the_int8_form_is_within_a_point_of_the_float_one_and_carries_both_graphs(repo: Path) -> None:
    from exporters.onnx_cpu import inferrer

    folder, trust = repo / "deploy" / "packages", repo / "deploy" / "keys"
    int8, plain = (load_package(folder / name, trust=trust) for name in (INT8, "eurosat-mobilenet-v2"))
    assert (int8.info.id, int8.info.precision, int8.info.network) == (INT8, "int8", plain.info.network)
    assert [how.target for how in int8.info.quantisation] == ["cpu", "tensorrt"]
    variant = int8.info.variant_for("tensorrt")
    assert variant is not None
    for accuracy in (int8.profile.accuracy, variant.accuracy):
        assert accuracy.n == plain.profile.accuracy.n == 600
        assert accuracy.value >= plain.profile.accuracy.value - 0.01
    assert int8.profile.notes[0].startswith("INT8 is ")
    for engine in ("cpu", "tensorrt"):
        golden = int8.golden_for(engine)
        assert golden.mismatch(inferrer(int8.read_onnx(engine))(golden.tiles)) is None


def test_each_is_held_to_ten_times_its_parity_on_a_cpu_by_tiles_that_it_hesitates_over(shipped: ModelPackage) -> None:
    golden = shipped.golden_for("cpu")
    assert golden.tolerance_abs == max(1e-5, 10.0 * shipped.info.proofs[-1].max_abs_diff) < 2e-5
    ordered = np.sort(golden.expected, axis=1)
    ahead = ordered[:, -1] - ordered[:, -2]
    assert ahead.min() > 2 * shipped.golden.tolerance_abs, "no tile that rounding on a GPU could turn"
    assert np.median(ahead) < 0.5


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
