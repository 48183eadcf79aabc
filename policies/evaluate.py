"""Grades policies: one set of missions for all, simulator and shield as in a replay, the exact bound beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from power_sim.scenario import Scenario
from power_sim.simulator import Outcome, Simulator
from power_sim.slot import SlotState

from .bound import upper_bound, why_no_bound
from .confidence import mean_ci95, worst_decile
from .decision import Admitted, Policy
from .errors import EvaluationError, NotInstalledError
from .optimum import best_flight
from .registry import AUTO, fixed_names, make_policy, verdict_on
from .shield import Shield
from .worth import worth_of

T = TypeVar("T")
R = TypeVar("R")
RAW = "raw:"
"""Prefix of a policy that flies without the accuracy floor, as the paper's fixed models do."""
TOLERANCE = 1e-6
OVER = "share of the best flight's gain over"


class Executor(Protocol):
    """Runs one function over many jobs, in any order in time, with results in the order of the jobs."""

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Yield the results."""
        ...


class Serial:
    """Runs the jobs one after the other in this process."""

    def map(self, function: Callable[[T], R], jobs: Iterable[T]) -> Iterator[R]:
        """Yield the results."""
        return map(function, jobs)


@dataclass(frozen=True, slots=True)
class Flight:
    """What one policy made of one mission."""

    value: float
    energy_j: float
    correct_tile: float
    tile: int
    violations: int
    overrules: int
    decision_us_p50: float
    """Measured; observation, policy and shield."""
    chosen: dict[str, int] = field(default_factory=dict)
    """Slots per model, ``idle`` included."""


@dataclass(frozen=True, slots=True)
class Job:
    """One mission, to be flown by several policies."""

    scenario: Scenario
    policies: tuple[str, ...]
    seed: int
    orbits: float | None
    directory: Path | None
    bound: bool
    auto: str = ""
    """What ``auto`` stands for here, decided once for all missions; empty where nobody asks."""


@dataclass(frozen=True, slots=True)
class Graded:
    """The flights of one mission. ``upper`` and ``feasible`` are None where no bound was asked for."""

    seed: int
    upper: float | None
    feasible: float | None
    flights: dict[str, Flight]


def fly(scenario: Scenario, seed: int, policy: Policy, shield: Shield, orbits: float | None = None) -> Flight:
    """Fly one mission to its end."""
    simulator = Simulator(scenario, seed, orbits)
    value = energy_j = correct = 0.0
    tile = violations = overrules = 0
    chosen: dict[str, int] = {}
    took_ns: list[int] = []
    over = False
    while not over:
        state = simulator.observe()
        before_ns = time.perf_counter_ns()
        admitted = shield.admit(state, policy)
        took_ns.append(time.perf_counter_ns() - before_ns)
        index = admitted.decision.option_index
        outcome = simulator.advance(admitted.work, None if index is None else state.options[index])
        value, energy_j = value + outcome.reward, energy_j + outcome.energy_j
        correct, tile = correct + outcome.correct_tile, tile + outcome.tile
        violations += len(violated(state, admitted, outcome))
        overrules += bool(admitted.overruled)
        chosen[admitted.decision.model] = chosen.get(admitted.decision.model, 0) + 1
        over = outcome.truncated or outcome.terminated
    return Flight(value, energy_j, correct, tile, violations, overrules, float(np.median(took_ns)) / 1e3, chosen)


def violated(state: SlotState, admitted: Admitted, outcome: Outcome) -> list[str]:
    """Return which limits a slot's choice broke, judged by what really happened."""
    broken = ["reserve"] if outcome.reserve_violated else []
    index = admitted.decision.option_index
    if index is None or admitted.work.tile == 0:
        return broken
    option = state.options[index]
    if admitted.work.time_s > state.time_budget_s * (1 + TOLERANCE):
        broken.append("time")
    if outcome.temperature_k > state.temperature_limit_k * (1 + TOLERANCE):
        broken.append("heat")
    if not option.healthy:
        broken.append("health")
    others = (o.healthy and o.accuracy_frac >= state.accuracy_floor_frac for o in state.options)
    if option.accuracy_frac < state.accuracy_floor_frac and (state.may_idle or any(others)):
        broken.append("floor")
    return broken


