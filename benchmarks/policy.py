"""Policies: regret against the exact bound, gains, and the time that a decision takes: ``make bench-policy``.

Prints tables and writes ``build/bench/policy.json``. Decision times are CPU time of observation, policy and shield on
one core; everything else is exact for the seeds and does not depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from policies.cards import result_of, write_card  # noqa: E402
from policies.evaluate import evaluate, table_of  # noqa: E402
from policies.missions import random_mission  # noqa: E402
from policies.network import load_policy_file  # noqa: E402
from policies.registry import LEARNED, make_policy, shipped_path  # noqa: E402
from policies.shield import Shield  # noqa: E402
from policies.spread import Processes, cores  # noqa: E402
from policies.tabular import load_table  # noqa: E402
from policies.teacher import planned_flight  # noqa: E402
from policies.worth import worth_of  # noqa: E402
from power_sim import Scenario, Simulator, SlotState, load_scenario, scenario_names  # noqa: E402

BLOCK = 20
"""Decisions timed together: the CPU clock is read once for each block, not once for each decision."""
SB3 = {"name": "stable-baselines3 predict, p50", "value": 168}
GAINS, GAINS_END = "<!-- gains: written by benchmarks/policy.py -->", "<!-- end of gains -->"
RULES = ("fixed:*", "greedy", "threshold", "barrier", "lookahead")
HELD_OUT = range(900_001, 900_013)
"""Seeds of the random missions that nobody trained on."""


def states_of(scenario: Scenario, policy: str, missions: int = 3) -> list[SlotState]:
    """Return the slots in which there is something to decide."""
    flown, chooser, shield = [], make_policy(policy, scenario, seed=0), Shield(worth_of(scenario))
    for seed in range(missions):
        simulator = Simulator(scenario, seed)
        while not simulator.over:
            state = simulator.observe()
            flown.append(state)
            admitted = shield.admit(state, chooser)
            index = admitted.decision.option_index
            simulator.advance(admitted.work, None if index is None else state.options[index])
    return [state for state in flown if state.waiting_tile > 0]


def decision_us(scenario: Scenario, policy: str, rounds: int = 40) -> tuple[float, float]:
    """Return p50 and p99 over blocks of decisions, in CPU microseconds each."""
    states, chooser, shield = (
        states_of(scenario, policy),
        make_policy(policy, scenario, seed=0),
        Shield(worth_of(scenario)),
    )
    took = []
    for _ in range(rounds):
        for first in range(0, len(states) - BLOCK, BLOCK):
            start_ns = time.thread_time_ns()
            for state in states[first : first + BLOCK]:
                shield.admit(state, chooser)
            took.append((time.thread_time_ns() - start_ns) / 1e3 / BLOCK)
    return float(np.percentile(took, 50)), float(np.percentile(took, 99))


def grades(scenario: Scenario, policies: Sequence[str], seeds: int, workers: int = 1) -> dict[str, Any]:
    """Grade, print the table, return the report."""
    report = evaluate(scenario, policies, range(seeds), executor=Processes(workers))
    print(table_of(report), "\n", flush=True)
    return report


def figure(value: float, unit: str, bar: float, above: bool, peer: dict[str, Any] | None = None) -> dict[str, Any]:
    """One entry of the result file; ``above`` tells on which side of the bar is good."""
    return {"value": value, "unit": unit, "bar": bar, "met": value >= bar if above else value <= bar, "peer": peer}


def held_out(seeds: int, workers: int) -> dict[str, float]:
    """Grade the universal policy where it never trained; return the means over the missions."""
    reports, planned = [], []
    for number in HELD_OUT:
        mission = random_mission(number)
        reports.append(grades(mission, ("universal", *RULES), seeds, workers))
        planned.append(planned_mean(mission, seeds, workers))
        print(f"planning every slot on expectations: {planned[-1]:.4g}\n", flush=True)
    own = [report["policies"]["universal"] for report in reports]
    best = [max(g["value_mean"] for g in report["policies"].values()) for report in reports]
    rivals = [max(g["value_mean"] for name, g in r["policies"].items() if name != "universal") for r in reports]
    return {
        "regret_mean": float(np.mean([g["regret_mean"] for g in own])),
        "regret_least_mean": float(np.mean([g["regret_least_mean"] for g in own])),
        "regret_worst_decile": float(np.mean([g["regret_worst_decile"] for g in own])),
        "regret_worst_decile_of_all": float(np.max([g["regret_worst_decile"] for g in own])),
        "of_best": float(np.mean([g["value_mean"] / max(b, p) for g, b, p in zip(own, best, planned, strict=True)])),
        "missions_not_below_any_rule": float(
            sum(g["value_mean"] >= 0.999 * b for g, b in zip(own, rivals, strict=True))
        ),
        "violations": float(sum(g["violations"] for g in own)),
    }


def planned_mean(scenario: Scenario, seeds: int, workers: int) -> float:
    """Return what planning every slot on expectations is worth: the best that is known without foresight."""
    return float(np.mean(list(Processes(workers).map(partial(planned_flight, scenario), range(seeds)))))


def rewrite_cards(seeds: int, kinds: Sequence[str], workers: int) -> int:
    """Grade the shipped policies of these kinds where they can fly and put the grades on their cards."""
    results: dict[Path, dict[str, Any]] = {}
    for name in scenario_names():
        scenario = load_scenario(name)
        paths = {kind: path for kind in LEARNED if (path := shipped_path(kind, scenario)).is_file()}
        if not paths.keys() & set(kinds):
            continue
        raw = ("raw:fixed:*",) if name.startswith("paper") else ()
        report = grades(scenario, (*paths, *RULES, *raw), seeds, workers)
        for kind in paths.keys() & set(kinds):
            results.setdefault(paths[kind], {})[name] = result_of(report, kind)
    for path, graded in results.items():
        file = load_table(path) if path.name.startswith("q-learning") else load_policy_file(path)
        write_card(path, file, graded)
    return 0


def write_gains(seeds: int, workers: int) -> int:
    """Put the bound's gain over each fixed model, and who gets how much of it, into docs/policies.md."""
    names = ("lookahead", "greedy", "universal")
    heads = ("scenario", "fixed model", "the best flight gains", "the bound gains", *names)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for scenario in scenario_names():
        raw = "raw:" if scenario.startswith("paper") else ""
        report = grades(load_scenario(scenario), (f"{raw}fixed:*", *names), seeds, workers)
        for fixed, entry in report["headroom"].items():
            shares = entry["share_frac"]
            cells = ("-" if shares[name] is None else f"{shares[name]:.1%}" for name in names)
            gains = (entry["best_gain_frac"], entry["bound_gain_frac"])
            gained = " | ".join("-" if gain is None else f"{gain:+.1%}" for gain in gains)
            lines.append(f"| {scenario} | {fixed.rpartition(':')[2]} | {gained} | {' | '.join(cells)} |")
    page = REPO / "docs" / "policies.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(GAINS)
    _, _, after = rest.partition(GAINS_END)
    said = f"Made by `python benchmarks/policy.py --gains --seeds {seeds}` ({seeds} seeds per scenario):"
    page.write_text("\n".join([before + GAINS, said, "", *lines, GAINS_END + after]), encoding="utf-8")
    return 0


