"""Who flies the missions of an evaluation: this machine's cores, or the workers of a cluster. The results are equal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Protocol, TypeVar

from .errors import EvaluationError

T = TypeVar("T")
R = TypeVar("R")


class Processes:
    """As many jobs at once as there are cores to run on, each in a process of its own."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or cores()

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Yield the results in the order of the jobs; the first failure ends it all."""
        waiting = list(jobs)
        workers = min(self._workers, len(waiting))
        if workers < 2:
            yield from map(function, waiting)
            return
        with crew(workers) as hands:
            yield from hands.map(function, waiting)


class Hands:
    """Processes that stay for many jobs, or this one alone."""

    def __init__(self, pool: ProcessPoolExecutor | None) -> None:
        self._pool = pool

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Yield the results in the order of the jobs."""
        if self._pool is None:
            yield from map(function, jobs)
            return
        try:
            yield from self._pool.map(function, jobs)
        except BrokenProcessPool as error:
            raise EvaluationError("A worker process died, perhaps for want of memory. Try fewer workers.") from error


@contextmanager
def crew(workers: int | None = None) -> Iterator[Hands]:
    """Hold ``workers`` processes (None: one for each core) for as long as they are needed; one is this process."""
    workers = workers or cores()
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _leave_interrupts_to_the_parent) if workers > 1 else None
    try:
        yield Hands(pool)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


class Workers(Protocol):
    """A cluster: makes a worker wherever jobs run and hands results out in the order of the jobs."""

    def run(self, make_worker: Callable[[], Callable[[T], R]], jobs: Sequence[T]) -> Iterator[R]:
        """Do the jobs."""
        ...


class OnWorkers:
    """Maps a function over the workers of a cluster."""

    def __init__(self, workers: Workers) -> None:
        self._cluster = workers

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Yield the results in the order of the jobs."""
        return self._cluster.run(partial(_itself, function), list(jobs))


def cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _itself(function: Callable[[T], R]) -> Callable[[T], R]:
    return function


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
