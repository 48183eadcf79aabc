"""Real chips, a tiny checkpoint, and a package made by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from exporters.datasets import Chips, load_chips
from exporters.keys import key_id
from exporters.package import (
    Accuracy,
    Golden,
    InputSpec,
    OutputSpec,
    PackageInfo,
    Profile,
    ProfileEntry,
    Proof,
    Thresholds,
    write_package,
)

HERE = Path(__file__).parent
CLASSES = ("forest", "water")


@pytest.fixture(scope="session")
def chips() -> Chips:
    """Forty real chips, four of each class."""
    return load_chips(HERE / "data" / "eurosat-40-test-chips.npz")


@pytest.fixture(scope="session")
def tiny_name() -> str:
    """The import path of a network of one's own."""
    if str(HERE) not in sys.path:
        sys.path.append(str(HERE))
    return "tiny_network:TinyNetwork"


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="session")
def trust(signing_key: Ed25519PrivateKey) -> dict[str, Ed25519PublicKey]:
    return {key_id(signing_key.public_key()): signing_key.public_key()}


@pytest.fixture(scope="session")
def profile_entry() -> ProfileEntry:
    return ProfileEntry(
        device="cpu",
        machine="a desk",
        runtime="onnxruntime 1.0",
        precision="float32",
        power_mode="default",
        threads=1,
        batch=8,
        clock="cpu",
        latency_p50_s=0.008,
        latency_p99_s=0.009,
        tile_s=0.001,
        tile_s_ci95=(0.0009, 0.0011),
        repeats=30,
        energy_j_per_tile=0.015,
        energy_kind="estimated",
        energy_method="CPU seconds times 15 W",
        active_power_w=15.0,
        measured_on="2026-01-01",
    )


@pytest.fixture(scope="session")
def profile(profile_entry: ProfileEntry) -> Profile:
    accuracy = Accuracy(
        metric="top1",
        dataset="two chips",
        n=2,
        value=0.5,
        ci95=(0.1, 0.9),
        recall_by_class={"forest": 1.0, "water": 0.0},
        confusion=((1, 0), (1, 0)),
    )
    return Profile(accuracy=accuracy, measurements=(profile_entry,))


@pytest.fixture(scope="session")
def info() -> PackageInfo:
    return PackageInfo(
        id="test-package",
        version=3,
        title="Test",
        task="classification",
        network="resnet18",
        params=10,
        gmacs=0.1,
        precision="float32",
        weights_dtype="float32",
        gsd_range_m=(8.0, 12.0),
        classes=CLASSES,
        input=InputSpec(name="tiles", tile_edge_px=4, bands=("red", "green", "blue")),
        output=OutputSpec(name="probabilities"),
        thresholds=Thresholds(min_score=0.5),
        licence="Apache-2.0",
        training_data="none",
        training={"epoch": 1},
        created_by={"numpy": "2"},
        proofs=(
            Proof(
                source="pytorch",
                target="onnxruntime",
                tiles=256,
                max_abs_diff=1e-6,
                mean_abs_diff=1e-8,
                tolerance_abs=1e-4,
                top1_agreement=1.0,
                min_top1_agreement=1.0,
            ),
        ),
    )


@pytest.fixture(scope="session")
def golden() -> Golden:
    tiles = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    return Golden(tiles, np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32), 1e-3)


@pytest.fixture
def write(info: PackageInfo, profile: Profile, golden: Golden, signing_key: Ed25519PrivateKey) -> Callable[..., Path]:
    """Write the package made by hand to a path."""

    def write_to(path: Path, **changes: object) -> Path:
        arguments = {"onnx": b"graph", "info": info, "profile": profile, "golden": golden, "key": signing_key}
        write_package(path, **{**arguments, **changes})  # type: ignore[arg-type]
        return path

    return write_to
