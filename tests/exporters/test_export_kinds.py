from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from exporters.check import check_package  # noqa: E402
from exporters.checkpoint import Checkpoint  # noqa: E402
from exporters.datasets import Chips  # noqa: E402
from exporters.errors import DatasetError, ExportError, PackageError  # noqa: E402
from exporters.export import ExportSettings, export_checkpoint  # noqa: E402
from exporters.onnx_cpu import inferrer  # noqa: E402
from exporters.package import Companion, ModelPackage, load_package  # noqa: E402
from exporters.prove import QUANTISED, ROUNDED_WEIGHTS, SAME_WEIGHTS, prove  # noqa: E402
from exporters.registry import build_network, parity_of  # noqa: E402
from exporters.tiles import Tiles  # noqa: E402

QUICK = ExportSettings(id="kind", batches=(1, 2), repeats=5)
CHANNELS = {"map": 2, "image": 3, "mask": 2, "boxes": 5, "embedding": 8}
Export = Callable[..., ModelPackage]


@pytest.fixture(scope="module")
def tiles(chips: Chips) -> Tiles:
    return Tiles("forty tiles", np.ascontiguousarray(chips.pixels[:, :, :32, :32]))


def checkpoint_of(kind: str, dtype: str = "uint8", **changes: Any) -> Checkpoint:
    torch.manual_seed(3)
    name, switches = "kind_networks:Kind", {"kind": kind, "channels": CHANNELS[kind]}
    network = build_network(name, **switches)
    network.norm.running_mean.uniform_(-0.2, 0.2)
    network.norm.running_var.uniform_(0.5, 1.5)
    scale = 1.0 if dtype == "uint8" else 3000.0
    values: dict[str, Any] = {
        "network": name,
        "switches": switches,
        "kind": kind,
        "classes": ("same", "changed") if kind == "mask" else ("thing",) if kind == "boxes" else (),
        "edge_px": 32,
        "mean": (0.4 * scale,) * 3,
        "std": (0.2 * scale,) * 3,
        "dtype": dtype,
        "dataset": "a set",
        "licence": "CC-BY-4.0",
        "unit": "m" if kind == "map" else "",
        "state_dict": network.state_dict(),
        "notes": {"metric": "auc", "test": {"auc": 0.91, "n": 12, "ci95_low": 0.85, "ci95_high": 0.95}},
    }
    return Checkpoint(**{**values, **changes})


@pytest.fixture(scope="module")
def float_map(
    tmp_path_factory: pytest.TempPathFactory, tiles: Tiles, signing_key: Ed25519PrivateKey, tiny_name: str
) -> ModelPackage:
    physical = Tiles("forty float tiles", tiles.pixels.astype(np.float32) * np.float32(11.7))
    out = tmp_path_factory.mktemp("kinds") / "map"
    extra = {Companion(name="words", file="vocabulary.txt", purpose="what it knows"): b"field\nforest\n"}
    return export_checkpoint(
        checkpoint_of("map", "float32"), physical, out, signing_key, settings=QUICK, companions=extra
    )


def test_a_map_of_physical_values_flies_from_float_tiles(float_map: ModelPackage) -> None:
    info = float_map.info
    assert (info.input.dtype, info.output.kind, info.output.unit, info.output.channels) == ("float32", "map", "m", 2)
    assert info.answer_shape == (2, 32, 32)
    assert float_map.golden.tiles.dtype == np.float32
    answers = inferrer(float_map.read_onnx())(float_map.golden.tiles)
    assert float_map.golden.mismatch(answers) is None
    rounding, parity = info.proofs
    assert (parity.psnr_db or 0) >= SAME_WEIGHTS.min_psnr_db
    assert (rounding.psnr_db or 0) >= ROUNDED_WEIGHTS.min_psnr_db