def grade(job: Job) -> Graded:
    """Fly one mission with every policy of the job."""
    scenario, worth = job.scenario, worth_of(job.scenario)
    shield, lenient = Shield(worth), Shield(worth, keep_floor=False)
    flights = {}
    for spec in job.policies:
        name = job.auto if spec.removeprefix(RAW) == AUTO and job.auto else spec.removeprefix(RAW)
        policy = make_policy(name, scenario, seed=job.seed, directory=job.directory)
        flights[spec] = fly(scenario, job.seed, policy, lenient if spec.startswith(RAW) else shield, job.orbits)
    if not job.bound:
        return Graded(job.seed, None, None, flights)
    best = best_flight(scenario, job.seed, job.orbits)
    feasible = max([best, *(flight.value for spec, flight in flights.items() if not spec.startswith(RAW))])
    return Graded(job.seed, upper_bound(scenario, job.seed, job.orbits), feasible, flights)


def evaluate(
    scenario: Scenario,
    policies: Sequence[str],
    seeds: Sequence[int],
    *,
    orbits: float | None = None,
    directory: Path | None = None,
    executor: Executor | None = None,
    bound: bool | None = None,
    progress: Callable[[int, int, str], None] = lambda done, of, line: None,
) -> dict[str, Any]:
    """Return the grades of ``policies`` over the missions of ``seeds`` as the JSON of ``subsolar evaluate``.

    ``fixed:*`` stands for each network of the pool; ``raw:`` before a policy lifts the accuracy floor. ``bound`` None
    adds the exact bound where it can be computed here (``bound.missing`` says why not), True insists on it.

    Regret is (bound - value) / bound per mission, with the bound's upper side, so that it is never flattered;
    ``regret_least_mean`` is the same against the best flight found, so that the truth lies between. Intervals are 95 %
    over seeds; ``gain`` compares two policies mission by mission. Raises ``EvaluationError``, also where no tile
    arrives in any of the missions, and what ``make_policy`` raises. Figures named ``_us_`` are measured; nothing else
    depends on the machine or the executor.
    """
    if not seeds or not policies:
        raise EvaluationError("There is nothing to evaluate. Name at least one policy and one seed.")
    specs = expand(policies, scenario)
    verdict = verdict_on(scenario, directory) if {AUTO, RAW + AUTO} & set(specs) else None
    for spec in specs:
        make_policy(spec.removeprefix(RAW), scenario, seed=0, directory=directory)
    _refuse_idleness(scenario, seeds, orbits)
    missing = "" if bound is False else why_no_bound(scenario)
    if bound and missing:
        raise NotInstalledError(missing)
    auto, bounded = "" if verdict is None else verdict.policy, bound is not False and not missing
    jobs = [Job(scenario, specs, seed, orbits, directory, bounded, auto) for seed in seeds]
    graded: list[Graded] = []
    for mission in (executor or Serial()).map(grade, jobs):
        graded.append(mission)
        progress(len(graded), len(jobs), f"seed {mission.seed}")
    report = summarise(scenario, graded)
    if verdict is not None:
        report |= {AUTO: verdict.policy, "verdict": verdict.table()}
    return {**report, "bound": {"value_mean": None, "missing": missing}} if missing else report


def _refuse_idleness(scenario: Scenario, seeds: Sequence[int], orbits: float | None) -> None:
    """Where nothing arrives, all policies are worth 0, and a table of them would compare nothing."""
    if any(Simulator(scenario, seed, orbits).track().arrived_tile.any() for seed in seeds):
        return
    low = scenario.workload.min_sun_elevation_deg
    dark = f", or lower workload.min_sun_elevation_deg = {low:g}" if low > -90.0 else ""
    raise EvaluationError(
        f"No tile arrives in any of the {len(seeds)} missions of {scenario.name}: there is nothing to compare. Ask for "
        f"more seeds or a longer orbit.orbits, change the orbit or the workload{dark}."
    )


