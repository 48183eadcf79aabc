"""Opening a package's engine by the provider's name, those of plug-ins included."""

from __future__ import annotations

from functools import partial

from exporters.package import ModelPackage

from ..errors import EngineError
from ..plugins import find_plugin, plugin_names
from .engine import Engine, self_test
from .onnx_runtime import PROVIDERS, open_onnx_engine
from .worker import WorkerEngine


def open_engine(
    package: ModelPackage, provider: str = "cpu", *, threads: int = 1, worker: bool = False, deadline_s: float = 30.0
) -> Engine:
    """Load a verified package and run its golden tiles; in a process of its own with ``worker``.

    ``provider``: ``cpu``, ``cuda`` or ``tensorrt`` through ONNX Runtime, or the name of a plug-in. Raises
    ``EngineError`` where the provider is not there or answers wrongly.
    """
    if worker:
        return WorkerEngine(partial(open_engine, package, provider, threads=threads), deadline_s=deadline_s)
    if provider in PROVIDERS:
        return open_onnx_engine(package, provider=provider, threads=threads)
    opener = find_plugin("engines", provider)
    if opener is None:
        known = ", ".join([*PROVIDERS, *plugin_names("engines")])
        raise EngineError(f"There is no provider {provider!r}. Use one of {known}.")
    engine: Engine = opener(package, threads=threads)
    self_test(engine, package)
    return engine
