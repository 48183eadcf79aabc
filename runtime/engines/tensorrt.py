"""Networks run by TensorRT itself: a plan built ahead of time, buffers by cuda-python, CUDA graphs for fixed batches.

A plan is never built where slots are flown. One that was built for something else is refused, and rebuilt beside the
fallback that serves meanwhile (``rebuild_beside``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from exporters.cuda import Cuda, CudaPython
from exporters.errors import ExportError
from exporters.package import ModelPackage
from exporters.tensorrt import BuildSettings, build_engine, check_engine, load_tensorrt, passport_of

from ..errors import EngineError
from ..records import FloatArray, TileArray
from .engine import Engine
from .swap import Swappable

log = logging.getLogger(__name__)


class TensorRtEngine:
    """One deserialised plan with a context for each of its batch sizes.

    A batch that is one of ``batches`` runs as a CUDA graph recorded at its first use; any other is run in parts of the
    largest. One stream: several threads take turns.
    """

    provider = "tensorrt"

    def __init__(self, engine: Any, cuda: Cuda, package: ModelPackage, batches: tuple[int, ...], graphs: bool) -> None:
        self.name = f"{package.info.id} v{package.info.version}"
        self._engine: Any = engine
        self._cuda, self._graphs = cuda, graphs
        self._batches = tuple(sorted(batches))
        spec = package.info.input
        self._shape = (len(spec.bands), spec.tile_edge_px, spec.tile_edge_px)
        self._dtype = np.dtype(spec.dtype)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        if {spec.name, package.info.output.name} != set(names):
            raise EngineError(f"The engine of {self.name} has tensors {names}. Build it anew: subsolar models prepare.")
        self._input, self._output = spec.name, package.info.output.name
        self._answer = tuple(package.golden_for("tensorrt").expected.shape[1:])
        self._lock = threading.Lock()
        self._stream = cuda.stream()
        self._lanes: dict[int, _Lane] = {}
        self._closed = False

    def infer(self, batch: TileArray) -> FloatArray:
        """Run one batch; see ``Engine.infer``."""
        if batch.dtype != self._dtype or batch.shape[1:] != self._shape or not len(batch):
            raise EngineError(
                f"{self.name} takes {self._dtype} tiles of {self._shape} (bands, rows, columns), not {batch.dtype} "
                f"{batch.shape}. Cut tiles as the package's input specification asks."
            )
        with self._lock:
            if self._closed:
                raise EngineError(f"{self.name} is closed. Load it again.")
            most = self._batches[-1]
            parts = [np.ascontiguousarray(batch[start : start + most]) for start in range(0, len(batch), most)]
            try:
                answers: FloatArray = np.concatenate([self._run(part) for part in parts])
            except ExportError as error:
                raise EngineError(f"{self.name} failed on {len(batch)} tiles: {error}") from error
        return answers

    def _run(self, tiles: TileArray) -> FloatArray:
        size = next(batch for batch in self._batches if batch >= len(tiles))
        if size not in self._lanes:
            self._lanes[size] = self._open_lane(size)
        return self._lanes[size].run(tiles, self._stream)

    def _open_lane(self, size: int) -> _Lane:
        context = self._engine.create_execution_context()
        if not context.set_optimization_profile_async(self._batches.index(size), self._stream):
            raise EngineError(f"The engine of {self.name} has no profile for batch {size}. Build it anew.")
        if not context.set_input_shape(self._input, (size, *self._shape)):
            raise EngineError(f"The engine of {self.name} refuses batch {size}. Build it anew with that batch.")
        tiles = np.zeros((size, *self._shape), dtype=self._dtype)
        lane = _Lane(context, self._cuda, tiles, self._answer, self._graphs)
        for name, address in ((self._input, lane.tiles_at), (self._output, lane.answers_at)):
            if not context.set_tensor_address(name, address):
                raise EngineError(f"The engine of {self.name} refuses the buffer of {name}. Build it anew.")
        return lane

    def close(self) -> None:
        """Give the device's memory back."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for lane in self._lanes.values():
                lane.close()
            self._lanes.clear()
            self._cuda.destroy_stream(self._stream)
            self._engine = None


