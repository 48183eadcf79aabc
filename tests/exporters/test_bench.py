"""Bench: what the clock and the meter say, idle subtracted, and nothing that no machine could do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.bench import Bench, BenchSettings, Machine, t_half_width
from exporters.bench_report import aee_per_j, edp_per_accuracy, plot_svg, rows, table
from exporters.errors import ExportError, PackageError
from exporters.package import ModelPackage, load_package
from exporters.roofline import Peaks, roofline_frac

HERE = Machine(device="cpu", machine="a desk", runtime="none")


@dataclass
class World:
    """A machine whose time a test knows: 2 W idle, 12 W busy, 1/128 s a tile."""

    now_s: float = 0.0
    joules: float = 0.0
    sleeps: list[float] = field(default_factory=list)
    busy_w: float = 12.0
    rails: tuple[str, ...] = ("VDD_IN",)
    error_frac: float = 0.015
    provider: str = "fake"

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._pass(seconds, 2.0)

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._pass(len(batch) / 128, self.busy_w)
        return np.zeros((len(batch), 2), dtype=np.float32)

    def energy_j(self) -> float:
        return self.joules

    def _pass(self, seconds: float, watts: float) -> None:
        self.now_s += seconds
        self.joules += seconds * watts


@pytest.fixture
def package(tmp_path: Path, write: Callable[..., Path]) -> ModelPackage:
    return load_package(write(tmp_path / "p", key=None), trust={}, allow_unsigned=True)


def bench(world: World, settings: BenchSettings, *, metered: bool = True) -> Bench:
    return Bench(
        settings=settings,
        machine=HERE,
        peaks=Peaks(flop_hz=1e12, byte_hz=1e9),
        meter=world if metered else None,
        busy=world.clock,
        wall=world.clock,
        sleep=world.sleep,
        clock_name="wall",
    )


@dataclass
class Tiring(World):
    """A machine that is slower by the minute."""

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._pass(len(batch) / 128 * (1.0 + self.now_s), self.busy_w)
        return np.zeros((len(batch), 2), dtype=np.float32)


def test_what_slows_the_machine_slows_packages_alike_that_are_measured_together(package: ModelPackage) -> None:
    settings = BenchSettings(batches=(1,), runs=100)
    world = Tiring()
    first, second = bench(world, settings, metered=False).measure_together([(package, world), (package, world)])
    apart = Tiring()
    before, after = (bench(apart, settings, metered=False).measure(package, apart) for _ in range(2))
    assert after.measurements[0].tile_s > 2.0 * before.measurements[0].tile_s
    assert second.measurements[0].tile_s == pytest.approx(first.measurements[0].tile_s, rel=0.15)
    assert first.measurements[0].repeats == second.measurements[0].repeats == 100


def test_joules_a_tile_are_those_above_idle(package: ModelPackage) -> None:
    world = World()
    profile = bench(world, BenchSettings(batches=(4,), window_s=2.0, idle_s=10.0)).measure(package, world)
    (entry,) = profile.measurements
    assert entry.energy_j_per_tile == pytest.approx(10.0 / 128)
    assert (entry.energy_kind, entry.idle_power_w, entry.meter_error_frac) == ("measured", pytest.approx(2.0), 0.015)
    assert entry.energy_ci95 == (pytest.approx(10 / 128), pytest.approx(10 / 128))
    assert entry.implied_power_w == pytest.approx(10.0)
    assert entry.repeats == 5 * 64
    assert entry.throughput_hz == pytest.approx(128.0)
    assert "idle subtracted, 5 windows of 2 s" in entry.energy_method


def test_without_a_meter_joules_are_an_estimate_and_say_so(package: ModelPackage) -> None:
    world = World()
    settings = BenchSettings(batches=(2,), runs=10, active_power_w=8.0)
    (entry,) = bench(world, settings, metered=False).measure(package, world).measurements
    assert entry.energy_kind == "estimated"
    assert entry.energy_j_per_tile == pytest.approx(8.0 / 128)
    assert "no meter" in entry.energy_method
    assert entry.latency_p50_s == entry.latency_p99_s == 2 / 128
    assert world.sleeps == []


def test_modes_differ_in_batch_and_rest(package: ModelPackage) -> None:
    world = World()
    settings = BenchSettings(
        batches=(4,), runs=9, modes=("single-stream", "offline", "slot-burst"), burst_tiles=12, rest_s=0.5
    )
    found = bench(world, settings, metered=False).measure(package, world).measurements
    assert [(entry.mode, entry.batch) for entry in found] == [("single-stream", 1), ("offline", 4), ("slot-burst", 4)]
    assert world.sleeps == [0.5, 0.5], "nine runs are three bursts"
    assert [entry.throughput_hz for entry in found] == [pytest.approx(128.0)] * 3, "rests are no work"


def test_implausible_power_is_refused(package: ModelPackage) -> None:
    world = World(busy_w=100.0)
    with pytest.raises(PackageError, match=r"implies 98\.0 W"):
        bench(world, BenchSettings(batches=(4,), window_s=1.0, idle_s=1.0)).measure(package, world)
    idle = World(busy_w=2.0)
    with pytest.raises(ExportError, match="no work is seen"):
        bench(idle, BenchSettings(batches=(4,), window_s=1.0, idle_s=1.0)).measure(package, idle)


def test_settings_that_measure_nothing_are_refused() -> None:
    with pytest.raises(ExportError, match="no mode 'online'"):
        BenchSettings(modes=("online",))
    with pytest.raises(ExportError, match="5 repeats or more"):
        BenchSettings(repeats=2)


def test_the_figures_that_follow_are_those_of_the_paper() -> None:
    assert edp_per_accuracy(0.924, 0.87, 0.0035) == pytest.approx(0.87 * 3.5 / 92.4)
    assert aee_per_j(0.9, 0.01) == pytest.approx(90.0)
    assert t_half_width(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.303 / 3**0.5)


def test_the_roofline_is_bound_by_arithmetic_or_by_memory() -> None:
    peaks = Peaks(flop_hz=1e9, byte_hz=1e8)
    bound = {"peaks": peaks, "tile_s": 0.01, "batch": 1, "tile_byte": 0}
    assert roofline_frac(flop=5e6, weights_byte=0, **bound) == pytest.approx(0.5)  # type: ignore[arg-type]
    assert roofline_frac(flop=1e3, weights_byte=200_000, **bound) == pytest.approx(0.2)  # type: ignore[arg-type]
    whole = {**bound, "batch": 10}
    assert roofline_frac(flop=1e3, weights_byte=200_000, **whole) == pytest.approx(0.02)  # type: ignore[arg-type]


def test_table_and_plot_hold_every_measurement(package: ModelPackage) -> None:
    world = World()
    profile = bench(world, BenchSettings(batches=(1, 4), runs=5), metered=False).measure(package, world)
    named = replace(package, info=replace(package.info, id="a<b"))
    found = rows([(named, profile)])
    assert table(found).count("a<b") == 2
    drawing = ElementTree.fromstring(plot_svg(found))
    circles = drawing.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 2
    assert circles[0][0].text == "a<b, offline, batch 1"


def peaks_clock() -> Iterator[float]:
    now_s = 0.0
    while True:
        yield now_s
        now_s += 0.5


def test_peaks_are_work_over_the_least_time() -> None:
    pytest.importorskip("onnxruntime")
    from exporters.roofline import measure_peaks

    ticks = peaks_clock()
    peaks = measure_peaks(clock=lambda: next(ticks), rows=16, values=1000, repeats=2)
    assert peaks.flop_hz == pytest.approx(2 * 16 * 1024**2 / 0.5)
    assert peaks.byte_hz == pytest.approx(20 * 1000 / 0.5)