def test_the_card_says_what_the_checkpoint_said(float_map: ModelPackage) -> None:
    info, accuracy = float_map.info, float_map.profile.accuracy
    assert (info.licence, info.training_data) == ("CC-BY-4.0", "a set")
    assert (accuracy.metric, accuracy.value, accuracy.n, accuracy.ci95) == ("auc", 0.91, 12, (0.85, 0.95))
    assert any("Proven on 40 real tiles" in note for note in float_map.profile.notes)
    assert info.stac["properties"]["mlm:input"][0]["input"]["data_type"] == "float32"


def test_a_companion_is_read_as_it_was_given(float_map: ModelPackage, trust: dict[str, Ed25519PublicKey]) -> None:
    (companion,) = load_package(float_map.path, trust=trust).info.companions
    assert companion == Companion(name="words", file="vocabulary.txt", purpose="what it knows")
    assert float_map.read(companion.file) == b"field\nforest\n"


def test_the_proof_of_a_map_runs_again(
    float_map: ModelPackage, tiles: Tiles, trust: dict[str, Ed25519PublicKey]
) -> None:
    physical = Tiles("the same", tiles.pixels.astype(np.float32) * np.float32(11.7))
    result = check_package(float_map.path, trust=trust, test=physical)
    assert result.proof is not None
    assert (result.proof.tiles, result.accuracy, result.golden_agreement) == (40, None, 1.0)
    with pytest.raises(PackageError, match="other tiles"):
        check_package(float_map.path, trust=trust, test=Tiles("others", physical.pixels + 1))


@pytest.mark.parametrize("kind", ["image", "mask", "boxes", "embedding"])
def test_every_kind_is_exported_and_checked(
    kind: str,
    tmp_path: Path,
    tiles: Tiles,
    signing_key: Ed25519PrivateKey,
    trust: dict[str, Ed25519PublicKey],
    tiny_name: str,
) -> None:
    package = export_checkpoint(checkpoint_of(kind), tiles, tmp_path / kind, signing_key, settings=QUICK)
    assert package.info.output.kind == kind
    assert package.info.weights_dtype == "float16"
    result = check_package(package.path, trust=trust, test=tiles)
    assert result.golden_agreement == 1.0
    assert result.proof is not None
    assert package.info.output.channels == (8 if kind == "embedding" else 1)


def test_int8_of_a_map_is_held_to_its_psnr(tmp_path: Path, tiles: Tiles, tiny_name: str) -> None:
    calibration = Tiles("turned", np.ascontiguousarray(np.concatenate([tiles.pixels[..., ::-1]] * 4)))
    settings = replace(QUICK, precision="int8", calibration_tiles=64, calibration_methods=("minmax",), max_damage=1e9)
    package = export_checkpoint(
        checkpoint_of("map"), tiles, tmp_path / "p", None, settings=settings, calibration=calibration
    )
    proofs = [proof for proof in package.info.proofs if "int8" in proof.target]
    assert len(proofs) == 2
    assert all((proof.psnr_db or 0.0) >= QUANTISED.min_psnr_db for proof in proofs)
    assert package.profile.accuracy.metric == "1 - mean difference from the source"
    assert package.profile.accuracy.value > 0.95


def test_answers_of_another_kind_are_refused(tmp_path: Path, tiles: Tiles, tiny_name: str) -> None:
    stored = replace(checkpoint_of("map"), kind="embedding")
    with pytest.raises(ExportError, match=r"answers \(2, 32, 32\) a tile, which is no 'embedding'"):
        export_checkpoint(stored, tiles, tmp_path / "p", None, settings=QUICK)
    with pytest.raises(ExportError, match="answers 'map' and has no deploy function"):
        export_checkpoint(
            replace(stored, network="resnet18", switches={"classes": 2}, kind="map", state_dict=resnet()),
            tiles,
            tmp_path / "p",
            None,
            settings=QUICK,
        )


def resnet() -> Any:
    return build_network("resnet18", classes=2).state_dict()


