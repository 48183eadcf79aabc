"""Time and energy of a package on this machine: single tiles, full batches, and the bursts of a slot.

``single-stream`` answers one tile after the other, ``offline`` keeps batches full, ``slot-burst`` rests between bursts
as a slot loop does, so that the first batch of each meets a machine that cooled and clocked down. The names are
MLPerf's; the rules are not claimed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError
from .measure import ACTIVE_POWER_W, BATCHES, machine_name
from .package import ModelPackage
from .records import Profile, ProfileEntry, check_envelope
from .roofline import Peaks, roofline_frac

MODES = ("single-stream", "offline", "slot-burst")
_T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
ROUNDS = 10
"""In which packages that are measured together take turns."""
Tiles = NDArray[Any]


class Runner(Protocol):
    """A loaded engine."""

    @property
    def provider(self) -> str:
        """What runs it."""
        ...

    def infer(self, batch: Tiles) -> NDArray[np.float32]:
        """Answers to a batch."""
        ...


class Meter(Protocol):
    """A cumulative meter that states its error."""

    @property
    def rails(self) -> tuple[str, ...]:
        """What is in the figure."""
        ...

    @property
    def error_frac(self) -> float:
        """Worst error of a reading."""
        ...

    def energy_j(self) -> float:
        """Joules so far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """How to measure. With a meter each repeat is a window of ``window_s``; without, ``runs`` batches are timed."""

    batches: tuple[int, ...] = BATCHES
    modes: tuple[str, ...] = ("offline",)
    runs: int = 30
    repeats: int = 5
    window_s: float = 60.0
    idle_s: float = 30.0
    burst_tiles: int = 64
    rest_s: float = 0.5
    power_mode: str = "default"
    threads: int = 1
    active_power_w: float = ACTIVE_POWER_W
    """Assumed of a busy core where there is no meter."""
    max_power_w: float = 60.0
    """The device's envelope: what implies more was not measured on it."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.modes) - set(MODES)):
            raise ExportError(f"There is no mode {unknown[0]!r}. Use some of {', '.join(MODES)}.")
        if self.repeats < 5 or min(self.batches, default=0) < 1:
            raise ExportError(
                f"Batches {self.batches} with {self.repeats} repeats: give batches, and 5 repeats or more."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a measurement is bound to: its passport."""

    device: str
    machine: str
    runtime: str


