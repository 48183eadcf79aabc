"""A strict fake of what the Python bindings of TensorRT 10.3 and 11.4 share, and of the CUDA calls beside it.

It has no other names: a call that only one version knows fails here. A plan is the ONNX graph behind a header and
runs through ONNX Runtime on the fake device's memory, so addresses, shapes, profiles and captures must be right.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np

from exporters.cuda import DeviceFacts
from exporters.errors import ExportError
from exporters.onnx_cpu import open_session

HEADER = b"FAKE PLAN "


class FakeCuda:
    """Device memory as bytes by address; a stream runs at ``wait``, or records while it captures."""

    def __init__(self, sm: str = "sm_87") -> None:
        self.sm = sm
        self.memory: dict[int, bytearray] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.capturing: int | None = None
        self.launches = 0
        self._next = 4096

    def _handle(self) -> int:
        self._next += 4096
        return self._next

    def facts(self) -> DeviceFacts:
        return DeviceFacts(name="Fake Orin", sm=self.sm, cuda="12.6", driver="12.6")

    def allocate(self, size_byte: int) -> int:
        assert self.capturing is None, "memory cannot be taken while a stream captures"
        address = self._handle()
        self.memory[address] = bytearray(size_byte)
        return address

    def free(self, address: int) -> None:
        del self.memory[address]

    def stream(self) -> int:
        stream = self._handle()
        self.streams[stream] = []
        return stream

    def destroy_stream(self, stream: int) -> None:
        assert not self.streams.pop(stream), "work was left on the stream"

    def put(self, stream: int, work: Callable[[], None]) -> None:
        self.streams[stream].append(work)

    def upload(self, address: int, values: np.ndarray[Any, Any], stream: int) -> None:
        assert values.flags.c_contiguous
        assert values.nbytes <= len(self.memory[address])
        content = values.tobytes()
        self.put(stream, lambda: self.memory[address].__setitem__(slice(0, len(content)), content))

    def download(self, values: np.ndarray[Any, Any], address: int, stream: int) -> None:
        def copy() -> None:
            values[...] = np.frombuffer(bytes(self.memory[address]), values.dtype)[: values.size].reshape(values.shape)

        self.put(stream, copy)

    def wait(self, stream: int) -> None:
        if self.capturing is not None:
            raise ExportError("CUDA answers cudaStreamSynchronize with an error while it captures.")
        work, self.streams[stream] = self.streams[stream], []
        for step in work:
            step()

    def begin_capture(self, stream: int) -> None:
        assert self.capturing is None
        self.capturing = len(self.streams[stream])

    def end_capture(self, stream: int) -> int:
        assert self.capturing is not None
        graph = self._handle()
        self.graphs[graph] = self.streams[stream][self.capturing :]
        del self.streams[stream][self.capturing :]
        self.capturing = None
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        self.streams[stream] += self.graphs[graph]

    def destroy_graph(self, graph: int) -> None:
        del self.graphs[graph]


class FakeTensorRt:
    """The module. ``refuses``: words that the parser answers; ``dla_cores``: of the device."""

    def __init__(self, cuda: FakeCuda, version: str = "10.3.0", refuses: str = "", dla_cores: int = 0) -> None:
        self.__version__ = version
        self.cuda, self.refuses, self.dla_cores = cuda, refuses, dla_cores
        self.builds = 0
        self.caches: list[bytes] = []
        fake = self

        class Logger:
            WARNING = 2

            def __init__(self, severity: int) -> None:
                assert severity == Logger.WARNING

        class NetworkDefinitionCreationFlag(enum.IntEnum):
            STRONGLY_TYPED = 1

        class MemoryPoolType(enum.Enum):
            WORKSPACE = 0

        class DeviceType(enum.Enum):
            GPU = 0
            DLA = 1

        class BuilderFlag(enum.Enum):
            GPU_FALLBACK = 3

        class IProgressMonitor:
            def __init__(self) -> None:
                self.ready = True

        class Builder:
            def __init__(self, logger: Logger) -> None:
                self.num_DLA_cores = fake.dla_cores

            def create_network(self, flags: int) -> _Network:
                assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED, "the network must be strongly typed"
                return _Network()

            def create_builder_config(self) -> _Config:
                return _Config()

            def create_optimization_profile(self) -> _Profile:
                return _Profile()

            def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
                return fake._build(network, config)

        class OnnxParser:
            def __init__(self, network: _Network, logger: Logger) -> None:
                self._network = network
                self.num_errors = 0

            def parse(self, content: bytes) -> bool:
                if fake.refuses:
                    self.num_errors = 1
                    return False
                self._network.content = content
                return True

            def get_error(self, index: int) -> str:
                assert index < self.num_errors
                return fake.refuses

        class Runtime:
            def __init__(self, logger: Logger) -> None:
                pass

            def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
                return _Engine(plan[len(HEADER) :], fake.cuda) if plan.startswith(HEADER) else None

        self.Logger, self.NetworkDefinitionCreationFlag = Logger, NetworkDefinitionCreationFlag
        self.MemoryPoolType, self.DeviceType, self.BuilderFlag = MemoryPoolType, DeviceType, BuilderFlag
        self.IProgressMonitor, self.Builder, self.OnnxParser, self.Runtime = (
            IProgressMonitor,
            Builder,
            OnnxParser,
            Runtime,
        )

    def _build(self, network: _Network, config: _Config) -> bytes | None:
        assert network.content is not None, "nothing was parsed"
        assert config.profiles, "a dynamic batch needs a profile"
        assert config.timing is not None
        self.builds += 1
        self.caches.append(config.timing.content)
        config.timing.content += b"timed"
        monitor = config.progress_monitor
        if monitor is not None:
            assert monitor.ready, "the base class was not initialised"
            monitor.phase_start("Tactics", None, 10)
            assert all(monitor.step_complete("Tactics", step) for step in range(10))
            monitor.phase_finish("Tactics")
        return HEADER + network.content


class _Layer:
    __slots__ = ("kind", "name")

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind


class _Network:
    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content: bytes | None = None

    def _nodes(self) -> Any:
        import onnx

        return onnx.load_from_string(self.content).graph.node

    @property
    def num_layers(self) -> int:
        return len(self._nodes())

    def get_layer(self, index: int) -> _Layer:
        node = self._nodes()[index]
        return _Layer(node.name, node.op_type)


class _Timing:
    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class _Config:
    __slots__ = (
        "DLA_core",
        "builder_optimization_level",
        "default_device_type",
        "flags",
        "profiles",
        "progress_monitor",
        "timing",
        "workspace",
    )

    def __init__(self) -> None:
        self.profiles: list[_Profile] = []
        self.timing: _Timing | None = None
        self.progress_monitor: Any = None
        self.flags: set[Any] = set()
        self.default_device_type: Any = None

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        assert pool.name == "WORKSPACE"
        self.workspace = size

    def create_timing_cache(self, content: bytes) -> _Timing:
        return _Timing(content)

    def set_timing_cache(self, cache: _Timing, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.timing = cache
        return True

    def get_timing_cache(self) -> _Timing:
        assert self.timing is not None
        return self.timing

    def add_optimization_profile(self, profile: _Profile) -> int:
        assert profile.shapes
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag)

    def can_run_on_DLA(self, layer: _Layer) -> bool:  # noqa: N802
        assert self.default_device_type.name == "DLA"
        return layer.kind == "Conv"


class _Profile:
    __slots__ = ("shapes",)

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, least: tuple[int, ...], best: tuple[int, ...], most: tuple[int, ...]) -> None:
        assert all(a <= b <= c for a, b, c in zip(least, best, most, strict=True))
        self.shapes[name] = (least, best, most)


class _Engine:
    __slots__ = ("_cuda", "_session")

    def __init__(self, content: bytes, cuda: FakeCuda) -> None:
        self._cuda, self._session = cuda, open_session(content)

    @property
    def num_io_tensors(self) -> int:
        return 2

    def get_tensor_name(self, index: int) -> str:
        return str([*self._session.get_inputs(), *self._session.get_outputs()][index].name)

    def create_execution_context(self) -> _Context:
        return _Context(self._session, self._cuda)


class _Context:
    __slots__ = ("_addresses", "_cuda", "_profile", "_session", "_shape")

    def __init__(self, session: Any, cuda: FakeCuda) -> None:
        self._session, self._cuda = session, cuda
        self._profile: int | None = None
        self._shape: tuple[int, ...] | None = None
        self._addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        assert stream in self._cuda.streams
        self._profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self._profile is not None, "the profile comes before the shape"
        self._shape = shape
        return name == self._session.get_inputs()[0].name

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address in self._cuda.memory
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        tiles, answers = self._session.get_inputs()[0].name, self._session.get_outputs()[0].name
        if self._shape is None or {tiles, answers} != set(self._addresses):
            return False

        def run() -> None:
            size = int(np.prod(self._shape))
            kind = np.float32 if "float" in self._session.get_inputs()[0].type else np.uint8
            batch = np.frombuffer(bytes(self._cuda.memory[self._addresses[tiles]]), kind)[:size]
            (found,) = self._session.run([answers], {tiles: batch.reshape(self._shape)})
            content = np.ascontiguousarray(found, dtype=np.float32).tobytes()
            self._cuda.memory[self._addresses[answers]][: len(content)] = content

        self._cuda.put(stream, run)
        return True
