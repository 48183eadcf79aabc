"""Fixtures of the runtime tests: a small real network in a real package, and small real images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.package import (
    Accuracy,
    Golden,
    InputSpec,
    ModelPackage,
    OutputSpec,
    PackageInfo,
    Profile,
    ProfileEntry,
    Thresholds,
    load_package,
    write_package,
)

COLOURS = ("red", "green", "blue")


def colour_graph(edge_px: int, *, poison: bool = False) -> bytes:
    """A network that says which colour a tile has: mean of each band, a linear layer, softmax.

    With ``poison`` it divides by the mean of the red band minus 255: a pure red tile answers NaN, others are as before.
    """
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["tiles"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
    ]
    weight = np.eye(3, dtype=np.float32) * 0.05
    constants = {"weight": weight, "bias": np.zeros(3, dtype=np.float32), "axes": np.array([2, 3], dtype=np.int64)}
    logits = "logits"
    if poison:
        constants |= {"full": np.array([255.0], dtype=np.float32), "first": np.array([0], dtype=np.int64)}
        nodes += [
            helper.make_node("Gather", ["mean", "first"], ["red"], axis=1),
            helper.make_node("Sub", ["red", "full"], ["gap"]),
            helper.make_node("Div", ["gap", "gap"], ["one"]),
            helper.make_node("Mul", ["logits", "one"], ["poisoned"]),
        ]
        logits = "poisoned"
    nodes.append(helper.make_node("Softmax", [logits], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["batch", 3, edge_px, edge_px])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def colour_answers(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What ``colour_graph`` must answer, in numpy."""
    logits = tiles.astype(np.float32).mean(axis=(2, 3)) * 0.05
    power = np.exp(logits - logits.max(axis=1, keepdims=True))
    answers: NDArray[np.float32] = (power / power.sum(axis=1, keepdims=True)).astype(np.float32)
    return answers


def colour_info(edge_px: int) -> PackageInfo:
    return PackageInfo(
        id="colour",
        version=3,
        title="Colour of a tile",
        task="classification",
        network="mean",
        params=12,
        gmacs=1e-6,
        precision="fp32",
        weights_dtype="float32",
        gsd_range_m=(0.1, 1000.0),
        classes=COLOURS,
        input=InputSpec(name="tiles", tile_edge_px=edge_px, bands=COLOURS),
        output=OutputSpec(name="probabilities"),
        thresholds=Thresholds(min_score=0.5),
        licence="Apache-2.0",
        training_data="none",
        training={},
        created_by={},
        proofs=(),
    )


def colour_profile() -> Profile:
    accuracy = Accuracy(
        metric="top1",
        dataset="none",
        n=3,
        value=1.0,
        ci95=(0.4, 1.0),
        recall_by_class=dict.fromkeys(COLOURS, 1.0),
        confusion=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    )
    entry = ProfileEntry(
        device="cpu",
        machine="none",
        runtime="onnxruntime",
        precision="fp32",
        power_mode="default",
        threads=1,
        batch=8,
        clock="cpu",
        latency_p50_s=8e-4,
        latency_p99_s=9e-4,
        tile_s=1e-4,
        tile_s_ci95=(9e-5, 1.1e-4),
        repeats=5,
        energy_j_per_tile=1e-3,
        energy_kind="estimated",
        energy_method="10 W while busy",
        active_power_w=10.0,
        measured_on="2026-11-24",
    )
    return Profile(accuracy=accuracy, measurements=(entry,))


@pytest.fixture
def make_package(tmp_path: Path) -> Callable[..., ModelPackage]:
    """Writes and loads a package of ``colour_graph``; ``onnx`` or ``golden`` replace its parts."""

    def make(
        edge_px: int = 16, *, onnx: bytes | None = None, golden: Golden | None = None, name: str = "colour"
    ) -> ModelPackage:
        tiles = np.random.default_rng(5).integers(0, 256, (3, 3, edge_px, edge_px), dtype=np.uint8)
        write_package(
            tmp_path / name,
            onnx=colour_graph(edge_px) if onnx is None else onnx,
            info=colour_info(edge_px),
            profile=colour_profile(),
            golden=golden or Golden(tiles, colour_answers(tiles), 1e-5),
            key=None,
        )
        return load_package(tmp_path / name, trust={}, allow_unsigned=True)

    return make


@pytest.fixture
def poisoned_graph() -> Callable[[int], bytes]:
    """A network that answers NaN for pure red tiles."""
    return lambda edge_px: colour_graph(edge_px, poison=True)


@pytest.fixture
def write_tiff(tmp_path: Path) -> Callable[..., Path]:
    """Writes (bands, rows, cols) pixels as a GeoTIFF in UTM zone 32, 10 m; keywords go to rasterio."""

    def write(name: str, pixels: NDArray[Any], **profile: Any) -> Path:
        import rasterio
        from affine import Affine
        from rasterio.errors import NotGeoreferencedWarning

        path = tmp_path / name
        count, height, width = pixels.shape
        described = profile.pop("descriptions", None)
        tags = profile.pop("tags", {})
        layout = {
            "driver": "GTiff",
            "dtype": pixels.dtype.name,
            "count": count,
            "height": height,
            "width": width,
            "crs": "EPSG:32632",
            "transform": Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0),
            **profile,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a test may want a scene without a place
            target = rasterio.open(path, "w", **layout)
        with target:
            target.write(pixels)
            if tags:  # changing tags moves the directory to the end of the file
                target.update_tags(**tags)
            if described:
                target.descriptions = described
        return path

    return write


def spot_graph(edge_px: int) -> bytes:
    """A detector that sees one object in every tile: its middle half, as sure as the tile is red."""
    import onnx
    from onnx import TensorProto, helper

    side = [edge_px / 4, edge_px / 4, 3 * edge_px / 4, 3 * edge_px / 4]
    constants = {
        "pick": np.array([[1], [0], [0]], dtype=np.float32) / 255,
        "place": np.array([[*side, 0, 0]], dtype=np.float32),
        "axes": np.array([2, 3], dtype=np.int64),
        "spread": np.array([[0, 0, 0, 0, 1, 0]], dtype=np.float32),
        "rows": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["tiles"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "pick"], ["red"]),
        helper.make_node("Mul", ["red", "spread"], ["scores"]),
        helper.make_node("Add", ["scores", "place"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "rows"], ["found"]),
    ]
    graph = helper.make_graph(
        nodes,
        "spot",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["batch", 3, edge_px, edge_px])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, ["batch", 1, 6])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def spot_answers(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What ``spot_graph`` must answer, in numpy."""
    edge_px = tiles.shape[2]
    found = np.zeros((len(tiles), 1, 6), dtype=np.float32)
    found[:, 0, :4] = np.array([1, 1, 3, 3]) * edge_px / 4
    found[:, 0, 4] = tiles[:, 0].mean(axis=(1, 2)) / 255
    return found


def spot_info(edge_px: int) -> PackageInfo:
    """What a package of ``spot_graph`` says of itself."""
    return replace(colour_info(edge_px), id="spot", task="detection", output=OutputSpec(name="found", kind="boxes"))
