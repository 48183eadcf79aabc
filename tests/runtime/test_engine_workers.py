"""Workers, chains, swaps and budgets: an engine may hang, crash or vanish, and the run goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from exporters.package import ModelPackage
from runtime.engines import (
    EngineChain,
    EnginePool,
    MemoryBudget,
    Swappable,
    WorkerEngine,
    expected_byte,
    open_onnx_engine,
)
from runtime.engines.memory import resident_byte
from runtime.errors import EngineError
from runtime.records import FloatArray, UInt8Array

from .recorded import ABORT, EXIT, FAIL, HANG, MoodyEngine, die, open_moody, open_nothing

MakePackage = Callable[..., ModelPackage]


def tiles(order: int = 0, count: int = 3) -> UInt8Array:
    batch = np.random.default_rng(count).integers(0, 200, (count, 3, 8, 8), dtype=np.uint8)
    batch[0, 0, 0, 0] = order
    return batch


def means(batch: UInt8Array) -> FloatArray:
    return batch.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)[:, None]


def test_a_worker_answers_as_the_engine_in_this_process_does(make_package: MakePackage) -> None:
    package = make_package()
    worker = WorkerEngine(partial(open_onnx_engine, package))
    try:
        assert (worker.name, worker.provider) == ("colour v3", "cpu")
        here = open_onnx_engine(package)
        for count in (1, 40, 7):
            batch = np.random.default_rng(count).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
            assert (worker.infer(batch) == here.infer(batch)).all()
        with pytest.raises(EngineError, match="takes uint8 tiles"):
            worker.infer(batch[:, :2])
        assert worker.restarts == 0
    finally:
        worker.close()
    with pytest.raises(EngineError, match="closed"):
        worker.infer(batch)


@pytest.mark.parametrize(
    ("order", "told"), [(HANG, "did not answer within 0.3 s"), (ABORT, "SIGABRT"), (EXIT, "exit code 3")]
)
def test_r09_r10_a_worker_that_is_lost_is_replaced_and_its_tiles_are_tried_once_more(
    tmp_path: Path, order: int, told: str
) -> None:
    worker = WorkerEngine(partial(open_moody, tmp_path / "once"), deadline_s=0.3)
    try:
        batch = tiles(order)
        assert (worker.infer(batch) == means(batch)).all()
        assert worker.restarts == 1
        always = WorkerEngine(open_moody, deadline_s=0.3)
        started_s = time.monotonic()
        with pytest.raises(EngineError, match=rf"failed twice on 3 tiles: its worker .*{told}"):
            always.infer(batch)
        assert time.monotonic() - started_s < 30
        assert (always.infer(tiles()) == means(tiles())).all()
        assert always.restarts == 2
        always.close()
    finally:
        worker.close()


def test_a_worker_killed_from_outside_costs_nothing_but_time() -> None:
    worker = WorkerEngine(open_moody)
    try:
        for _ in range(2):
            assert worker.process_id is not None
            os.kill(worker.process_id, signal.SIGKILL)
            assert (worker.infer(tiles()) == means(tiles())).all()
        assert worker.restarts == 2
    finally:
        worker.close()


def test_an_engines_own_refusal_is_passed_on_and_not_tried_again() -> None:
    worker = WorkerEngine(open_moody)
    try:
        with pytest.raises(EngineError, match="it would not"):
            worker.infer(tiles(FAIL))
        assert worker.restarts == 0
    finally:
        worker.close()


def test_a_worker_that_cannot_load_says_why() -> None:
    with pytest.raises(EngineError, match="no such device"):
        WorkerEngine(partial(open_nothing, "no such device"))
    with pytest.raises(EngineError, match="SIGABRT while loading"):
        WorkerEngine(die)


def test_no_worker_outlives_its_parent(tmp_path: Path, repo: Path) -> None:
    import subprocess
    import sys

    program = (
        "from runtime.engines import WorkerEngine\nfrom tests.runtime.recorded import open_moody\nimport os\n"
        "if __name__ == '__main__':\n"
        "    worker = WorkerEngine(open_moody)\n    print(worker.process_id, flush=True)\n    os.abort()\n"
    )
    (tmp_path / "main.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    ran = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    worker = int(ran.stdout)
    until_s = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until_s:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text().split()[2]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_chain_starts_on_the_first_engine_that_loads_and_says_what_failed() -> None:
    chain = EngineChain([("tensorrt", partial(open_nothing, "no GPU here.")), ("cpu", open_moody)], monotonic_s=Clock())
    assert (chain.health.state, chain.health.provider) == ("degraded", "cpu")
    assert "tensorrt cannot be loaded: no GPU here." in chain.health.reason
    assert (chain.infer(tiles()) == means(tiles())).all()
    with pytest.raises(EngineError, match="No engine can be loaded"):
        EngineChain([("cuda", partial(open_nothing, "none"))], monotonic_s=Clock())


def test_a_chain_falls_back_after_repeated_failure_and_loses_no_batch_that_the_next_can_do() -> None:
    clock = Clock()
    chain = EngineChain(
        [("first", lambda: Named("first", fails=99)), ("second", lambda: Named("second"))],
        limit=2,
        window_s=10,
        monotonic_s=clock,
    )
    for moment_s in (0.0, 20.0):  # too far apart to count together
        clock.now_s = moment_s
        with pytest.raises(EngineError):
            chain.infer(tiles())
    assert chain.health.state == "ready"
    clock.now_s = 21.0
    assert chain.infer(tiles()).shape == (3, 1)
    assert (chain.health.state, chain.provider, chain.health.failed_batch) == ("degraded", "second", 2)


def test_a_chain_without_engines_left_fails_each_batch_in_words() -> None:
    chain = EngineChain([("only", lambda: Named("only", fails=99))], limit=1, monotonic_s=Clock())
    for _ in range(2):
        with pytest.raises(EngineError, match="no working engine left"):
            chain.infer(tiles())
    assert (chain.health.state, chain.provider) == ("failed", "none")


class Named:
    """Answers with its own number; counts what it did; fails the first ``fails`` times."""

    def __init__(self, name: str, fails: int = 0) -> None:
        self.name = self.provider = name
        self.fails = fails
        self.answered = 0
        self.closed = 0
        self.lock = threading.Lock()

    def infer(self, batch: UInt8Array) -> FloatArray:
        with self.lock:
            assert not self.closed
            if self.fails > 0:
                self.fails -= 1
                raise EngineError("not now. Later.")
            self.answered += len(batch)
        time.sleep(0.0005)
        assert not self.closed
        return np.zeros((len(batch), 1), dtype=np.float32)

    def close(self) -> None:
        self.closed += 1


def test_swapping_between_slots_loses_and_doubles_no_tile() -> None:
    engines = [Named(f"v{number}") for number in range(20)]
    holder = Swappable(engines[0])
    answered, stop = [0, 0, 0], threading.Event()

    def work(thread: int) -> None:
        while not stop.is_set():
            with holder.lease() as engine:
                answered[thread] += len(engine.infer(tiles(count=2)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for engine in engines[1:]:
        time.sleep(0.003)
        holder.stage(engine)
        assert holder.active is not engine
        assert holder.begin_slot() is engine
    stop.set()
    for thread in threads:
        thread.join()
    assert sum(engine.answered for engine in engines) == sum(answered) > 0
    assert [engine.closed for engine in engines] == [1] * 19 + [0]


def test_what_was_staged_and_never_flew_is_closed() -> None:
    first, second, third = Named("a"), Named("b"), Named("c")
    holder = Swappable(first)
    holder.stage(second)
    holder.stage(third)
    assert (second.closed, third.closed) == (1, 0)
    assert holder.begin_slot() is third
    assert holder.begin_slot() is third
    holder.close()
    assert (first.closed, third.closed) == (1, 1)


def test_two_engines_of_a_pool_work_at_once() -> None:
    both = threading.Barrier(2, timeout=10)

    class Meeting(MoodyEngine):
        def infer(self, batch: UInt8Array) -> FloatArray:
            both.wait()
            return means(batch)

    pool = EnginePool([Meeting(), Meeting()])
    threads = [threading.Thread(target=pool.infer, args=(tiles(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken
    pool.close()


def test_a_budget_refuses_before_it_is_exceeded_and_gives_back() -> None:
    budget = MemoryBudget(100 * 2**20)
    budget.take("a", 60 * 2**20)
    with pytest.raises(EngineError, match=r"b needs 50 MiB, but 40 of 100 MiB are left \(held: a 60 MiB\)"):
        budget.take("b", 50 * 2**20)
    budget.correct("a", 40 * 2**20)
    with pytest.raises(ZeroDivisionError), budget.taking("b", 50 * 2**20):
        _ = 1 / 0
    assert budget.held_byte == 40 * 2**20
    budget.give_back("a")
    budget.take("b", 100 * 2**20)


def test_the_estimate_bounds_what_the_shipped_packages_take(repo: Path) -> None:
    from exporters.package import load_package

    folders = sorted(path for path in (repo / "deploy" / "packages").glob("*") if (path / "package.json").is_file())
    packages = [load_package(path, trust=repo / "deploy" / "keys") for path in folders]
    open_onnx_engine(packages[0]).close()  # the library itself
    for package in packages:
        before = resident_byte()
        engine = open_onnx_engine(package)
        edge = package.info.input.tile_edge_px
        engine.infer(np.zeros((32, len(package.info.bands), edge, edge), dtype=np.uint8))
        assert resident_byte() - before < expected_byte(package, 32)
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            engine.infer(package.golden.tiles)


def test_packages_that_do_not_fit_together_are_refused_before_any_is_loaded(make_package: MakePackage) -> None:
    from dataclasses import replace

    from runtime.onboard import load_networks

    one = make_package()
    other = replace(one, info=replace(one.info, id="other"))
    size = expected_byte(one, 32)
    with pytest.raises(EngineError, match="other v3 needs"):
        load_networks({"a": one, "b": other}, threads=1, memory=MemoryBudget(2 * size - 1))
    assert set(load_networks({"a": one, "b": other}, threads=1, memory=MemoryBudget(2 * size))) == {
        "a",
        "b",
    }