def main() -> int:
    """Measure, print, write; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30, help="missions per scenario and policy")
    parser.add_argument("--cards", action="store_true", help="only grade the shipped policies and rewrite their cards")
    parser.add_argument("--kinds", default=",".join(LEARNED), help="whose cards are rewritten")
    parser.add_argument("--gains", action="store_true", help="only rewrite the table of gains in docs/policies.md")
    parser.add_argument("--workers", type=int, default=None, help="missions flown at once [one for each core]")
    asked = parser.parse_args()
    seeds: int = asked.seeds
    workers: int = asked.workers or cores()
    if asked.cards:
        return rewrite_cards(seeds, asked.kinds.split(","), workers)
    if asked.gains:
        return write_gains(seeds, workers)
    times = {name: decision_us(load_scenario("cubesat-6u"), name) for name in (*LEARNED, "greedy", "lookahead")}
    cubesat, paper = load_scenario("cubesat-6u"), load_scenario("paper")
    tight = grades(cubesat, (*LEARNED, *RULES), seeds, workers)
    ideal = grades(paper, (*LEARNED, *RULES, "raw:fixed:*"), seeds, workers)
    other, planned = held_out(seeds, workers), planned_mean(cubesat, seeds, workers)
    print(f"planning every slot of cubesat-6u on expectations: {planned:.4g}")
    own = tight["policies"]["universal"]
    for name, (p50, p99) in times.items():
        print(f"decision {name:12s} p50 {p50:8.1f} us  p99 {p99:8.1f} us")
    gain = ideal["gain"]["dqn"]
    figures = {
        "decision_dqn_p50": figure(times["dqn"][0], "CPU-us", 25.0, False, SB3),
        "decision_dqn_p99": figure(times["dqn"][1], "CPU-us", 100.0, False),
        "decision_universal_p50": figure(times["universal"][0], "CPU-us", 25.0, False, SB3),
        "decision_policy_gradient_p50": figure(times["policy-gradient"][0], "CPU-us", 25.0, False, SB3),
        "lookahead_over_universal_time": figure(times["lookahead"][0] / times["universal"][0], "ratio", 20.0, True),
        "paper_dqn_regret": figure(ideal["policies"]["dqn"]["regret_mean"], "frac", 0.01, False),
        "paper_dqn_accuracy": figure(ideal["policies"]["dqn"]["accuracy_frac"], "frac", 0.891, True),
        "paper_dqn_over_mobilenet_v2": figure(gain["raw:fixed:MobileNetV2"]["mean_frac"], "frac", 0.30, True),
        "cubesat_dqn_over_greedy": figure(tight["gain"]["dqn"]["greedy"]["mean_frac"], "frac", 0.0, True),
        "universal_held_out_regret": figure(other["regret_mean"], "frac", 0.05, False),
        "universal_held_out_worst_decile": figure(other["regret_worst_decile"], "frac", 0.10, False),
        "universal_held_out_of_best": figure(other["of_best"], "frac", 0.98, True),
        "universal_held_out_worst_decile_of_all": figure(other["regret_worst_decile_of_all"], "frac", 0.10, False),
        "universal_held_out_regret_at_least": figure(other["regret_least_mean"], "frac", 0.05, False),
        "universal_held_out_not_below_rules": figure(other["missions_not_below_any_rule"], "of 12", 12.0, True),
        "cubesat_universal_regret": figure(own["regret_mean"], "frac", 0.05, False),
        "cubesat_universal_regret_at_least": figure(own["regret_least_mean"], "frac", 0.05, False),
        "cubesat_universal_of_planned": figure(own["value_mean"] / planned, "ratio", 0.98, True),
        "violations": figure(other["violations"], "slots", 0.0, False),
    }
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=REPO).stdout.strip()
    machine = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    target = REPO / "build" / "bench" / "policy.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine, "commit": commit, "figures": figures}
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, entry in figures.items():
        verdict = "met" if entry["met"] else "MISSED"
        print(f"{name:34s} {entry['value']:10.4g} {entry['unit']:7s} bar {entry['bar']:7.4g} {verdict}")
    return 0 if all(entry["met"] for entry in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
