"""Running the graphs beside ``model.onnx``: several inputs of their own, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.onnx_runtime import import_onnxruntime
from exporters.package import ModelPackage

from ..engines.onnx_runtime import one_line
from ..errors import EngineError


def companion_session(package: ModelPackage, file: str, *, threads: int = 1) -> Any:
    """A session of a graph of the package, verified as it is read. Raises ``EngineError``."""
    try:
        onnxruntime = import_onnxruntime()
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime cannot be imported ({error}). Install it: pip install 'subsolar[cpu]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(package.read(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class but Exception: each becomes an EngineError
        raise EngineError(f"{package.info.id} {file} cannot be loaded: {one_line(error)}. Export it again.") from error


def run_graph(session: Any, inputs: Mapping[str, NDArray[Any]], *, what: str) -> list[NDArray[np.float32]]:
    """All outputs as float32. ``what`` names the graph in the ``EngineError`` where it fails."""
    try:
        answers = session.run(None, dict(inputs))
    except Exception as error:  # see above
        raise EngineError(f"{what} failed: {one_line(error)}. Export the package again.") from error
    return [np.asarray(answer, dtype=np.float32) for answer in answers]
