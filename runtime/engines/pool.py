"""Several engines of one network, each working on another batch."""

from __future__ import annotations

import queue
from collections.abc import Sequence

from ..records import FloatArray, TileArray
from .engine import Engine


class EnginePool:
    """Gives each batch to an engine that is idle, and waits for one while all are busy."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)
        self._idle: queue.Queue[Engine] = queue.Queue()
        for engine in engines:
            self._idle.put(engine)
        self.name = engines[0].name
        self.provider = engines[0].provider

    def infer(self, batch: TileArray) -> FloatArray:
        """See ``Engine.infer``."""
        engine = self._idle.get()
        try:
            return engine.infer(batch)
        finally:
            self._idle.put(engine)

    def close(self) -> None:
        """See ``Engine.close``."""
        for engine in self._engines:
            engine.close()
