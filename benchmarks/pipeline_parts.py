"""Packages, sessions and scenes of the pipeline's benchmark; what is slow to make is kept in build/bench."""

from __future__ import annotations

import io
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from exporters.package import (
    Accuracy,
    Golden,
    InputSpec,
    ModelPackage,
    OutputSpec,
    PackageInfo,
    Profile,
    Thresholds,
)
from runtime.records import FloatArray, UInt8Array

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench"


def package_of(graph_path: Path, kind: str, edge_px: int, classes: tuple[str, ...], min_score: float) -> ModelPackage:
    """A package in memory around a graph that only this benchmark uses."""
    info = PackageInfo(
        id="bench",
        version=1,
        title="benchmark",
        task="benchmark",
        network="benchmark",
        params=0,
        gmacs=0.0,
        precision="float32",
        weights_dtype="float32",
        gsd_range_m=(0.1, 100.0),
        classes=classes,
        input=InputSpec(name="tiles", tile_edge_px=edge_px, bands=("red", "green", "blue")),
        output=OutputSpec(name="out", kind=kind),
        thresholds=Thresholds(min_score=min_score),
        licence="Apache-2.0",
        training_data="none",
        training={},
        created_by={},
        proofs=(),
    )
    accuracy = Accuracy(metric="top1", dataset="none", n=0, value=0.0, ci95=(0, 1), recall_by_class={}, confusion=())
    golden = Golden(np.zeros((0, 3, edge_px, edge_px), np.uint8), np.zeros((0, 1), np.float32), 1.0)
    return ModelPackage(graph_path, info, Profile(accuracy=accuracy, measurements=()), golden, "0" * 64, None, {})


def session(graph: bytes) -> Any:
    """One thread, as in flight."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def mobilenet(edge_px: int) -> bytes:
    """MobileNetV3-Large with seeded weights, uint8 in, normalisation and softmax inside."""
    path = OUT / f"mobilenet-v3-large-{edge_px}.onnx"
    if path.is_file():
        return path.read_bytes()
    import torch

    from exporters.registry import build_network

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = build_network("mobilenet_v3_large", classes=10)

        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.network((tiles.float() / 255 - 0.45) / 0.25), dim=1)

    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        torch.onnx.export(
            Wrapped().eval(),
            (torch.zeros(2, 3, edge_px, edge_px, dtype=torch.uint8),),
            buffer,
            dynamo=False,
            opset_version=18,
            input_names=["tiles"],
            output_names=["out"],
            dynamic_axes={"tiles": {0: "n"}, "out": {0: "n"}},
        )
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def scene(name: str, height: int, width: int, *, dtype: str = "uint8", bands: int = 3, tiled: bool = False) -> Path:
    """A striped, uncompressed GeoTIFF with bright spots on noise; made once."""
    path = OUT / f"{name}.tif"
    if path.is_file():
        return path
    import rasterio
    from rasterio.windows import Window

    layout: dict[str, Any] = {"blockxsize": 256, "blockysize": 256, "tiled": True} if tiled else {}
    shape = {"dtype": dtype, "count": bands, "height": height, "width": width}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 5.3e6)}
    profile = {
        "driver": "GTiff",
        "BIGTIFF": "IF_SAFER",
        **shape,
        **place,
        **({"photometric": "rgb"} if bands == 3 else {}),
        **({"nodata": 0} if dtype == "uint16" else {}),
        **layout,
    }
    rng = np.random.default_rng(7)
    with rasterio.open(path, "w", **profile) as target:
        for top in range(0, height, 512):
            rows = min(512, height - top)
            pixels = rng.integers(20, 60, (bands, rows, width), dtype=np.uint8).astype(dtype)
            for _ in range(rows * width // 12_000):
                row, col = rng.integers(0, rows - 8), rng.integers(0, width - 8)
                pixels[:, row : row + 8, col : col + 8] = rng.integers(170, 250)
            target.write(pixels * (200 if dtype == "uint16" else 1), window=Window(0, top, width, rows))
    return path


class Recorded:
    """Answers without computing: what is left of the time is ours."""

    name, provider = "recorded", "none"

    def __init__(self, answers: FloatArray) -> None:
        self.answers = answers

    def infer(self, batch: UInt8Array) -> FloatArray:
        """As many answers as tiles."""
        return self.answers[: len(batch)]

    def close(self) -> None:
        """There is nothing to give back."""


class Waiting:
    """Takes the time of a network without a core: what is left is what the pipeline itself does in turn."""

    name, provider = "waiting", "none"

    def infer(self, batch: UInt8Array) -> FloatArray:
        """Equal scores, 4 ms a tile later."""
        time.sleep(0.004 * len(batch))
        return np.full((len(batch), 10), 0.1, np.float32)

    def close(self) -> None:
        """There is nothing to give back."""


def wall_s(work: Callable[[], Any]) -> float:
    """Seconds of one run on the clock."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def at_once(work: Callable[[], None], threads: int) -> None:
    """Run ``work`` in so many threads."""
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def cpu_s(work: Callable[[], Any]) -> float:
    """CPU seconds of one run, all threads together."""
    started_s = time.process_time()
    work()
    return time.process_time() - started_s
