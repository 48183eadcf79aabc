"""An engine in a process of its own: one that hangs or crashes is killed and started anew, and the run goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from ..errors import EngineError
from ..records import FloatArray, TileArray
from .engine import Engine

EngineOpener = Callable[[], Engine]
"""Loads an engine; must pickle to cross into a process, as a partial of a module's function does."""


class _LostError(Exception):
    """The worker hangs or is gone."""


class WorkerEngine:
    """Runs ``opener``'s engine in a child process. Tiles go through shared memory, answers come back over a pipe.

    A batch that takes longer than ``deadline_s``, or whose worker dies, is tried once more in a fresh worker; then its
    tiles fail. One batch at a time: others wait.
    """

    def __init__(self, opener: EngineOpener, *, deadline_s: float = 30.0, start_s: float = 60.0) -> None:
        self._opener = opener
        self._deadline_s = deadline_s
        self._start_s = start_s
        self._lock = threading.Lock()
        self._shared: SharedMemory | None = None
        self._process: Any = None
        self._pipe: Connection | None = None
        self._closed = False
        self.restarts = 0
        """How often a worker was lost."""
        self.name, self.provider = self._start()

    def infer(self, batch: TileArray) -> FloatArray:
        """See ``Engine.infer``."""
        with self._lock:
            if self._closed:
                raise EngineError(f"{self.name} is closed. Load it again.")
            try:
                return self._ask(batch)
            except _LostError as first:
                return self._once_more(batch, str(first))

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._closed = True
            self._end()
            if self._shared is not None:
                self._shared.close()
                self._shared.unlink()
                self._shared = None

    @property
    def process_id(self) -> int | None:
        """Of the worker, while there is one."""
        return None if self._process is None else self._process.pid

    def _once_more(self, batch: TileArray, first: str) -> FloatArray:
        self.restarts += 1
        try:
            self._start()
            return self._ask(batch)
        except _LostError as second:
            self.restarts += 1
            self._end()
            raise EngineError(
                f"{self.name} failed twice on {len(batch)} tiles: its worker {first}, then {second}. "
                "Use smaller batches, a longer deadline or another provider."
            ) from second

    def _ask(self, batch: TileArray) -> FloatArray:
        if self._pipe is None:
            self._start()
        shared = self._room_for(batch.nbytes)
        np.ndarray(batch.shape, batch.dtype, buffer=shared.buf)[...] = batch
        kind, value = self._exchange((shared.name, batch.shape, batch.dtype.str), self._deadline_s)
        if kind == "error":
            raise EngineError(value)
        shape, content = value
        answers: FloatArray = np.frombuffer(content, dtype=np.float32).reshape(shape)
        return answers

    def _exchange(self, message: object, limit_s: float) -> tuple[str, Any]:
        assert self._pipe is not None
        try:
            if message is not None:
                self._pipe.send(message)
            if not self._pipe.poll(limit_s):
                self._end()
                raise _LostError(f"did not answer within {limit_s:g} s")
            kind, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise _LostError(self._how_it_ended()) from error
        return str(kind), value

    def _start(self) -> tuple[str, str]:
        """Start a worker and wait until its engine is loaded. Raises ``EngineError`` if it cannot be loaded."""
        self._end()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._opener), name="engine", daemon=True)
        self._process.start()
        theirs.close()
        try:
            kind, value = self._exchange(None, self._start_s)
        except _LostError as lost:
            raise EngineError(f"An engine's worker {lost} while loading. Check the package and memory.") from lost
        if kind == "error":
            self._end()
            raise EngineError(value)
        return value[0], value[1]

    def _room_for(self, size_byte: int) -> SharedMemory:
        if self._shared is None or self._shared.size < size_byte:
            if self._shared is not None:
                self._shared.close()
                self._shared.unlink()
            self._shared = SharedMemory(create=True, size=max(size_byte, 1))
        return self._shared

    def _how_it_ended(self) -> str:
        self._process.join(5.0)
        code = self._process.exitcode
        self._end()
        if code is None:
            return "closed its pipe"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def _serve(pipe: Connection, opener: EngineOpener) -> None:
    """The worker's life: load, then answer until the pipe closes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    try:
        engine = opener()
    except EngineError as error:
        pipe.send(("error", str(error)))
        return
    pipe.send(("ready", (engine.name, engine.provider)))
    held: dict[str, SharedMemory] = {}
    while True:
        try:
            name, shape, dtype = pipe.recv()
        except EOFError:
            return
        if name not in held:
            for old in held.values():
                old.close()
            held = {name: SharedMemory(name=name)}
        batch = np.ndarray(shape, np.dtype(dtype), buffer=held[name].buf)
        try:
            answers = np.ascontiguousarray(engine.infer(batch), dtype=np.float32)
            pipe.send(("done", (answers.shape, answers.tobytes())))
        except EngineError as error:
            pipe.send(("error", str(error)))
        del batch


def _die_with(parent: int) -> None:
    """End this process when its parent has gone, even in the middle of a call that hangs."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
