"""ONNX Runtime on the CPU, one thread: the reference that proofs, golden tiles and profiles are made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError
from .onnx_runtime import import_onnxruntime

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Infer = Callable[[NDArray[Any]], NDArray[np.float32]]
"""(n, bands, edge, edge) tiles, uint8 or float32, to (n, ...) answers."""
_BATCH_VALUES = 1 << 19


def batch_for(shape: Sequence[int], *, most: int = 32) -> int:
    """How many tiles of (n, bands, rows, cols) to run at once, so that the activations of large ones stay small."""
    return max(1, min(most, _BATCH_VALUES // max(int(np.prod(shape[1:])), 1)))


def open_session(onnx: bytes, *, threads: int = 1) -> InferenceSession:
    """A session that surely runs on the CPU."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a dozen native types without a common base; each means the same here
        raise ExportError(f"ONNX Runtime cannot load the graph: {error}. Export it again.") from error
    if session.get_providers()[0] != "CPUExecutionProvider":
        raise ExportError(f"ONNX Runtime chose {session.get_providers()}, not the CPU. Install the extra 'cpu' alone.")
    return session


def inferrer(onnx: bytes, *, threads: int = 1, batch: int = 32) -> Infer:
    """A function from (n, bands, edge, edge) tiles to (n, ...) float32, in batches of at most ``batch``."""
    session = open_session(onnx, threads=threads)
    name = session.get_inputs()[0].name

    def infer(tiles: NDArray[Any]) -> NDArray[np.float32]:
        parts: list[Any] = [
            session.run(None, {name: tiles[start : start + batch]})[0] for start in range(0, len(tiles), batch)
        ]
        return np.concatenate(parts)

    return infer


def version() -> str:
    """The version of ONNX Runtime."""
    return str(import_onnxruntime().__version__)
