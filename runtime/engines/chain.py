"""Engines behind one another: what to fall back to when one cannot be loaded or fails too often."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import EngineError
from ..records import FloatArray, TileArray
from .engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How an engine is doing. ``state``: ``ready``, ``degraded`` (a fallback runs) or ``failed`` (nothing runs)."""

    state: str
    provider: str
    reason: str = ""
    """Why the ones before it do not run."""
    failed_batch: int = 0
    """Batches that failed altogether."""


class EngineChain:
    """The first of several engines that works. ``openers``: provider and how to load it, best first.

    One that fails ``limit`` times within ``window_s`` is closed and the next takes over, the failed batch included; a
    batch is therefore tried at most once more than the number of engines. Each change is logged and seen in ``health``.
    """

    def __init__(
        self,
        openers: Sequence[tuple[str, Callable[[], Engine]]],
        *,
        limit: int = 3,
        window_s: float = 600.0,
        monotonic_s: Callable[[], float],
    ) -> None:
        if not openers:
            raise EngineError("An engine chain needs at least one engine. Name a provider.")
        self._waiting = deque(openers)
        self._limit = limit
        self._window_s = window_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._failures_s: deque[float] = deque()
        self._reasons: list[str] = []
        self._failed_batch = 0
        self.name = "the chain"
        first = self._next()
        if first is None:
            raise EngineError(f"No engine can be loaded. {'; '.join(self._reasons)}")
        self._engine: Engine | None = first
        self.name = first.name
        self._tell()

    @property
    def provider(self) -> str:
        """Of the engine that runs now."""
        engine = self._engine
        return "none" if engine is None else engine.provider

    @property
    def restarts(self) -> int:
        """How often a worker of the engine that runs now was lost."""
        return int(getattr(self._engine, "restarts", 0))

    @property
    def health(self) -> Health:
        """Where the chain stands."""
        with self._lock:
            state = "failed" if self._engine is None else "degraded" if self._reasons else "ready"
            return Health(state, self.provider, "; ".join(self._reasons), self._failed_batch)

    def infer(self, batch: TileArray) -> FloatArray:
        """See ``Engine.infer``."""
        while True:
            engine = self._engine
            if engine is None:
                self._failed_batch += 1
                raise EngineError(f"{self.name} has no working engine left. {'; '.join(self._reasons)}")
            try:
                return engine.infer(batch)
            except EngineError as error:
                if not self._gave_up(engine, str(error)):
                    self._failed_batch += 1
                    raise

    def close(self) -> None:
        """See ``Engine.close``."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
            self._engine = None
            self._waiting.clear()

    def _gave_up(self, engine: Engine, reason: str) -> bool:
        """Count a failure; True if another engine has taken over, so that the batch may be tried there."""
        with self._lock:
            if engine is not self._engine:
                return True
            now_s = self._monotonic_s()
            self._failures_s.append(now_s)
            while now_s - self._failures_s[0] > self._window_s:
                self._failures_s.popleft()
            if len(self._failures_s) < self._limit:
                return False
            self._reasons.append(f"{engine.provider} failed {self._limit} times, last: {reason}")
            engine.close()
            self._failures_s.clear()
            self._engine = self._next()
            self._tell()
            return True

    def _next(self) -> Engine | None:
        """The next engine that loads; why others do not is kept."""
        while self._waiting:
            provider, opener = self._waiting.popleft()
            try:
                return opener()
            except EngineError as error:
                self._reasons.append(f"{provider} cannot be loaded: {error}")
        return None

    def _tell(self) -> None:
        if self._reasons:
            log.warning("engine %s now runs on %s: %s", self.name, self.provider, self._reasons[-1])
