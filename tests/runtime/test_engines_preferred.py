"""What runs a package aboard: plans refused loudly and built beside, fallbacks behind one another, workers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.package import ModelPackage
from exporters.tensorrt import PLAN, BuildSettings, build_engine, engine_folder
from runtime.engines import NATIVE, EngineChain, Preference, PreferredEngine, Vendor, open_preferred
from runtime.errors import EngineError

_spec = importlib.util.spec_from_file_location(
    "fake_tensorrt", Path(__file__).parents[1] / "exporters" / "fake_tensorrt.py"
)
assert _spec is not None
assert _spec.loader is not None
fake: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake)

MakePackage = Callable[..., ModelPackage]
SETTINGS = BuildSettings(batches=(1, 4))


class Bench:
    """A device with TensorRT, and what was said."""

    def __init__(self, folder: Path, **device: Any) -> None:
        self.cuda = fake.FakeCuda(**device)
        self.trt = fake.FakeTensorRt(self.cuda)
        self.plans = folder / "plans"
        self.said: list[str] = []

    def want(self, *providers: str) -> Preference:
        return Preference(
            providers=providers,
            plans=self.plans,
            build=SETTINGS,
            vendor=Vendor(lambda: self.trt, lambda: self.cuda),
            told=self.said.append,
        )

    def build(self, package: ModelPackage) -> None:
        build_engine(package, self.plans, trt=self.trt, cuda=self.cuda, settings=SETTINGS)

    def open(self, package: ModelPackage, *providers: str) -> PreferredEngine:
        engine = open_preferred(package, self.want(*(providers or (NATIVE, "cpu"))))
        assert isinstance(engine, PreferredEngine)
        return engine


def right(engine: PreferredEngine, package: ModelPackage) -> bool:
    return package.golden.mismatch(engine.infer(package.golden.tiles)) is None


def test_a_plan_that_fits_runs_at_once(make_package: MakePackage, tmp_path: Path) -> None:
    package, bench = make_package(), Bench(tmp_path)
    bench.build(package)
    engine = bench.open(package)
    assert (engine.provider, engine.health.state, engine.building, bench.said) == ("tensorrt", "ready", None, [])
    assert right(engine, package)
    engine.close()
    engine.close()


@pytest.mark.parametrize("fault", ["missing", "damaged", "another device"])
def test_r06_a_plan_that_does_not_fit_is_refused_loudly_and_rebuilt_while_the_fallback_serves(
    make_package: MakePackage, tmp_path: Path, fault: str
) -> None:
    package = make_package()
    if fault == "another device":
        Bench(tmp_path, sm="sm_72").build(package)
    bench = Bench(tmp_path)
    if fault == "damaged":
        bench.build(package)
        plan = engine_folder(bench.plans, package) / PLAN
        plan.write_bytes(plan.read_bytes()[:-1] + b"?")
    engine = bench.open(package)
    assert (engine.provider, engine.health.state) == ("cpu", "degraded")
    words = {"missing": "There is no engine", "damaged": "damaged", "another device": "sm sm_72, not sm_87"}[fault]
    assert words in bench.said[0]
    assert "cpu serves while it is built anew" in bench.said[0]
    assert right(engine, package)
    assert engine.building is not None
    engine.building.join(60)
    assert engine.provider == "cpu", "a running slot keeps its engine"
    engine.begin_slot()
    assert (engine.provider, engine.health.state) == ("tensorrt", "ready")
    assert bench.said[-1].endswith("runs on tensorrt now")
    assert right(engine, package)
    engine.close()


def test_a_rebuilding_that_fails_is_told_and_the_fallback_goes_on(make_package: MakePackage, tmp_path: Path) -> None:
    package, bench = make_package(), Bench(tmp_path)
    bench.trt.refuses = "no such operator"
    engine = bench.open(package)
    assert engine.building is not None
    engine.building.join(60)
    engine.begin_slot()
    assert "no such operator" in bench.said[-1]
    assert (engine.provider, engine.health.state) == ("cpu", "degraded")
    engine.close()


def test_a_native_engine_that_fails_in_flight_gives_way_to_the_next(make_package: MakePackage, tmp_path: Path) -> None:
    package, bench = make_package(), Bench(tmp_path)
    bench.build(package)
    engine = bench.open(package)
    chain: Any = engine._serving.active
    assert isinstance(chain, EngineChain)

    def refuse(batch: Any) -> Any:
        raise EngineError("the device has fallen off the bus")

    chain._engine.infer = refuse
    tiles = np.ascontiguousarray(package.golden.tiles)
    for _ in range(2):
        with pytest.raises(EngineError, match="fallen off"):
            engine.infer(tiles)
    assert right(engine, package)
    assert (engine.provider, engine.health.state) == ("cpu", "degraded")
    engine.close()


def test_without_any_provider_that_works_the_reasons_are_told(make_package: MakePackage, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"No engine can be loaded.*There is no engine.*no provider 'abacus'"):
        Bench(tmp_path).open(make_package(), NATIVE, "abacus")


def test_a_worker_that_is_killed_is_started_anew_and_its_tiles_are_tried_again(make_package: MakePackage) -> None:
    import os
    import signal

    package = make_package()
    engine = open_preferred(package, Preference(worker=True))
    assert isinstance(engine, PreferredEngine)
    worker: Any = engine._serving.active._engine
    os.kill(worker.process_id, signal.SIGKILL)
    assert right(engine, package)
    assert worker.restarts == 1
    engine.close()
