from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from exporters import graph  # noqa: E402
from exporters.check import bench_package, check_package  # noqa: E402
from exporters.checkpoint import Checkpoint, save_checkpoint  # noqa: E402
from exporters.courses.chips import band_statistics  # noqa: E402
from exporters.datasets import Chips  # noqa: E402
from exporters.errors import CheckpointError, ExportError, PackageError  # noqa: E402
from exporters.export import ExportSettings, export_checkpoint, export_network  # noqa: E402
from exporters.measure import accuracy_on, profile_on_cpu, wilson_ci95  # noqa: E402
from exporters.onnx_cpu import inferrer, open_session  # noqa: E402
from exporters.package import load_package  # noqa: E402
from exporters.prove import prove, torch_answers  # noqa: E402
from exporters.registry import build_network  # noqa: E402
from exporters.source import deployed_network, onnx_of  # noqa: E402

QUICK = ExportSettings(id="tiny", batches=(1, 4), repeats=5, golden_per_class=1, proof_tiles=40)


@pytest.fixture(scope="module")
def checkpoint(chips: Chips, tiny_name: str) -> Checkpoint:
    torch.manual_seed(5)
    network = build_network(tiny_name, classes=10)
    network.train()
    mean, std = band_statistics(chips.pixels)
    for _ in range(3):  # batch norms learn statistics, so that fusing them is no identity
        network((torch.from_numpy(chips.pixels).float() / 255 - mean[:, None, None]) / std[:, None, None])
    with torch.no_grad():
        network.fc.weight.mul_(20.0)  # answers far from uniform
    return Checkpoint(
        network=tiny_name,
        switches={"classes": 10, "stem_stride": 2},
        classes=chips.classes,
        edge_px=64,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        state_dict=network.state_dict(),
        notes={"epoch": 3},
    )


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> bytes:
    """The graph of the tiny network: the one slow step, done once."""
    return onnx_of(deployed_network(checkpoint, "float16"), checkpoint, QUICK)


@pytest.fixture(scope="module")
def package_path(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Checkpoint, chips: Chips, signing_key: Ed25519PrivateKey
) -> Path:
    out = tmp_path_factory.mktemp("packages") / "tiny"
    export_checkpoint(checkpoint, chips, out, signing_key, settings=QUICK)
    return out


def test_the_graph_takes_bytes_and_answers_probabilities(model: bytes, chips: Chips) -> None:
    session = open_session(model)
    (tiles,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (tiles.name, tiles.type, tiles.shape) == ("tiles", "tensor(uint8)", ["batch", 3, 64, 64])
    assert (probabilities.name, probabilities.type) == ("probabilities", "tensor(float)")
    np.testing.assert_allclose(inferrer(model)(chips.pixels).sum(1), 1.0, atol=1e-5)


def test_the_graph_says_what_it_is_and_not_where_it_was_made(model: bytes, repo: Path) -> None:
    stored = onnx.load_from_string(model)
    properties = {entry.key: entry.value for entry in stored.metadata_props}
    assert properties["id"] == "tiny"
    assert json.loads(properties["classes"])[0] == "AnnualCrop"
    assert [entry.version for entry in stored.opset_import] == [18]
    assert str(repo).encode() not in model
    assert b"stack_trace" not in model
    assert not any(node.metadata_props or node.doc_string for node in stored.graph.node)


def test_batch_norms_are_folded_and_weights_are_stored_as_half(model: bytes) -> None:
    stored = onnx.load_from_string(model)
    assert "BatchNormalization" not in {node.op_type for node in stored.graph.node}
    large = [tensor for tensor in stored.graph.initializer if np.prod(tensor.dims) >= 256]
    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}


def test_the_graph_answers_as_torch_does_for_any_batch(model: bytes, checkpoint: Checkpoint, chips: Chips) -> None:
    source = torch_answers(deployed_network(checkpoint, "float16"), chips.pixels)
    for batch in (1, 7, 40):
        np.testing.assert_allclose(inferrer(model, batch=batch)(chips.pixels), source, atol=1e-5)


