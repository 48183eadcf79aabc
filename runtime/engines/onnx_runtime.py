"""Networks run by ONNX Runtime: on the CPU, or by its CUDA and TensorRT providers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporters.onnx_runtime import import_onnxruntime
from exporters.package import ModelPackage

from ..errors import EngineError
from ..records import FloatArray, TileArray
from .engine import self_test
from .memory import return_freed

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_INSTALL = "Install it: pip install 'subsolar[cpu]', on a Jetson the vendor's build."


class OnnxEngine:
    """A session and the shape it was exported for."""

    def __init__(
        self, session: Any, name: str, provider: str, shape: tuple[int, int, int], dtype: str = "uint8"
    ) -> None:
        self._session = session
        self._input: str = session.get_inputs()[0].name
        self._output: str = session.get_outputs()[0].name
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self.name = name
        self.provider = provider

    def infer(self, batch: TileArray) -> FloatArray:
        """Run one batch; see ``Engine.infer``."""
        if batch.dtype != self._dtype or batch.shape[1:] != self._shape or not len(batch):
            raise EngineError(
                f"{self.name} takes {self._dtype} tiles of {self._shape} (bands, rows, columns), not {batch.dtype} "
                f"{batch.shape}. Cut tiles as the package's input specification asks."
            )
        try:
            answers = self._session.run([self._output], {self._input: batch})[0]
        except (
            Exception
        ) as error:  # ONNX Runtime's errors share no base class but Exception: each becomes an EngineError
            raise EngineError(f"{self.name} failed on {len(batch)} tiles: {one_line(error)}") from error
        return np.asarray(answers, dtype=np.float32)

    def close(self) -> None:
        """Let the session go."""
        self._session = _Closed(self.name)


@dataclass(frozen=True, slots=True)
class _Closed:
    """Stands for a session that was let go."""

    name: str

    def run(self, *_: object) -> Any:
        raise EngineError(f"{self.name} is closed. Load it again.")


def open_onnx_engine(
    package: ModelPackage, *, provider: str = "cpu", threads: int = 1, test: bool = True
) -> OnnxEngine:
    """Load the graph of a verified package and run its golden tiles.

    Raises ``EngineError`` if the provider that was asked for is not the one that runs, or the answers are wrong.
    ``threads``: of one operator, on the CPU; 0 lets ONNX Runtime take all cores.
    """
    name = f"{package.info.id} v{package.info.version}"
    session = _session(package.read_onnx(provider), name, provider, threads)
    edge = package.info.input.tile_edge_px
    engine = OnnxEngine(session, name, provider, (len(package.info.bands), edge, edge), package.info.input.dtype)
    if test:
        self_test(engine, package)
    return engine


def _session(graph: bytes, name: str, provider: str, threads: int) -> Any:
    try:
        onnxruntime = import_onnxruntime()
    except ImportError as error:
        raise EngineError(f"ONNX Runtime cannot be imported ({error}). {_INSTALL}") from error
    wanted = _provider_name(provider)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # as fast without, and MobileNetV3-Large at batch 32 takes 170 MB less
    chain = [wanted] if provider == "cpu" else [wanted, PROVIDERS["cpu"]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a provider that is missing is told by the comparison below
            session = onnxruntime.InferenceSession(graph, options, providers=chain)
    except Exception as error:  # see OnnxEngine.infer
        raise EngineError(f"{name} cannot be loaded by ONNX Runtime: {one_line(error)}") from error
    session.disable_fallback()  # to another provider, behind our back
    session._model_bytes = None  # kept by the binding for that alone
    return_freed()
    active = session.get_providers()[0]
    if active != wanted:
        raise EngineError(
            f"{name} was to run on {wanted}, but ONNX Runtime {onnxruntime.__version__} put it on {active}. "
            f"It has {', '.join(onnxruntime.get_available_providers())}; use one of these or install the missing one."
        )
    return session


def _provider_name(provider: str) -> str:
    if provider not in PROVIDERS:
        raise EngineError(f"There is no provider {provider!r}. Use one of {', '.join(PROVIDERS)}.")
    return PROVIDERS[provider]


def one_line(error: BaseException) -> str:
    """The message of ``error`` without line breaks and not too long."""
    return " ".join(str(error).split())[:400]