@dataclass(slots=True, eq=False)
class _Job:
    """One package in one mode at one batch size, and what its runs took."""

    package: ModelPackage
    runner: Runner
    mode: str
    tiles: Tiles
    samples: list[float] = field(default_factory=list)
    """Busy seconds of each run."""
    taken_s: float = 0.0
    """Wall seconds of all runs, rests left out."""

    @property
    def batch(self) -> int:
        return len(self.tiles)

    def warm(self) -> None:
        for _ in range(3):
            self.runner.infer(self.tiles)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Bench:
    """Clocks are arguments: ``busy`` times the work (CPU seconds, or wall seconds on a device), ``wall`` the rest."""

    settings: BenchSettings
    machine: Machine
    peaks: Peaks | None = None
    meter: Meter | None = None
    busy: Callable[[], float] = time.process_time
    clock_name: str = "cpu"
    wall: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    progress: Callable[[str], None] = lambda line: None

    def measure(self, package: ModelPackage, runner: Runner) -> Profile:
        """The package's profile with its times and joules measured anew; ExportError for implausible power."""
        return self.measure_together([(package, runner)])[0]

    def measure_together(self, loaded: Sequence[tuple[ModelPackage, Runner]]) -> list[Profile]:
        """As ``measure``, for packages that are to be compared: without a meter their runs take turns, so that what
        slows this machine for a while slows them alike."""
        idle_w = self._idle_power_w()
        groups = [list(self._jobs(package, runner)) for package, runner in loaded]
        if idle_w is None:
            self._take_turns([job for jobs in groups for job in jobs])
        return [
            self._profile(package, [self._finished(job, idle_w) for job in jobs])
            for (package, _), jobs in zip(loaded, groups, strict=True)
        ]

    def _jobs(self, package: ModelPackage, runner: Runner) -> Iterator[_Job]:
        for mode in self.settings.modes:
            for batch in (1,) if mode == "single-stream" else self.settings.batches:
                tiles = _repeat_to(package.golden.tiles, min(batch, package.info.input.max_batch))
                yield _Job(package, runner, mode, tiles)

    def _profile(self, package: ModelPackage, entries: Sequence[ProfileEntry]) -> Profile:
        profile = replace(package.profile, measurements=tuple(entries))
        check_envelope(profile, self.settings.max_power_w)
        return profile

    def _idle_power_w(self) -> float | None:
        if self.meter is None:
            return None
        seconds = self.settings.idle_s
        self.progress(f"idle power, {seconds:.0f} s")
        begin_s, begin_j = self.wall(), self.meter.energy_j()
        self.sleep(seconds)
        passed_s = self.wall() - begin_s
        return (self.meter.energy_j() - begin_j) / passed_s if passed_s > 0.0 else 0.0

    def _finished(self, job: _Job, idle_w: float | None) -> ProfileEntry:
        if self.meter is None or idle_w is None:
            entry = self._entry(job)
        else:
            joules = self._metered(job, self.meter, idle_w)
            entry = self._with_energy(self._entry(job), joules, idle_w, self.meter)
        self.progress(_line(job.package, entry))
        return replace(entry, throughput_hz=len(job.samples) * job.batch / max(job.taken_s, 1e-9))

    def _runs_a_burst(self, batch: int) -> int:
        return max(1, math.ceil(self.settings.burst_tiles / batch))

    def _take_turns(self, jobs: Sequence[_Job]) -> None:
        """Time every job's runs, a share of them in each of ``ROUNDS`` rounds, the order of a round drawn."""
        order = np.random.default_rng(0)
        shares = np.diff(np.linspace(0, max(self.settings.runs, self.settings.repeats), ROUNDS + 1).astype(int))
        for number, runs in enumerate(shares, 1):
            self.progress(f"round {number} of {ROUNDS}")
            for index in order.permutation(len(jobs)):
                job = jobs[index]
                job.warm()
                for _ in range(runs):
                    self._rest(len(job.samples), job)
                    self._run(job)

    def _metered(self, job: _Job, meter: Meter, idle_w: float) -> NDArray[np.float64]:
        """Run the job for some windows; for each the joules a tile above idle."""
        joules = []
        job.warm()
        for repeat in range(self.settings.repeats):
            begin_s, begin_j, runs = self.wall(), meter.energy_j(), 0
            while self.wall() - begin_s < self.settings.window_s:
                self._rest(runs, job)
                self._run(job)
                runs += 1
            spent_j = meter.energy_j() - begin_j - idle_w * (self.wall() - begin_s)
            joules.append(spent_j / (runs * job.batch))
            self.progress(
                f"window {repeat + 1} of {self.settings.repeats}: {1e3 * joules[-1]:.3g} mJ a tile above idle"
            )
        return np.array(joules)

    def _rest(self, run: int, job: _Job) -> None:
        if job.mode == "slot-burst" and run and run % self._runs_a_burst(job.batch) == 0:
            self.sleep(self.settings.rest_s)

    def _run(self, job: _Job) -> None:
        begin_s, begin_wall_s = self.busy(), self.wall()
        job.runner.infer(job.tiles)
        job.samples.append(self.busy() - begin_s)
        job.taken_s += self.wall() - begin_wall_s

    def _entry(self, job: _Job) -> ProfileEntry:
        package, batch, ordered = job.package, job.batch, np.sort(job.samples)
        half = 0.98 * math.sqrt(len(ordered))
        low = max(0, math.floor(len(ordered) / 2 - half))
        high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + half))
        tile_s = max(float(np.median(ordered)) / batch, 1e-9)
        power_w = self.settings.active_power_w
        return ProfileEntry(
            **asdict(self.machine),
            precision=package.info.precision,
            power_mode=self.settings.power_mode,
            threads=self.settings.threads,
            batch=batch,
            clock=self.clock_name,
            latency_p50_s=float(np.median(ordered)),
            latency_p99_s=float(np.percentile(ordered, 99)),
            tile_s=tile_s,
            tile_s_ci95=(float(ordered[low]) / batch, float(ordered[high]) / batch),
            repeats=len(ordered),
            energy_j_per_tile=tile_s * power_w,
            energy_kind="estimated",
            energy_method=f"busy seconds a tile times {power_w:g} W, assumed for one busy core; no meter",
            active_power_w=power_w,
            measured_on=datetime.now(timezone.utc).date().isoformat(),
            mode=job.mode,
            roofline_frac=None if self.peaks is None else self._roofline(package, tile_s, batch, self.peaks),
        )

    def _roofline(self, package: ModelPackage, tile_s: float, batch: int, peaks: Peaks) -> float:
        info = package.info
        width = {"float16": 2, "int8": 1}.get(info.precision, 4)
        tile_byte = len(info.bands) * info.input.tile_edge_px**2 + 4 * package.golden.expected[0].size
        return roofline_frac(
            peaks=peaks,
            tile_s=tile_s,
            batch=batch,
            flop=2e9 * info.gmacs,
            weights_byte=width * info.params,
            tile_byte=tile_byte,
        )

    def _with_energy(
        self, entry: ProfileEntry, joules: NDArray[np.float64], idle_w: float, meter: Meter
    ) -> ProfileEntry:
        mean_j = float(joules.mean())
        half_j = t_half_width(joules)
        if not mean_j > 0.0:
            raise ExportError(
                f"{', '.join(meter.rails)} reads {1e3 * mean_j:.3g} mJ a tile above idle ({idle_w:.2f} W): no work is "
                "seen. Measure longer (--window-s), or on the rails that feed the engine."
            )
        return replace(
            entry,
            energy_j_per_tile=mean_j,
            energy_kind="measured",
            energy_method=f"{', '.join(meter.rails)}, idle subtracted, {len(joules)} windows of "
            f"{self.settings.window_s:g} s",
            active_power_w=mean_j / entry.tile_s,
            energy_ci95=(mean_j - half_j, mean_j + half_j),
            idle_power_w=idle_w,
            meter_error_frac=meter.error_frac,
        )


def t_half_width(values: NDArray[np.float64]) -> float:
    """Half of the 95 % interval of a mean (Student's t).

    >>> round(t_half_width(np.array([1.0, 2.0, 3.0])), 3)
    2.484
    """
    degrees = len(values) - 1
    quantile = _T975.get(degrees, 1.96 + 2.4 / degrees)
    return quantile * float(values.std(ddof=1)) / math.sqrt(len(values))


def measured_machine(device: str, runtime: str) -> Machine:
    """This machine's passport."""
    return Machine(device=device, machine=machine_name(), runtime=runtime)


def _repeat_to(tiles: Tiles, batch: int) -> Tiles:
    return np.ascontiguousarray(np.take(tiles, np.arange(batch) % len(tiles), axis=0))


def _line(package: ModelPackage, entry: ProfileEntry) -> str:
    return f"{package.info.id} {entry.mode} batch {entry.batch}: {1e3 * entry.tile_s:.3f} ms a tile"
