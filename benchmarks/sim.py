"""Speed of the simulator, per CPU-second, beside its peers: ``make bench-sim``.

Prints a table and writes ``build/bench/sim.json``. Every figure is the median of its repeats; CPU time, not wall time,
since these machines are shared.
"""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from reporting import figure, publish  # noqa: E402

from power_sim import load_scenario  # noqa: E402
from power_sim.env import OrbitEnergyEnv  # noqa: E402
from power_sim.fleet import fly_fleet  # noqa: E402
from power_sim.frames import unix_from_utc  # noqa: E402
from power_sim.orbit import Kepler, sgp4_from_elements  # noqa: E402
from power_sim.timeline import Timeline, build_timeline, timeline_of  # noqa: E402
from power_sim.track import stations_of  # noqa: E402
from power_sim.vector import VectorSimulator  # noqa: E402

SCENARIO = "cubesat-6u"
# field measurements of November 2026 on the reference machine: 180 s slots
BSK_RL = ("bsk_rl 1.3.8 (1 s integration)", 64)
PASEOS = ("PASEOS 0.2.1 (10 s steps, no heat)", 1.2)


def cpu_s(work: Callable[[], Any]) -> float:
    """CPU seconds that ``work`` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def scalar_rate(repeats: int = 5, missions: int = 300) -> float:
    """Slot-steps per CPU-second of the gymnasium environment, random actions, resets included."""
    env = OrbitEnergyEnv(SCENARIO)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(int(env.action_space.n), size=1000).tolist()
    steps = 0

    def fly() -> None:
        nonlocal steps
        for _ in range(missions):
            env.reset()
            over = False
            while not over:
                _, _, terminated, truncated, _ = env.step(actions[steps % 1000])
                over = terminated or truncated
                steps += 1

    rates = []
    for _ in range(repeats):
        before = steps
        spent = cpu_s(fly)
        rates.append((steps - before) / spent)
    return statistics.median(rates)


def vector_rate(copies: int = 1024, slots: int = 4000, repeats: int = 3) -> tuple[float, float]:
    """Slot-steps per CPU-second of the vector form, restarts included; and CPU seconds to draw its missions."""
    timeline_of(load_scenario(SCENARIO))
    simulators: list[VectorSimulator] = []
    drawing = cpu_s(lambda: simulators.append(VectorSimulator(load_scenario(SCENARIO), copies)))
    actions = np.random.default_rng(0).integers(simulators[0].actions, size=(64, copies))

    def fly() -> None:
        for slot in range(slots):
            simulators[0].step(actions[slot % 64])

    return statistics.median(copies * slots / cpu_s(fly) for _ in range(repeats)), drawing


def build(days: float, changes: dict[str, str] | None = None) -> Timeline:
    """Compute a timeline afresh."""
    overrides = {"orbit.window_days": str(days), "orbit.orbits": "1", **(changes or {})}
    scenario = load_scenario(SCENARIO, overrides)
    return build_timeline(scenario, 1)


def year_s(repeats: int = 3) -> float:
    """CPU seconds to precompute one satellite's year."""
    build(1)
    return statistics.median(cpu_s(lambda: build(365)) for _ in range(repeats))


def slot_cost_us() -> dict[str, float]:
    """CPU microseconds per slot by length of the window: flat where the cost is linear."""
    return {
        f"{days} days": round(cpu_s(lambda d=days: build(d)) / (days * 480) * 1e6, 2) for days in (30, 90, 180, 365)
    }


def constellation(satellites: int) -> tuple[float, float]:
    """CPU seconds and MiB of memory for that many satellites over one day, all held at once."""
    return apart(
        "from benchmarks.sim import build; build(1); start = time.process_time();"
        "kept = [build(1, {'orbit.mean_anomaly_deg': str(k * 0.36), 'orbit.ltdn_h': str(6 + k % 12)})"
        " for k in range(int(sys.argv[2]))]",
        satellites,
    )


