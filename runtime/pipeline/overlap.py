"""Stages that overlap in time: a producer runs ahead in its own thread, work runs in several, results keep their order.

Every queue is bounded, so a slow stage holds the ones before it back and memory stays flat.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


@dataclass(frozen=True, slots=True)
class _Ended:
    pass


class _Ahead(Generic[T]):
    """Runs an iterable in a thread, at most ``depth`` items ahead of whoever takes them."""

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._queue: queue.Queue[T | _Failed | _Ended] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), name="ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if isinstance(item, _Ended):
                return
            if isinstance(item, _Failed):
                raise item.error
            yield item

    def close(self) -> None:
        """Stop the producer and wait until it has."""
        self._stop.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._queue.get(timeout=0.01)
        self._thread.join()

    def _run(self, items: Iterable[T]) -> None:
        last: _Failed | _Ended = _Ended()
        iterator = iter(items)
        try:
            for item in iterator:
                self._put(item)
                if self._stop.is_set():
                    break
        except BaseException as error:
            last = _Failed(error)
        finally:
            if isinstance(iterator, Generator):
                iterator.close()
        self._put(last)

    def _put(self, item: T | _Failed | _Ended) -> None:
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return


@contextmanager
def ahead(items: Iterable[T], depth: int) -> Iterator[Iterable[T]]:
    """``items``, produced by a thread up to ``depth`` ahead; 0 produces them where they are taken.

    What the producer raises is raised to the taker. Leaving the block ends the producer, however far it got.
    """
    if depth == 0:
        yield items
        return
    running = _Ahead(items, depth)
    try:
        yield running
    finally:
        running.close()


def in_order(items: Iterable[T], work: Callable[[T], R], workers: int) -> Iterator[tuple[T, R]]:
    """Each item with ``work(item)``, in order, up to ``workers`` at once; 1 works in the caller's thread.

    At most ``workers + 1`` items are under way or waiting to be taken. What ``work`` raises is raised in its turn.
    """
    if workers == 1:
        for item in items:
            yield item, work(item)
        return
    under_way: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="infer") as pool:
        try:
            for item in items:
                under_way.append((item, pool.submit(work, item)))
                while len(under_way) > workers:
                    first, result = under_way.popleft()
                    yield first, result.result()
            while under_way:
                first, result = under_way.popleft()
                yield first, result.result()
        finally:
            for _, future in under_way:
                future.cancel()