def expand(policies: Iterable[str], scenario: Scenario) -> tuple[str, ...]:
    """Return the policies with ``fixed:*`` spelled out, each once.

    >>> from power_sim import load_scenario
    >>> expand(["greedy", "fixed:*", "greedy"], load_scenario("paper"))
    ('greedy', 'fixed:MobileNetV3', 'fixed:MobileNetV2', 'fixed:ResNet18')
    """
    specs: list[str] = []
    for spec in policies:
        stem = spec.strip()
        prefix = RAW if stem.startswith(RAW) else ""
        every = stem.removeprefix(RAW) == "fixed:*"
        specs += [prefix + name for name in fixed_names(scenario)] if every else [stem]
    return tuple(dict.fromkeys(specs))


def summarise(scenario: Scenario, graded: Sequence[Graded]) -> dict[str, Any]:
    """Return the table of graded missions."""
    names = list(graded[0].flights)
    bounded = graded[0].upper is not None
    upper = [mission.upper or 0.0 for mission in graded]
    feasible = [mission.feasible or 0.0 for mission in graded]
    report: dict[str, Any] = {"scenario": scenario.name, "scenario_sha256": scenario.sha256, "seeds": len(graded)}
    if bounded:
        report["bound"] = {
            "value_mean": float(np.mean(upper)),
            "feasible_mean": float(np.mean(feasible)),
            "gap_frac": 1.0 - float(np.mean(feasible)) / float(np.mean(upper)) if any(upper) else 0.0,
        }
    report["policies"] = {name: _grade_of(graded, name, bounded) for name in names}
    if bounded:
        report["headroom"] = headroom(graded)
    report["gain"] = {name: {other: gain(graded, name, other) for other in names if other != name} for name in names}
    return report


def gain(graded: Sequence[Graded], name: str, other: str) -> dict[str, Any]:
    """Return by how much one policy's value exceeds another's on the same missions, as a share of the other's mean."""
    scale = abs(float(np.mean([mission.flights[other].value for mission in graded]))) or 1.0
    paired = [(mission.flights[name].value - mission.flights[other].value) / scale for mission in graded]
    interval = mean_ci95(paired)
    return {"mean_frac": interval.mean, "ci95": [interval.low, interval.high]}


def headroom(graded: Sequence[Graded]) -> dict[str, Any]:
    """Return what perfect foresight gains over each fixed model, and the share of it that every other policy gets.

    The gain is that of the best flight found (``bound_gain_frac``: of the bound's upper side), as a share of the fixed
    model's mean; the share compares sums over the same missions, and is None where less than a thousandth is to be
    gained.
    """
    sums = {name: sum(mission.flights[name].value for mission in graded) for name in graded[0].flights}
    upper, best = sum(mission.upper or 0.0 for mission in graded), sum(mission.feasible or 0.0 for mission in graded)
    table: dict[str, Any] = {}
    for fixed in (name for name in sums if name.removeprefix(RAW).startswith("fixed:")):
        room, base = best - sums[fixed], abs(sums[fixed])
        shares = {
            name: (total - sums[fixed]) / room if room > 1e-3 * base else None
            for name, total in sums.items()
            if not name.removeprefix(RAW).startswith("fixed:")
        }
        table[fixed] = {
            "bound_gain_frac": (upper - sums[fixed]) / base if base > 0 else None,
            "best_gain_frac": room / base if base > 0 else None,
            "share_frac": shares,
        }
    return table