def fleet(satellites: int) -> tuple[float, float]:
    """CPU seconds and MiB for orbit, sunlight, ground track, eclipses and passes over three stations of that many
    satellites, one day at 30 s, array by array; half of them SGP4, half Keplerian."""
    return apart(
        "from benchmarks.sim import fly_day; fly_day(2); start = time.process_time(); fly_day(int(sys.argv[2]))",
        satellites,
    )


def fly_day(satellites: int) -> int:
    """Fly that many satellites for a day; returns how many passes and eclipses they have."""
    scenario = load_scenario(SCENARIO)
    start_s = unix_from_utc(scenario.orbit.start_utc)
    turn = 2 * math.pi / satellites
    shell = [
        Kepler(start_s, 6_928_000.0, 0.001, math.radians(53 + k % 45), k * turn, 0.0, 7 * k * turn)
        for k in range(satellites)
    ]
    orbits = [sgp4_from_elements(one, 1e-5) if k % 2 else one for k, one in enumerate(shell)]
    times = start_s + np.arange(0.0, 86_430.0, 30.0)
    chunks = fly_fleet(orbits, times, stations_of(scenario))
    return sum(len(one) for chunk in chunks for found in (chunk.passes(), chunk.eclipses()) for one in found)


def apart(work: str, satellites: int) -> tuple[float, float]:
    """CPU seconds after ``start`` and peak MiB of a statement run in an interpreter of its own (Linux: the peak that
    getrusage tells begins with the parent's)."""
    code = (
        f"import sys, time; sys.path.insert(0, sys.argv[1]); {work};"
        "status = open('/proc/self/status').read().split();"
        "print(time.process_time() - start, int(status[status.index('VmHWM:') + 1]) / 1024)"
    )
    command = [sys.executable, "-c", code, str(REPO), str(satellites)]
    words = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPO).stdout.split()
    return float(words[0]), float(words[1])


def import_s(repeats: int = 9) -> float:
    """CPU seconds of ``import power_sim`` above those of an empty interpreter."""

    def start(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    empty = statistics.median(start("pass") for _ in range(repeats))
    return statistics.median(start("import power_sim") for _ in range(repeats)) - empty


def main() -> int:
    """Measure, print, write; 1 where a bar is missed."""
    vector, drawing = vector_rate()
    hundred_s, _ = constellation(100)
    thousand_s, thousand_mib = constellation(1000)
    fleets = {n: fleet(n) for n in (125, 250, 500, 1000)}
    figures = {
        "scalar_slot_steps": figure(scalar_rate(), "1/CPU-s", at_least=100_000, peer=BSK_RL),
        "vector_slot_steps_1024": figure(vector, "1/CPU-s", at_least=5_000_000, peer=PASEOS),
        "vector_drawing_4096_missions": figure(drawing, "CPU-s", at_most=2.0),
        "year_of_one_satellite": figure(year_s(), "CPU-s", at_most=2.0),
        "constellation_1000_one_day_memory": figure(thousand_mib, "MiB", at_most=2048),
        "constellation_1000_over_100_time": figure(thousand_s / hundred_s, "ratio", at_most=12.0),
        "fleet_1000_one_day_memory": figure(fleets[1000][1], "MiB", at_most=2048),
        "fleet_1000_one_day": figure(fleets[1000][0], "CPU-s", at_most=10.0),
        "fleet_1000_over_125_time": figure(fleets[1000][0] / fleets[125][0], "ratio", at_most=10.0),
        "import": figure(import_s(), "CPU-s", at_most=0.3),
    }
    per_satellite_ms = {f"{n} satellites": round(spent / n * 1e3, 2) for n, (spent, _) in fleets.items()}
    costs_us = slot_cost_us()
    target = REPO / "build" / "bench" / "sim.json"
    code = publish(target, figures, slot_cost_us=costs_us, satellite_day_ms=per_satellite_ms)
    print("\nprecomputing, CPU us per slot:", costs_us)
    print("a fleet's day at 30 s, CPU ms per satellite:", per_satellite_ms)
    return code


if __name__ == "__main__":
    sys.exit(main())
