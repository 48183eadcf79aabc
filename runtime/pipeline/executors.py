"""Who works through many scenes: this process, or the workers of a Ray cluster. The results are the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol, TypeVar

from ..errors import EngineError, MissionError, NotInstalledError

J = TypeVar("J")
R = TypeVar("R")
EXECUTORS = ("local", "ray")


class Executor(Protocol):
    """Runs jobs and hands results out in the order of the jobs."""

    @property
    def here(self) -> bool:
        """Whether jobs run in this process."""
        ...

    def run(self, make_worker: Callable[[], Callable[[J], R]], jobs: Sequence[J]) -> Iterator[R]:
        """``make_worker`` is called once wherever jobs run; what it returns does them. All of it must pickle."""
        ...


class LocalExecutor:
    """One job after the other, here."""

    here = True

    def run(self, make_worker: Callable[[], Callable[[J], R]], jobs: Sequence[J]) -> Iterator[R]:
        """See ``Executor.run``."""
        work = make_worker()
        for job in jobs:
            yield work(job)


class RayExecutor:
    """As many jobs at once as the cluster has CPUs. Joins the cluster that ``RAY_ADDRESS`` names, else starts one here.

    Scenes, packages and the output folder must lie under the same paths on all of its machines.
    """

    here = False

    def __init__(self, cpus: int | None = None) -> None:
        self._cpus = cpus

    def run(self, make_worker: Callable[[], Callable[[J], R]], jobs: Sequence[J]) -> Iterator[R]:
        """See ``Executor.run``."""
        with _cluster(self._cpus) as ray:
            count = max(1, min(len(jobs), int(ray.cluster_resources().get("CPU", 1))))
            actor = ray.remote(num_cpus=1)(_Actor)
            idle = [actor.remote(make_worker) for _ in range(count)]
            running: dict[Any, tuple[int, Any]] = {}
            ready: dict[int, R] = {}
            waiting, handed_out = iter(enumerate(jobs)), 0
            while handed_out < len(jobs):
                for number, job in zip(range(len(idle)), waiting, strict=False):
                    worker = idle[number]
                    running[worker.run.remote(job[1])] = job[0], worker
                del idle[: len(idle)]
                (done, *_), _ = ray.wait(list(running), num_returns=1)
                number, worker = running.pop(done)
                ready[number] = _result(ray, done)
                idle.append(worker)
                while handed_out in ready:
                    yield ready.pop(handed_out)
                    handed_out += 1


class _Actor:
    """One worker of the cluster, with its engine loaded once."""

    def __init__(self, make_worker: Callable[[], Callable[[Any], Any]]) -> None:
        self._work = make_worker()

    def run(self, job: Any) -> Any:
        """Do one job."""
        return self._work(job)


def _result(ray: Any, done: Any) -> Any:
    """What a worker gave. Raises what the job raised, or ``EngineError`` where the worker itself was lost."""
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"A worker of the Ray cluster was lost ({type(error).__name__}). The finished scenes are kept: go on with "
            "--resume, and if it happens again give the workers more memory."
        ) from error


def make_executor(name: str) -> Executor:
    """The executor of that name. Raises ``MissionError``."""
    if name == "local":
        return LocalExecutor()
    if name == "ray":
        return RayExecutor()
    raise MissionError(f"There is no executor {name!r}. Use one of {', '.join(EXECUTORS)}.")


@contextmanager
def _cluster(cpus: int | None) -> Iterator[Any]:
    """Ray, connected for the length of the block; a cluster that was joined before stays joined."""
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise NotInstalledError("The ray executor needs Ray. Install it with: pip install 'subsolar[ray]'.") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises no class of its own where it cannot start: each becomes an EngineError
        text = " ".join(str(error).split())[:300]
        raise EngineError(
            f"Ray cannot be joined or started: {text} See RAY_ADDRESS, or leave --executor out."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
