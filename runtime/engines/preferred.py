"""Which engine runs a package aboard: the providers that a mission names, best first, each with the next behind it.

A TensorRT plan that is missing, damaged or made for something else is refused with its reason and built anew in the
background; meanwhile the next provider serves, and the new plan takes over between two slots.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from exporters.cuda import Cuda, CudaPython
from exporters.errors import ExportError
from exporters.package import ModelPackage
from exporters.tensorrt import BuildSettings, build_engine, load_tensorrt

from ..errors import EngineError
from ..records import FloatArray, UInt8Array
from .chain import EngineChain, Health
from .engine import Engine
from .opening import open_engine
from .swap import Swappable
from .tensorrt import open_tensorrt_engine
from .worker import WorkerEngine

log = logging.getLogger(__name__)

NATIVE = "tensorrt-native"
"""TensorRT itself, beside ``tensorrt``, which is ONNX Runtime's."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """The vendor's libraries; tests hand in others."""

    tensorrt: Callable[[], Any] = load_tensorrt
    cuda: Callable[[], Cuda] = CudaPython


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """How a mission wants its engines."""

    providers: tuple[str, ...] = ("cpu",)
    """``cpu``, ``cuda``, ``tensorrt``, ``tensorrt-native`` or a plug-in's name, best first."""
    threads: int = 1
    worker: bool = False
    """Each engine in a process of its own: one that hangs or crashes is started anew."""
    worker_s: float = 10.0
    """A batch that takes longer is taken for a hang."""
    plans: Path = Path("engines")
    """Folder of TensorRT plans."""
    build: BuildSettings = field(default_factory=BuildSettings)
    vendor: Vendor = field(default_factory=Vendor)
    told: Callable[[str], None] = log.warning
    """Hears what a plan was refused for, and how its rebuilding went."""
    monotonic_s: Callable[[], float] = time.monotonic


class PreferredEngine:
    """The engines of one package. What a rebuilding brings takes over at ``begin_slot``."""

    def __init__(self, package: ModelPackage, want: Preference) -> None:
        self._package, self._want = package, want
        self._refused = ""
        self._serving: Swappable[EngineChain] = Swappable(self._chain(want.providers))
        self._building: threading.Thread | None = None
        if self._refused:
            want.told(f"{package.info.id}: {self._refused} {self.provider} serves while it is built anew.")
            self._building = threading.Thread(target=self._rebuild, name=f"build-{package.info.id}", daemon=True)
            self._building.start()

    @property
    def name(self) -> str:
        """See ``Engine``."""
        return self._serving.active.name

    @property
    def provider(self) -> str:
        """See ``Engine``: of what runs now."""
        return self._serving.active.provider

    @property
    def health(self) -> Health:
        """Where the chain stands; a plan that is being built degrades it."""
        health = self._serving.active.health
        if not self._refused or health.state == "failed":
            return health
        return replace(health, state="degraded", reason=self._refused)

    @property
    def restarts(self) -> int:
        """How often a worker of the engine that runs now was lost."""
        return self._serving.active.restarts

    @property
    def building(self) -> threading.Thread | None:
        """What builds a plan, ``None`` where nothing had to be built."""
        return self._building

    def begin_slot(self) -> None:
        """Let a plan that has been built take over."""
        before = self._serving.active
        if self._serving.begin_slot() is not before:
            self._refused = ""
            self._want.told(f"{self.name} runs on {self.provider} now")

    def infer(self, batch: UInt8Array) -> FloatArray:
        """See ``Engine.infer``."""
        with self._serving.lease() as engine:
            return engine.infer(batch)

    def close(self) -> None:
        """See ``Engine.close``."""
        self._serving.close()

    def _chain(self, providers: Sequence[str]) -> EngineChain:
        openers = [(provider, partial(self._open, provider)) for provider in providers]
        return EngineChain(openers, monotonic_s=self._want.monotonic_s)

    def _open(self, provider: str) -> Engine:
        if provider != NATIVE:
            opener = partial(open_engine, self._package, provider, threads=self._want.threads)
            return WorkerEngine(opener, deadline_s=self._want.worker_s) if self._want.worker else opener()
        try:
            return self._open_native()
        except EngineError as error:
            self._refused = str(error)
            raise

    def _open_native(self) -> Engine:
        want = self._want
        try:
            trt = want.vendor.tensorrt()
            opener = partial(
                open_tensorrt_engine, self._package, want.plans, settings=want.build, trt=trt, cuda=want.vendor.cuda()
            )
        except ExportError as error:
            raise EngineError(str(error)) from error
        if not want.worker:
            return opener()
        return WorkerEngine(
            partial(open_tensorrt_engine, self._package, want.plans, settings=want.build), deadline_s=want.worker_s
        )

    def _rebuild(self) -> None:
        want, info = self._want, self._package.info
        try:
            build_engine(
                self._package,
                want.plans,
                trt=want.vendor.tensorrt(),
                cuda=want.vendor.cuda(),
                settings=want.build,
                progress=log.info,
            )
            rest = want.providers[want.providers.index(NATIVE) + 1 :]
            self._serving.stage(self._behind(self._open_native(), rest))
        except (ExportError, EngineError, OSError) as error:
            want.told(f"no engine of {info.id} could be built: {error} {self.provider} goes on.")

    def _behind(self, native: Engine, rest: Sequence[str]) -> EngineChain:
        openers: list[tuple[str, Callable[[], Engine]]] = [(NATIVE, lambda: native)]
        openers += [(provider, partial(self._open, provider)) for provider in rest]
        return EngineChain(openers, monotonic_s=self._want.monotonic_s)


def open_preferred(package: ModelPackage, want: Preference) -> Engine:
    """Load a verified package as a mission wants it. Raises ``EngineError`` where not one provider can run it."""
    return PreferredEngine(package, want)