def _grade_of(graded: Sequence[Graded], name: str, bounded: bool) -> dict[str, Any]:
    flights = [mission.flights[name] for mission in graded]
    value = mean_ci95([flight.value for flight in flights])
    energy = mean_ci95([flight.energy_j for flight in flights])
    chosen: dict[str, int] = {}
    for flight in flights:
        for model, slots in flight.chosen.items():
            chosen[model] = chosen.get(model, 0) + slots
    grades: dict[str, Any] = {
        "value_mean": value.mean,
        "value_ci95": [value.low, value.high],
        "energy_j_mean": energy.mean,
        "energy_j_ci95": [energy.low, energy.high],
        "accuracy_frac": sum(f.correct_tile for f in flights) / max(sum(f.tile for f in flights), 1),
        "violations": sum(flight.violations for flight in flights),
        "overrules_mean": float(np.mean([flight.overrules for flight in flights])),
        "chosen_frac": {model: slots / sum(chosen.values()) for model, slots in sorted(chosen.items())},
        "decision_us_p50": float(np.median([flight.decision_us_p50 for flight in flights])),
    }
    if bounded:
        regret = [regret_frac(mission.upper, mission.flights[name].value) for mission in graded]
        least = [regret_frac(mission.feasible, mission.flights[name].value) for mission in graded]
        interval = mean_ci95(regret)
        grades |= {
            "regret_mean": interval.mean,
            "regret_ci95": [interval.low, interval.high],
            "regret_worst_decile": worst_decile(regret),
            "regret_least_mean": float(np.mean(least)),
            "regret_least_worst_decile": worst_decile(least),
        }
    return grades


def regret_frac(best: float | None, value: float) -> float:
    """Return what a flight's value lacks of the best, as a share of the best; 0 where nothing is to be had.

    >>> regret_frac(80.0, 60.0), regret_frac(0.0, 0.0)
    (0.25, 0.0)
    """
    return (best - value) / best if best is not None and best > 0 else 0.0


def table_of(report: Mapping[str, Any]) -> str:
    """Return a report as lines for a person."""
    bound = report.get("bound", {})
    lines = [f"{report['scenario']}, {report['seeds']} missions"]
    if bound.get("missing"):
        lines.append(f"no bound: {bound['missing']}")
    elif bound:
        lines.append(
            f"perfect foresight gives at most {bound['value_mean']:,.1f}; the best flight found is worth "
            f"{bound['feasible_mean']:,.1f} (gap {bound['gap_frac']:.1%})"
        )
    names = {
        name: f"{name} ({report[AUTO]})" if name.removeprefix(RAW) == AUTO else name for name in report["policies"]
    }
    width = max(map(len, names.values()))
    digits = 0 if max(grades["energy_j_mean"] for grades in report["policies"].values()) >= 1000 else 1
    lines.append(
        f"{'policy':{width}}  {'value':>9}  {'joules':>9}  {'accuracy':>8}  {'regret at most, 95 %':>20}  "
        f"{'at least':>8}  broken"
    )
    for name, grades in sorted(report["policies"].items(), key=lambda item: -item[1]["value_mean"]):
        regret = least = "-"
        if "regret_mean" in grades:
            low, high = grades["regret_ci95"]
            regret = f"{grades['regret_mean']:.2%} [{low:.2%}, {high:.2%}]"
            least = f"{grades['regret_least_mean']:.2%}"
        lines.append(
            f"{names[name]:{width}}  {grades['value_mean']:9,.1f}  {grades['energy_j_mean']:9,.{digits}f}  "
            f"{grades['accuracy_frac']:8.2%}  {regret:>20}  {least:>8}  {grades['violations']:6d}"
        )
    if AUTO in report:
        lines += ["", f"auto takes {report[AUTO]}: {report['verdict']['reason']}"]
    return "\n".join(lines + _headroom_lines(report.get("headroom", {})))


def _headroom_lines(table: Mapping[str, Any]) -> list[str]:
    """Return the gain of perfect foresight over each fixed model and who gets how much of it, as lines."""
    if not table:
        return []
    names = list(next(iter(table.values()))["share_frac"])
    width = max(len(OVER), *map(len, table))
    lines = ["", f"{OVER:{width}}  {'its gain':>9}  " + "  ".join(names)]
    for fixed, entry in table.items():
        gain_frac, shares = entry["best_gain_frac"], entry["share_frac"]
        gained = "-" if gain_frac is None else f"{gain_frac:+.1%}"
        each = (("-" if shares[n] is None else f"{shares[n]:.1%}").rjust(len(n)) for n in names)
        lines.append(f"{fixed:{width}}  {gained:>9}  " + "  ".join(each))
    return lines
