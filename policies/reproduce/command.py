"""Trains, flies and writes the reproduction of LEO-IISat: one folder with a report, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from power_sim.scenario import Scenario, load_scenario
from power_sim.timeline import timeline_of

from ..confidence import Interval, mean_ci95
from ..decision import Policy
from ..errors import TrainingError
from ..evaluate import Executor, Serial
from ..learned import action_names
from ..registry import make_policy
from . import figures
from .decisions import decisions
from .flights import Orbits, Row, fly_bound, fly_orbit, summarise
from .report import Check, Material, acceptance, write_report
from .training import METHODS, TrainDone, TrainJob, train_job

PRESETS = ("paper", "paper-hidden")
FIXED = "fixed:MobileNetV2"
SHIPPED = ("dqn", "q-learning", "policy-gradient", "universal")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is trained and flown."""

    seeds: int
    dqn_slots: int
    """60,000 are the paper's 2,000 episodes."""
    other_slots: int
    """Of Q-learning and policy gradient, which are cheap and get ten times as many."""
    sweep_dqn_slots: int
    sweep_other_slots: int
    rates: tuple[float, ...]
    discounts: tuple[float, ...]
    loads: tuple[float, ...]
    judged: bool
    """Whether the acceptance is judged, or only shown."""


FULL = Extent(
    seeds=30,
    dqn_slots=60_000,
    other_slots=600_000,
    sweep_dqn_slots=15_000,
    sweep_other_slots=60_000,
    rates=(1e-4, 1e-3, 1e-2),
    discounts=(0.90, 0.95, 0.99, 1.0),
    loads=(0.5e5, 1.5e5, 2.5e5, 3.5e5, 5e5),
    judged=True,
)
QUICK = Extent(
    seeds=3,
    dqn_slots=1_200,
    other_slots=2_000,
    sweep_dqn_slots=1_200,
    sweep_other_slots=2_000,
    rates=(1e-3,),
    discounts=(0.99,),
    loads=(0.5e5, 5e5),
    judged=False,
)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What a run left behind."""

    markdown: Path
    page: Path
    rows: Mapping[str, Mapping[str, Row]]
    """By preset, then policy."""
    checks: tuple[Check, ...]


def reproduce(
    out: Path,
    extent: Extent = FULL,
    *,
    executor: Executor | None = None,
    progress: Progress = lambda done, of, line: None,
) -> Reproduction:
    """Write report, tables and figures into ``out``; trainings there are gone on with or taken as they are.

    Raises ``TrainingError`` where a main training leaves no policy, or the folder holds trainings of another extent.
    """
    scenarios = {name: load_scenario(name) for name in PRESETS}
    jobs = _jobs(scenarios, extent, out / "training")
    done: list[TrainDone] = []
    for trained in (executor or Serial()).map(train_job, jobs):
        done.append(trained)
        progress(len(done), len(jobs), f"trained {trained.job.method} in {trained.job.scenario.name}")
    mains = {(d.job.scenario.name, d.job.method): d for d in done if d.job.rate is None and d.job.discount is None}
    for trained in mains.values():
        if trained.path is None:
            raise TrainingError(trained.trouble)
    flown = {name: _fly_all(scenario, mains, extent.seeds) for name, scenario in scenarios.items()}
    rows = {
        preset: {name: summarise(orbits, every["bound"], every[FIXED]) for name, orbits in every.items()}
        for preset, every in flown.items()
    }
    sweeps = _sweeps(scenarios["paper"], done, extent)
    out.mkdir(parents=True, exist_ok=True)
    _draw(out, scenarios, extent, mains, flown, rows, sweeps)
    slots = timeline_of(scenarios["paper"]).episode_slots
    again = all(
        _fly(scenarios[preset], _trained(scenarios[preset], mains, method), extent.seeds) == flown[preset][method]
        for preset in PRESETS
        for method in METHODS
    )
    checks = acceptance(scenarios["paper"], rows["paper"], FIXED, again, extent.judged)
    material = Material(
        scenarios["paper"],
        decisions(scenarios["paper"], rows, flown),
        rows,
        {preset: {m: mains[preset, m] for m in METHODS} for preset in PRESETS},
        sweeps,
        checks,
        extent.seeds,
        slots,
        FIXED,
        action_names(scenarios["paper"]),
    )
    markdown, page = write_report(out, material)
    return Reproduction(markdown, page, rows, checks)


def _jobs(scenarios: Mapping[str, Scenario], extent: Extent, folder: Path) -> list[TrainJob]:
    jobs = []
    for method in METHODS:
        slots = extent.dqn_slots if method == "dqn" else extent.other_slots
        jobs += [TrainJob(method, s, slots, 0, folder / f"{method}-{name}") for name, s in scenarios.items()]
    for method in METHODS:
        slots = extent.sweep_dqn_slots if method == "dqn" else extent.sweep_other_slots
        for rate, discount in _points(extent):
            place = folder / f"{method}-{rate:g}-{discount:g}"
            jobs.append(TrainJob(method, scenarios["paper"], slots, 0, place, rate, discount))
    return jobs


def _points(extent: Extent) -> list[tuple[float, float]]:
    """Return rate and discount of each training of Figure 12: one is swept, the other is the paper's."""
    return list(dict.fromkeys([(rate, 0.99) for rate in extent.rates] + [(1e-3, d) for d in extent.discounts]))


