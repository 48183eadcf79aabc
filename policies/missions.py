"""Random missions to learn from and to be graded on: orbit, season, ageing, battery, load, covers and pool vary."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from power_sim.profiles import ModelProfile
from power_sim.scenario import Scenario, check_scenario, load_scenario
from power_sim.sections import OrbitSection, PowerSection, WorkloadSection
from power_sim.timeline import timeline_of

BASES = ("cubesat-6u", "cubesat-6u", "eclipse-heavy", "iss-orbit", "sentinel-like", "uav-survey")
"""Drawn from with equal probability: the tight ones more often."""

LEAST_SURPLUS = 1.15


def random_mission(seed: int, bases: Sequence[str] = BASES) -> Scenario:
    """Return a variant of a built-in scenario that can go on for good; equal seeds give equal missions.

    >>> random_mission(3) == random_mission(3), random_mission(3) == random_mission(4)
    (True, False)
    """
    rng = random.Random(f"mission {seed}")
    while not sustains(mission := _draw(seed, rng, bases)):
        pass
    return mission


def sustains(scenario: Scenario) -> bool:
    """Tell whether the sunlight carries bus and idle compute with something to spare; a sortie lives on its battery."""
    if scenario.orbit.kind == "sortie":
        return True
    line = timeline_of(scenario)
    return float(line.harvest_j.sum()) > LEAST_SURPLUS * float(line.load_j.sum())


def _draw(seed: int, rng: random.Random, bases: Sequence[str]) -> Scenario:
    base = load_scenario(rng.choice(bases))
    changed = replace(
        base,
        name=f"{base.name}-{seed}",
        orbit=_orbit(base, rng),
        power=_power(base, rng),
        workload=_workload(base, rng),
        pool=replace(base.pool, models=_pool(base.pool.models, rng)),
    )
    return check_scenario(changed, changed.name)


def _orbit(base: Scenario, rng: random.Random) -> OrbitSection:
    orbit = base.orbit
    if orbit.kind == "sortie":
        return orbit
    orbit = replace(orbit, window_days=3.0, orbits=rng.choice((2.0, 3.0, 4.0)))
    if orbit.kind == "tle":
        return orbit
    start_utc = f"2026-{rng.randrange(1, 13):02d}-{rng.randrange(1, 28):02d}T00:00:00Z"
    local_h = rng.choice((6.0, 8.0, 9.5, 10.5, 12.0, 13.5)) if orbit.ltdn_h is not None else None
    return replace(orbit, start_utc=start_utc, altitude_km=rng.uniform(420.0, 650.0), ltdn_h=local_h)


def _power(base: Scenario, rng: random.Random) -> PowerSection:
    power = base.power
    full = rng.uniform(0.9, 1.0)
    if power.panel_mount == "none":
        return replace(power, battery_health_frac=rng.uniform(0.945, 1.0))
    return replace(
        power,
        battery_wh=power.battery_wh * rng.uniform(0.8, 1.5),
        battery_health_frac=rng.uniform(0.8, 1.0),
        panel_health_frac=rng.uniform(0.75, 1.0),
        initial_charge_min_frac=full - 0.1,
        initial_charge_max_frac=full,
    )


def _workload(base: Scenario, rng: random.Random) -> WorkloadSection:
    work, load = base.workload, rng.choice((0.5, 0.7, 1.0, 1.0, 1.5, 2.0, 3.0))
    covers = {
        name: replace(
            cover,
            tile_per_s=cover.tile_per_s * load * rng.uniform(0.7, 1.4),
            swath_frac=cover.swath_frac * min(load, 1.5) * rng.uniform(0.7, 1.2),
            value=cover.value * rng.uniform(0.6, 1.6),
        )
        for name, cover in work.covers.items()
    }
    return replace(
        work,
        covers=covers,
        cloud_mean_frac=rng.uniform(0.2, 0.6) if work.cloud_mean_frac > 0 else 0.0,
        queue_max_tile=round(work.queue_max_tile * rng.choice((0.0, 0.5, 1.0, 2.0))),
    )


def _pool(models: Sequence[ModelProfile], rng: random.Random) -> tuple[ModelProfile, ...]:
    """Return two to four networks: dearer, cheaper, better or worse than the ones that ship."""
    names = list(models)
    drawn = [names[i % len(names)] for i in rng.sample(range(2 * len(names)), rng.choice((2, 3, 3, 3, 4)))]
    return tuple(_other(model, f"{model.name}-{n}", rng) for n, model in enumerate(drawn))


def _other(model: ModelProfile, name: str, rng: random.Random) -> ModelProfile:
    cost, skill = rng.uniform(0.6, 2.0), rng.uniform(0.6, 1.8)
    return replace(
        model,
        name=name,
        energy_min_j=model.energy_min_j * cost,
        energy_max_j=model.energy_max_j * cost,
        time_min_s=model.time_min_s * cost,
        time_max_s=model.time_max_s * cost,
        recall_by_class={label: recall**skill for label, recall in model.recall_by_class.items()},
    )