def test_tiles_of_another_type_are_refused(tmp_path: Path, tiles: Tiles, tiny_name: str) -> None:
    physical = Tiles("floats", tiles.pixels.astype(np.float32))
    with pytest.raises(ExportError, match=r"of float32 with bands.*of uint8"):
        export_checkpoint(checkpoint_of("map"), physical, tmp_path / "p", None, settings=QUICK)
    with pytest.raises(DatasetError, match="tiles are"):
        Tiles("ints", tiles.pixels.astype(np.int32))
    with pytest.raises(DatasetError, match="no number"):
        Tiles("holes", np.full((1, 1, 2, 2), np.nan, dtype=np.float32))


def test_a_figure_beyond_one_is_no_accuracy(tmp_path: Path, tiles: Tiles, tiny_name: str) -> None:
    notes = {"metric": "psnr_db", "test": {"psnr_db": 27.5, "ssim": 0.88}}
    package = export_checkpoint(checkpoint_of("image", notes=notes), tiles, tmp_path / "p", None, settings=QUICK)
    accuracy = package.profile.accuracy
    assert (accuracy.metric, accuracy.value, accuracy.ci95) == ("ssim", 0.88, (0.88, 0.88))
    assert any("psnr_db 27.5" in note for note in package.profile.notes)


def test_embeddings_are_held_to_their_cosine() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(300, 16)).astype(np.float32)
    source /= np.linalg.norm(source, axis=1, keepdims=True)
    proof = prove(source, source, names=("a", "b"), kind="embedding")
    assert (proof.cosine_min, proof.top1_agreement) == (pytest.approx(1.0, abs=1e-6), 1.0)
    turned = source.copy()
    turned[5] = source[6]
    with pytest.raises(ExportError, match="in cosine"):
        prove(source, turned, names=("a", "b"), kind="embedding")


def test_a_network_is_held_to_the_bar_that_its_card_states() -> None:
    assert parity_of("kind_networks:Kind") == parity_of("resnet18") == SAME_WEIGHTS
    assert parity_of("acf").tolerance_abs == 1e-3
    source = np.full((256, 64), 0.125, dtype=np.float32)
    sign = np.where(np.arange(64) % 2, 1.0, -1.0).astype(np.float32)
    moved, far = source.copy(), source.copy()
    moved[7] += 2e-4 * sign
    far[7] += 9e-4 * sign
    with pytest.raises(ExportError, match=r"by up to 0\.0002"):
        prove(source, moved, names=("a", "b"), kind="embedding")
    prove(source, moved, names=("a", "b"), kind="embedding", bar=parity_of("acf"))
    with pytest.raises(ExportError, match=r"differs from a in cosine 0\.99997"):
        prove(source, far, names=("a", "b"), kind="embedding", bar=parity_of("acf"))


def test_weights_that_half_precision_would_spoil_are_stored_whole(
    tmp_path: Path, tiles: Tiles, tiny_name: str, trust: dict[str, Ed25519PublicKey]
) -> None:
    stored = checkpoint_of("embedding")
    state = {key: value.clone() for key, value in stored.state_dict.items()}
    for key, value in state.items():  # channels in equal pairs, whose large weights cancel but for what half drops
        if key.startswith(("first", "norm")) and value.ndim:
            value[1::2] = value[::2]
    state["last.weight"][:, ::2] += 64.0
    state["last.weight"][:, 1::2] -= 64.0
    package = export_checkpoint(replace(stored, state_dict=state), tiles, tmp_path / "p", None, settings=QUICK)
    assert package.info.weights_dtype == "float32"
    assert any("as float16 they fail the proof" in note and "in cosine" in note for note in package.profile.notes)
    result = check_package(package.path, trust=trust, allow_unsigned=True, test=tiles)
    assert result.proof is not None
    assert result.proof.tolerance_abs == SAME_WEIGHTS.tolerance_abs
