"""What ``auto`` picks where no card knows the mission, and what that is worth: ``make bench-auto``.

The held-out missions of ``benchmarks/policy.py``: nobody trained on them, and no setting of the contest was chosen on
them. Values do not depend on the machine; seconds are CPU seconds of one core unless they are called wall.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from daemon import cpu_s, flying, status_of
from reporting import REPO, hold_to_bars

sys.path.insert(0, str(REPO))

from policies.contest import UNIVERSAL, Verdict, fly_all
from policies.missions import random_mission
from policies.registry import AUTO, shipped_path, verdict_on
from policies.spread import Processes, cores
from policies.teacher import planned_flight
from power_sim import Scenario, load_scenario
from runtime.daemon.auto import mission_verdict

HELD_OUT = range(900_001, 900_013)
NEAR_FRAC = 1e-3
BASES = ("cubesat-6u", "eclipse-heavy", "iss-orbit", "sentinel-like", "uav-survey")
SCENE = REPO / "deploy" / "scenes" / "eurosat-test.tif"


@dataclass(frozen=True, slots=True)
class Picked:
    """What became of one mission."""

    name: str
    verdict: Verdict
    contest_s: float
    values: dict[str, float]
    """Mean of each policy over the graded flights."""
    planned: float | None
    """Of planning every slot on expectations."""

    @property
    def best(self) -> str:
        """The policy worth most in the graded flights."""
        return max(self.values, key=lambda name: self.values[name])

    def of_best(self, policy: str) -> float:
        """Return what a policy reaches of the best policy."""
        return self.values[policy] / self.values[self.best]

    def of_known(self, policy: str) -> float:
        """Return what a policy reaches of the best that is known without foresight, planning included."""
        return self.values[policy] / max(self.values[self.best], self.planned or 0.0)


def picked(number: int, seeds: int, workers: int, plan: bool) -> Picked:
    """Hold the contest of a held-out mission, then grade everybody who took part on other seeds."""
    mission = random_mission(number)
    began_s = time.process_time()
    verdict = verdict_on(mission)
    took_s = time.process_time() - began_s
    values = fly_all(mission, shipped_path(UNIVERSAL, mission), seeds, planning=True, seed=0)
    planned = None
    if plan:
        planned = float(np.mean(list(Processes(workers).map(partial(planned_flight, mission), range(seeds)))))
    return Picked(mission.name, verdict, took_s, {n: float(v.mean()) for n, v in values.items()}, planned)


def told(one: Picked) -> str:
    """Return a mission as a line."""
    took = one.verdict.policy
    return (
        f"{one.name:22s} auto {took:34s} {one.of_best(took):8.2%}   universal {one.of_best(UNIVERSAL):8.2%}   "
        f"best {one.best:34s} contest {one.contest_s:.2f} s"
    )


def mission_s(base: str) -> float:
    """Return what deciding takes for a daemon's mission on a built-in scenario: eight orbits from a day of starts."""
    loaded: Scenario = load_scenario(base)
    scenario = replace(
        loaded,
        name=f"{base}-mission",
        orbit=replace(loaded.orbit, window_days=0.0),
        policy=replace(loaded.policy, name=AUTO),
    )
    began_s = time.process_time()
    verdict = mission_verdict(scenario)
    took_s = time.process_time() - began_s
    assert verdict is not None
    print(f"{scenario.name:22s} auto {verdict.policy:34s} contest {took_s:.2f} s   {verdict.reason}", flush=True)
    return took_s


def first_tile(policy: str) -> tuple[float, float]:
    """Wall and CPU seconds from the start of a daemon that flies ``policy`` to the end of its first slot, with tiles.

    Slots of 180 s make the longest contest: ``lookahead`` takes part.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inbox").mkdir()
        (folder / "inbox" / "scene.tif").write_bytes(SCENE.read_bytes())
        began_s = time.monotonic()
        with flying(folder, 180.0, policy) as process:
            while not status_of(folder).get("next_slot"):
                if time.monotonic() - began_s > 60.0 or process.poll() is not None:
                    raise RuntimeError(f"the daemon under {policy} has flown no slot within 60 s")
                time.sleep(0.02)
            return time.monotonic() - began_s, cpu_s(process.pid)


def main() -> None:
    """Measure and write ``build/bench/auto.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30, help="flights that are graded in each mission")
    parser.add_argument("--starts", type=int, default=5, help="of a daemon under each policy; 0 starts none")
    parser.add_argument("--no-plan", action="store_true", help="leave out planning every slot on expectations, minutes")
    parser.add_argument("--workers", type=int, default=None, help="processes that plan [one for each core]")
    asked = parser.parse_args()
    missions = []
    for number in HELD_OUT:
        missions.append(picked(number, asked.seeds, asked.workers or cores(), not asked.no_plan))
        print(told(missions[-1]), flush=True)
    took = [mission_s(base) for base in BASES]
    pairs = [(first_tile(UNIVERSAL), first_tile(AUTO)) for _ in range(asked.starts)]
    rows = [
        ("missions", float(len(missions)), "missions", None),
        ("auto_within_a_thousandth_of_the_best", near(missions, None), "missions", None),
        ("universal_within_a_thousandth_of_the_best", near(missions, UNIVERSAL), "missions", None),
        ("auto_of_best_policy", float(np.mean([m.of_best(m.verdict.policy) for m in missions])), "frac", None),
        ("universal_of_best_policy", float(np.mean([m.of_best(UNIVERSAL) for m in missions])), "frac", None),
        ("auto_of_best_policy_least", min(m.of_best(m.verdict.policy) for m in missions), "frac", None),
        ("universal_of_best_policy_least", min(m.of_best(UNIVERSAL) for m in missions), "frac", None),
        ("auto_of_best_known", float(np.mean([m.of_known(m.verdict.policy) for m in missions])), "frac", None),
        ("universal_of_best_known", float(np.mean([m.of_known(UNIVERSAL) for m in missions])), "frac", None),
        ("contest_cpu_s", statistics.median(m.contest_s for m in missions), "s", None),
        ("contest_of_a_mission_file_cpu_s", max(took), "s", 1.0),
    ]
    for policy, seen in zip((UNIVERSAL, AUTO), zip(*pairs, strict=True), strict=False):
        rows.append((f"first_slot_wall_s_{policy}", statistics.median(wall for wall, _ in seen), "s", 3.0))
        rows.append((f"first_slot_cpu_s_{policy}", statistics.median(cpu for _, cpu in seen), "s", None))
    hold_to_bars(
        "auto",
        rows,
        universal_sha256=missions[0].verdict.universal_sha256,
        picked={m.name: {"took": m.verdict.policy, "best": m.best, **m.values, "planned": m.planned} for m in missions},
    )


def near(missions: list[Picked], policy: str | None) -> float:
    """Return in how many missions a policy, None: what ``auto`` took, is within a thousandth of the best."""
    return float(sum(m.of_best(policy or m.verdict.policy) >= 1.0 - NEAR_FRAC for m in missions))


if __name__ == "__main__":
    main()