def _fly(scenario: Scenario, policy: Policy, seeds: int, *, keep_floor: bool = True) -> Orbits:
    return tuple(fly_orbit(scenario, seed, policy, keep_floor=keep_floor) for seed in range(seeds))


def _trained(scenario: Scenario, mains: Mapping[tuple[str, str], TrainDone], method: str) -> Policy:
    return make_policy(f"{method}:{mains[scenario.name, method].path}", scenario, seed=0)


def _fly_all(scenario: Scenario, mains: Mapping[tuple[str, str], TrainDone], seeds: int) -> dict[str, Orbits]:
    flown = {"bound": tuple(fly_bound(scenario, seed) for seed in range(seeds))}
    flown |= {method: _fly(scenario, _trained(scenario, mains, method), seeds) for method in METHODS}
    flown["greedy"] = _fly(scenario, make_policy("greedy", scenario, seed=0), seeds)
    for kind in SHIPPED if scenario.name == "paper" else ("universal",):
        flown[f"{kind}, as shipped"] = _fly(scenario, make_policy(kind, scenario, seed=0), seeds)
    for model in scenario.pool.models:
        name = f"fixed:{model.name}"
        flown[name] = _fly(scenario, make_policy(name, scenario, seed=0), seeds, keep_floor=False)
    return flown


def _sweeps(
    scenario: Scenario, done: list[TrainDone], extent: Extent
) -> dict[str, dict[str, dict[float, Interval | None]]]:
    """Return the mean index by learning rate and by discount, for each method; None where no policy could be kept."""
    graded: dict[tuple[str, float, float], Interval | None] = {}
    for trained in done:
        job = trained.job
        if job.rate is None or job.discount is None:
            continue
        graded[job.method, job.rate, job.discount] = None
        if trained.path is not None:
            policy = make_policy(f"{job.method}:{trained.path}", scenario, seed=0)
            graded[job.method, job.rate, job.discount] = _index(_fly(scenario, policy, extent.seeds))
    return {
        "learning rate": {m: {rate: graded[m, rate, 0.99] for rate in extent.rates} for m in METHODS},
        "discount": {m: {discount: graded[m, 1e-3, discount] for discount in extent.discounts} for m in METHODS},
    }


def _by_load(
    scenario: Scenario, mains: Mapping[tuple[str, str], TrainDone], extent: Extent
) -> dict[str, dict[float, Interval]]:
    methods: dict[str, dict[float, Interval]] = {name: {} for name in ("bound", *METHODS)}
    for load in extent.loads:
        tiles = {"workload.tile_min": str(load), "workload.tile_max": str(load)}
        loaded = load_scenario(scenario.name, tiles)
        methods["bound"][load] = _index(tuple(fly_bound(loaded, seed) for seed in range(extent.seeds)))
        for method in METHODS:
            methods[method][load] = _index(_fly(loaded, _trained(scenario, mains, method), extent.seeds))
    return methods


def _index(orbits: Orbits) -> Interval:
    return mean_ci95([sum(line.index for line in orbit) / len(orbit) for orbit in orbits])


def _draw(
    out: Path,
    scenarios: Mapping[str, Scenario],
    extent: Extent,
    mains: Mapping[tuple[str, str], TrainDone],
    flown: Mapping[str, Mapping[str, Orbits]],
    rows: Mapping[str, Mapping[str, Row]],
    sweeps: Mapping[str, Mapping[str, Mapping[float, Interval | None]]],
) -> None:
    slots = timeline_of(scenarios["paper"]).episode_slots
    bound = {preset: rows[preset]["bound"].index.mean for preset in PRESETS}
    figures.figure_8(out, flown)
    figures.figure_9(out, {name: _by_load(scenario, mains, extent) for name, scenario in scenarios.items()})
    figures.figure_10(out, flown, FIXED)
    curves = {preset: {m: mains[preset, m].points for m in METHODS} for preset in PRESETS}
    figures.figure_11(out, curves, bound, slots)
    figures.figure_12(out, sweeps, bound["paper"])
    measures = {}
    for method in METHODS:
        trained = mains["paper", method]
        assert trained.path is not None
        measures[method] = {
            "index": rows["paper"][method].index.mean,
            "curve_variance": figures.curve_variance(trained.points, slots),
            "memory_byte": float(trained.path.stat().st_size),
            "training_s_measured": trained.seconds,
        }
    figures.figure_13(out, measures)
