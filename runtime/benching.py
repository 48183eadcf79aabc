"""Brings a package, an engine, a meter and the machine's peaks together for a bench."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from exporters.bench import Bench, BenchSettings, measured_machine
from exporters.onnx_cpu import version
from exporters.package import ModelPackage
from exporters.records import Profile
from exporters.roofline import measure_peaks

from .engines import open_engine
from .meters import RatedMeter, find_meter, open_meter


def bench_packages(
    packages: Sequence[ModelPackage],
    settings: BenchSettings,
    *,
    device: str = "cpu",
    meter: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> list[tuple[ModelPackage, Profile]]:
    """Measure each package on ``device``. ``meter`` names one, ``none`` forbids any, None takes what is there.

    On the CPU, without a meter, times are CPU seconds, and the packages take turns; otherwise they are wall seconds,
    package by package. Raises ``EngineError`` or
    ``ExportError``.
    """
    energy = _meter(meter)
    on_cpu = device == "cpu"
    cpu_clock = on_cpu and energy is None
    progress("peaks of this machine: matrix product and triad")
    bench = Bench(
        settings=settings,
        machine=measured_machine(device, f"onnxruntime {version()}"),
        peaks=measure_peaks() if on_cpu else None,
        meter=energy,
        busy=time.process_time if cpu_clock else time.perf_counter,
        clock_name="cpu" if cpu_clock else "wall",
        progress=progress,
    )
    if energy is not None:
        return [pair for package in packages for pair in _measured([package], bench, device)]
    return _measured(packages, bench, device)


def _measured(packages: Sequence[ModelPackage], bench: Bench, device: str) -> list[tuple[ModelPackage, Profile]]:
    with ExitStack() as open_engines:
        loaded = []
        for package in packages:
            engine = open_engine(package, device, threads=bench.settings.threads)
            open_engines.callback(engine.close)
            loaded.append((package, engine))
        return list(zip(packages, bench.measure_together(loaded), strict=True))


def _meter(name: str | None) -> RatedMeter | None:
    if name == "none":
        return None
    return find_meter() if name is None else open_meter(name)