def test_fusing_batch_norms_changes_nothing_and_rounding_little(checkpoint: Checkpoint, chips: Chips) -> None:
    plain = torch_answers(graph.with_normalisation(checkpoint.build(), checkpoint.mean, checkpoint.std), chips.pixels)
    fused = torch_answers(deployed_network(checkpoint, "float32"), chips.pixels)
    rounded = torch_answers(deployed_network(checkpoint, "float16"), chips.pixels)
    np.testing.assert_allclose(fused, plain, atol=1e-5)
    assert 0.0 < np.abs(rounded - plain).max() < 0.02


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v3_large"])
def test_every_batch_norm_of_the_zoo_fuses(name: str, chips: Chips) -> None:
    torch.manual_seed(1)
    network = build_network(name, classes=10).eval()
    fused = graph.fuse_batch_norms(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    inputs = torch.from_numpy(chips.pixels[:4]).float() / 255
    with torch.inference_mode():
        torch.testing.assert_close(fused(inputs), network(inputs), rtol=1e-4, atol=1e-4)


def test_weights_beyond_the_range_of_half_are_refused(checkpoint: Checkpoint) -> None:
    state = {key: value.clone() for key, value in checkpoint.state_dict.items()}
    state["fc.weight"][0, 0] = 1e6
    with pytest.raises(ExportError, match=r"fc\.weight exceeds the range of float16"):
        deployed_network(replace(checkpoint, state_dict=state), "float16")


def test_an_unknown_way_to_store_weights_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(ExportError, match="'int3'"):
        deployed_network(checkpoint, "int3")


def answers_of(chips: Chips, shift: float = 0.0) -> NDArray[np.float32]:
    answers = np.full((len(chips), 10), 0.05, dtype=np.float32)
    answers[:, 0] = 0.55 + shift
    return answers


def test_a_proof_states_the_worst_difference(chips: Chips) -> None:
    proof = prove(answers_of(chips), answers_of(chips, 5e-5), names=("a", "b"), min_tiles=40)
    assert proof.max_abs_diff == pytest.approx(5e-5, rel=0.01)
    assert (proof.tiles, proof.top1_agreement) == (40, 1.0)


@pytest.mark.parametrize("shift", [1e-3, float("nan")])
def test_answers_that_differ_are_refused(chips: Chips, shift: float) -> None:
    with pytest.raises(ExportError, match=r"b differs from a by up to .*allowed 0\.0001"):
        prove(answers_of(chips), answers_of(chips, shift), names=("a", "b"), min_tiles=40)


def test_one_changed_class_is_refused_however_close(chips: Chips) -> None:
    source = answers_of(chips)
    source[:, 1] = source[:, 0] - np.float32(1e-5)
    target = source.copy()
    target[3, 1] = target[3, 0] + np.float32(1e-5)
    with pytest.raises(ExportError, match=r"agreement 97\.50 % \(needed 100 %\)"):
        prove(source, target, names=("a", "b"), min_tiles=40)


def test_answers_of_another_shape_are_refused(chips: Chips) -> None:
    with pytest.raises(ExportError, match="Check the class list"):
        prove(answers_of(chips), answers_of(chips)[:, :9], names=("a", "b"), min_tiles=40)


def test_a_proof_on_too_few_tiles_is_refused(chips: Chips) -> None:
    with pytest.raises(ExportError, match="needs 256 real tiles, 40"):
        prove(answers_of(chips), answers_of(chips), names=("a", "b"))


def test_an_export_without_proof_leaves_no_file(
    tmp_path: Path, checkpoint: Checkpoint, chips: Chips, signing_key: Ed25519PrivateKey
) -> None:
    with pytest.raises(ExportError, match="needs 256 real tiles"):
        export_checkpoint(checkpoint, chips, tmp_path / "p", signing_key, settings=replace(QUICK, proof_tiles=256))
    assert list(tmp_path.iterdir()) == []


def test_a_package_is_exported_whole_and_passes_its_check(
    package_path: Path, trust: dict[str, Ed25519PublicKey], model: bytes, chips: Chips
) -> None:
    package = load_package(package_path, trust=trust)
    assert package.read_onnx() == model, "a second export of one checkpoint must give the same graph"
    assert package.info.weights_dtype == "float16"
    rounding, parity = package.info.proofs
    assert rounding.max_abs_diff > parity.max_abs_diff
    assert (parity.tiles, parity.tolerance_abs, parity.top1_agreement) == (40, 1e-4, 1.0)
    assert len(package.golden.tiles) == 10
    assert package.info.stac["properties"]["mlm:total_parameters"] == package.info.params
    assert package.profile.accuracy == accuracy_on(inferrer(model), chips)
    assert {entry.energy_kind for entry in package.profile.measurements} == {"estimated"}
    result = check_package(package_path, trust=trust)
    assert (result.id, result.golden_tiles, result.opset) == ("tiny", 10, 18)
    assert result.golden_max_abs_diff <= 1e-5


def test_weights_without_a_licence_are_not_given_one(
    package_path: Path, tmp_path: Path, checkpoint: Checkpoint, chips: Chips, trust: dict[str, Ed25519PublicKey]
) -> None:
    package = load_package(package_path, trust=trust)
    assert (package.info.licence, package.info.training_data) == ("unknown", "unknown")
    assert package.info.stac["properties"]["license"] == "other"
    assert any("licence of these weights is unknown" in note for note in package.profile.notes)
    models = [part for part in json.loads(package.read("sbom.json"))["components"] if "model" in part["type"]]
    assert models[0]["licenses"] == [{"license": {"name": "unknown"}}]
    told = replace(QUICK, licence="CC-BY-4.0").resolved(checkpoint)
    assert told.licence == "CC-BY-4.0"
    assert QUICK.resolved(replace(checkpoint, licence="MIT")).licence == "MIT"


def test_a_graph_that_answers_otherwise_fails_its_check(
    tmp_path: Path, package_path: Path, trust: dict[str, Ed25519PublicKey], signing_key: Ed25519PrivateKey
) -> None:
    from exporters.package import Golden, write_package

    package = load_package(package_path, trust=trust)
    other = Golden(package.golden.tiles[::-1].copy(), package.golden.expected, package.golden.tolerance_abs)
    write_package(
        tmp_path / "p",
        onnx=package.read_onnx(),
        info=package.info,
        profile=package.profile,
        golden=other,
        key=signing_key,
    )
    with pytest.raises(PackageError, match="fails its self-test: answers differ"):
        check_package(tmp_path / "p", trust=trust)


def test_a_signed_file_that_is_no_graph_fails_its_check(
    tmp_path: Path, package_path: Path, trust: dict[str, Ed25519PublicKey], signing_key: Ed25519PrivateKey
) -> None:
    from exporters.package import write_package

    package = load_package(package_path, trust=trust)
    write_package(
        tmp_path / "p",
        onnx=b"no graph",
        info=package.info,
        profile=package.profile,
        golden=package.golden,
        key=signing_key,
    )
    with pytest.raises(PackageError, match="not a valid graph"):
        check_package(tmp_path / "p", trust=trust)


def test_a_bench_measures_time_anew_and_keeps_the_accuracy(
    package_path: Path, trust: dict[str, Ed25519PublicKey]
) -> None:
    package = load_package(package_path, trust=trust)
    profile = bench_package(package, batches=(2,), repeats=4)
    assert profile.accuracy == package.profile.accuracy
    assert [(entry.batch, entry.repeats) for entry in profile.measurements] == [(2, 4)]


def test_the_profile_is_what_the_clock_says(model: bytes, chips: Chips) -> None:
    ticks = iter(np.arange(0.0, 100.0, 0.25))
    (entry,) = profile_on_cpu(
        model,
        chips.pixels,
        precision="float32",
        batches=(5,),
        repeats=8,
        active_power_w=10.0,
        clock=lambda: next(ticks),
    )
    assert entry.latency_p50_s == entry.latency_p99_s == 0.25
    assert entry.tile_s == pytest.approx(0.05)
    assert entry.energy_j_per_tile == pytest.approx(0.5)
    assert entry.implied_power_w == pytest.approx(10.0)
    assert entry.tile_s_ci95 == (0.05, 0.05)


def test_accuracy_counts_what_was_right(chips: Chips) -> None:
    accuracy = accuracy_on(lambda tiles: answers_of(chips), chips)
    assert (accuracy.value, accuracy.n) == (0.1, 40)
    assert accuracy.recall_by_class["AnnualCrop"] == 1.0
    assert accuracy.recall_by_class["SeaLake"] == 0.0
    assert accuracy.confusion[9][0] == 4
    assert accuracy.ci95 == wilson_ci95(4, 40)


def test_the_wilson_interval_meets_its_published_example() -> None:
    low, high = wilson_ci95(15, 148)  # Newcombe, Statistics in Medicine 17, 1998, table I: 0.0624 to 0.1605
    assert (round(low, 4), round(high, 4)) == (0.0624, 0.1605)


def test_a_class_list_of_the_wrong_length_is_refused(tmp_path: Path, checkpoint: Checkpoint, chips: Chips) -> None:
    with pytest.raises(ExportError, match="know 9 classes"):
        export_checkpoint(checkpoint, replace(chips, classes=chips.classes[:9]), tmp_path / "p", None, settings=QUICK)


def test_chips_of_the_wrong_bands_are_refused(tmp_path: Path, checkpoint: Checkpoint, chips: Chips) -> None:
    with pytest.raises(ExportError, match=r"are \(2, 64, 64\)"):
        export_checkpoint(checkpoint, replace(chips, pixels=chips.pixels[:, :2]), tmp_path / "p", None, settings=QUICK)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(tmp_path / "c.pt", checkpoint)
    with pytest.raises(CheckpointError, match="holds tiny_network:TinyNetwork, not resnet18"):
        export_network("resnet18", tmp_path / "c.pt", tmp_path / "p", tmp_path, None)
