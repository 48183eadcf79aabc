"""The few CUDA calls that engines need, by cuda-python: 12.x on JetPack 6, 13.x on JetPack 7. No torch, no pycuda."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from numpy.typing import NDArray

from .errors import ExportError


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What an engine is bound to besides its graph."""

    name: str
    sm: str
    """Compute capability, such as ``sm_87``."""
    cuda: str
    driver: str


class Cuda(Protocol):
    """Memory, copies, one stream, and graphs of what was put on it."""

    def facts(self) -> DeviceFacts:
        """The device in use."""
        ...

    def allocate(self, size_byte: int) -> int:
        """An address on the device."""
        ...

    def free(self, address: int) -> None:
        """Give it back."""
        ...

    def stream(self) -> int:
        """The handle of a new stream."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """Give it back."""
        ...

    def upload(self, address: int, values: NDArray[Any], stream: int) -> None:
        """Copy C-ordered values to the device; they must live until ``wait``."""
        ...

    def download(self, values: NDArray[Any], address: int, stream: int) -> None:
        """Copy from the device into C-ordered values, filled after ``wait``."""
        ...

    def wait(self, stream: int) -> None:
        """Until everything on the stream is done."""
        ...

    def begin_capture(self, stream: int) -> None:
        """Record what is put on the stream instead of running it."""
        ...

    def end_capture(self, stream: int) -> int:
        """A launchable graph of what was recorded."""
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Put a recorded graph on the stream."""
        ...

    def destroy_graph(self, graph: int) -> None:
        """Give it back."""
        ...


class CudaPython:
    """``Cuda`` on the first device. Raises ExportError where there is no driver, no device or no cuda-python."""

    def __init__(self) -> None:
        self._rt = _runtime()
        self._graphs: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        count = self._call("cudaGetDeviceCount")
        if count < 1:
            raise ExportError("There is no CUDA device. Run this on the device, or use the CPU engine.")

    def facts(self) -> DeviceFacts:
        """The device's name and compute capability, the versions of CUDA and of the driver."""
        properties = self._call("cudaGetDeviceProperties", 0)
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        return DeviceFacts(
            name=name.rstrip("\0"),
            sm=f"sm_{properties.major}{properties.minor}",
            cuda=_version(self._call("cudaRuntimeGetVersion")),
            driver=_version(self._call("cudaDriverGetVersion")),
        )

    def allocate(self, size_byte: int) -> int:
        """See ``Cuda``."""
        return int(self._call("cudaMalloc", max(size_byte, 1)))

    def free(self, address: int) -> None:
        """See ``Cuda``."""
        self._call("cudaFree", address)

    def stream(self) -> int:
        """See ``Cuda``."""
        stream = self._call("cudaStreamCreate")
        self._streams[int(stream)] = stream
        return int(stream)

    def destroy_stream(self, stream: int) -> None:
        """See ``Cuda``."""
        self._call("cudaStreamDestroy", self._streams.pop(stream))

    def upload(self, address: int, values: NDArray[Any], stream: int) -> None:
        """See ``Cuda``."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, values.ctypes.data, values.nbytes, kind, stream)

    def download(self, values: NDArray[Any], address: int, stream: int) -> None:
        """See ``Cuda``."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", values.ctypes.data, address, values.nbytes, kind, stream)

    def wait(self, stream: int) -> None:
        """See ``Cuda``."""
        self._call("cudaStreamSynchronize", stream)

    def begin_capture(self, stream: int) -> None:
        """See ``Cuda``."""
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        """See ``Cuda``."""
        recorded = self._call("cudaStreamEndCapture", stream)
        ready = self._call("cudaGraphInstantiate", recorded, 0)
        self._call("cudaGraphDestroy", recorded)
        self._graphs[int(ready)] = ready
        return int(ready)

    def launch(self, graph: int, stream: int) -> None:
        """See ``Cuda``."""
        self._call("cudaGraphLaunch", self._graphs[graph], stream)

    def destroy_graph(self, graph: int) -> None:
        """See ``Cuda``."""
        self._call("cudaGraphExecDestroy", self._graphs.pop(graph))

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self._rt, name)(*arguments)
        if int(error) != 0:
            raise ExportError(f"CUDA answers {name} with {error!s}. Check the driver and the device's free memory.")
        return values[0] if values else None


def _runtime() -> Any:
    for module in ("cuda.bindings.runtime", "cuda.cudart"):  # the second is where cuda-python before 12.8 has it
        with contextlib.suppress(ImportError):
            return import_module(module)
    raise ExportError("cuda-python is not installed. On a Jetson: pip install 'subsolar[jetson-jp6]' (or jetson-jp7).")


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