class _Lane:
    """Buffers, context and recorded graph of one batch size."""

    def __init__(self, context: Any, cuda: Cuda, tiles: TileArray, answer: tuple[int, ...], graphs: bool) -> None:
        self._context, self._cuda, self._graphs = context, cuda, graphs
        self._tiles = tiles
        self._answers = np.zeros((len(tiles), *answer), dtype=np.float32)
        self.tiles_at = cuda.allocate(self._tiles.nbytes)
        self.answers_at = cuda.allocate(self._answers.nbytes)
        self._graph: int | None = None
        self._runs = 0

    def run(self, tiles: TileArray, stream: int) -> FloatArray:
        self._tiles[: len(tiles)] = tiles
        self._tiles[len(tiles) :] = 0
        self._cuda.upload(self.tiles_at, self._tiles, stream)
        if self._graph is None and self._graphs and self._runs == 1:  # the first run may still allocate: record later
            self._cuda.begin_capture(stream)
            self._execute(stream)
            self._graph = self._cuda.end_capture(stream)
        if self._graph is not None:
            self._cuda.launch(self._graph, stream)
        else:
            self._execute(stream)
        self._runs += 1
        self._cuda.download(self._answers, self.answers_at, stream)
        self._cuda.wait(stream)
        answers: FloatArray = self._answers[: len(tiles)].copy()
        return answers

    def _execute(self, stream: int) -> None:
        if not self._context.execute_async_v3(stream):
            raise EngineError("TensorRT could not run the batch. Its log on stderr says why; reload the engine.")

    def close(self) -> None:
        if self._graph is not None:
            self._cuda.destroy_graph(self._graph)
        self._cuda.free(self.tiles_at)
        self._cuda.free(self.answers_at)


def open_tensorrt_engine(
    package: ModelPackage,
    engines: Path,
    *,
    settings: BuildSettings | None = None,
    graphs: bool = True,
    trt: Any = None,
    cuda: Cuda | None = None,
) -> TensorRtEngine:
    """Load the plan of a verified package that ``subsolar models prepare`` built, and run its golden tiles.

    Raises ``EngineError`` where there is none, where its passport names another graph, device or version, or where
    the answers are wrong. Nothing is built here.
    """
    settings = settings or BuildSettings()
    try:
        vendor = trt if trt is not None else load_tensorrt()
        device = cuda if cuda is not None else CudaPython()
        expected = passport_of(package, device.facts(), str(vendor.__version__), settings)
        plan = check_engine(engines, package, expected)
    except ExportError as error:
        raise EngineError(str(error)) from error
    loaded = vendor.Runtime(vendor.Logger(vendor.Logger.WARNING)).deserialize_cuda_engine(plan.read_bytes())
    if loaded is None:
        raise EngineError(f"TensorRT cannot load {plan}. Build it anew: subsolar models prepare.")
    engine = TensorRtEngine(loaded, device, package, settings.batches, graphs)
    difference = package.golden_for("tensorrt").mismatch(engine.infer(package.golden.tiles))
    if difference is not None:
        engine.close()
        raise EngineError(f"{engine.name} on tensorrt fails its self-test: {difference}. Build it anew.")
    return engine


def rebuild_beside(
    serving: Swappable[Engine],
    package: ModelPackage,
    engines: Path,
    *,
    settings: BuildSettings | None = None,
    trt: Any = None,
    cuda: Callable[[], Cuda] = CudaPython,
    told: Callable[[str], None] = log.warning,
) -> threading.Thread:
    """Build and load the plan in the background while ``serving`` answers; it takes over at the next slot.

    If that fails, the fallback goes on, and ``told`` hears why.
    """

    def build() -> None:
        try:
            vendor = trt if trt is not None else load_tensorrt()
            build_engine(package, engines, trt=vendor, cuda=cuda(), settings=settings, progress=told)
            serving.stage(open_tensorrt_engine(package, engines, settings=settings, trt=vendor, cuda=cuda()))
        except (ExportError, EngineError) as error:
            told(f"no engine of {package.info.id}: {error} The fallback goes on.")

    thread = threading.Thread(target=build, name=f"build-{package.info.id}", daemon=True)
    thread.start()
    return thread
