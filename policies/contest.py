"""What ``auto`` takes where no card knows the scenario: a contest in the mission's own scenario, flown beforehand.

Every contestant flies the same missions in our own simulator, with seeds that nobody trains on or is graded on. The
verdict depends on the scenario and the policy file alone: no clock, no search that stops when time is up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from power_sim.errors import PowerSimError
from power_sim.scenario import Scenario, read_scenario
from power_sim.timeline import timeline_of

from . import abreast
from .abreast import Chooser, Float64Array, fly_abreast
from .abreast_lookahead import lookahead_abreast
from .lookahead import typical_points_per_j
from .network import load_policy_file
from .rules import Barrier, Threshold
from .universal import universal_policy

UNIVERSAL, LOOKAHEAD = "universal", "lookahead"
CONTEST_SEED = 700_000
"""Seeds of a contest's missions start here: grades are given on seeds from 0, settings chosen from 500,000, learned
from 1,000,000."""
MISSIONS, LEAST_MISSIONS, SLOTS = 64, 16, 6_400
"""At most and at least so many missions; between them, as many as have so many slots together."""
CLEAR_SE = 1.0
"""By how many standard errors of the paired difference a challenger must lead to be taken."""
LEAST_LEAD_FRAC = 1e-6
"""And by how much of the mean value at least: sums differ in their last digits."""
PLANNED_SLOTS = 400
"""Flights are cut to as many whole orbits as fit; ``lookahead``, which plans in every slot, sits out in longer ones."""
LEAST_ORBITS = 4
"""But not below this: over a short flight a full battery makes a spendthrift look good."""
SLOTS_MAX = 2_400
"""Unless they do not fit here. Where one orbit alone does not, a contest would take seconds, and none is held."""
FROM_ORBIT = ("tle", "omm", "sgp4", "keplerian")


@dataclass(frozen=True, slots=True)
class Contestant:
    """What one policy made of a contest's missions, in points."""

    value_mean: float
    ahead_mean: float
    """Of ``universal``, on the same missions."""
    ahead_se: float
    """Standard error of that."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which policy ``auto`` takes, and why."""

    policy: str
    by: str
    """``cards``, ``contest``, or ``default`` where neither knows anything."""
    reason: str
    """One sentence for a person."""
    scenario_sha256: str
    universal_sha256: str = ""
    missions: int = 0
    contestants: Mapping[str, Contestant] = field(default_factory=dict)

    def table(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self)


def hold_contest(scenario: Scenario, universal: Path) -> Verdict:
    """Return who does best in ``scenario``: ``universal`` with the policy file at that path, or a rule.

    A rule is taken where it leads clearly, ``lookahead`` where it leads clearly before the best of the others, too.
    Held once per process. Raises ``PolicyFileError`` for a file that holds no such policy.
    """
    file = load_policy_file(universal)
    universal_policy(file, universal.name)
    return _held(json.dumps(scenario.to_table(), sort_keys=True), str(universal), file.sha256)


@lru_cache(maxsize=64)
def _held(table_json: str, universal: str, universal_sha256: str) -> Verdict:
    table = json.loads(table_json)
    scenario = read_scenario(table, table["name"])
    known = scenario.sha256, universal_sha256
    try:
        flown, slots = as_flown(scenario)
        if slots > SLOTS_MAX:
            reason = f"no contest: {slots} slots in one flight are too many to try out before a start"
            return Verdict(UNIVERSAL, "default", reason, *known)
        missions = min(MISSIONS, max(LEAST_MISSIONS, SLOTS // slots))
        values = fly_all(flown, Path(universal), missions, planning=slots <= PLANNED_SLOTS)
    except PowerSimError as error:
        return Verdict(UNIVERSAL, "default", f"no contest: {error}", *known)
    winner, reason = judge(values)
    contestants = {name: _contestant(own, values[UNIVERSAL]) for name, own in values.items()}
    return Verdict(winner, "contest", reason, *known, missions, contestants)


def as_flown(scenario: Scenario) -> tuple[Scenario, int]:
    """Return the scenario with flights of as many whole orbits as a contest has time for, and how many slots they
    have; a sortie is flown whole."""
    orbit = scenario.orbit
    if orbit.kind not in FROM_ORBIT:
        return scenario, max(1, round(orbit.orbits * orbit.slots_per_orbit))
    one = timeline_of(replace(scenario, orbit=replace(orbit, window_days=0.0)), 1.0).episode_slots
    whole = max(PLANNED_SLOTS // one, min(LEAST_ORBITS, SLOTS_MAX // one), 1)
    orbits = min(orbit.orbits, float(whole))
    return replace(scenario, orbit=replace(orbit, orbits=orbits)), max(1, round(orbits * one))


def fly_all(
    scenario: Scenario, universal: Path, missions: int, *, planning: bool, seed: int = CONTEST_SEED
) -> dict[str, Float64Array]:
    """Return what each contestant makes of each mission, (missions,); ``planning`` lets ``lookahead`` take part."""
    choosers = choosers_of(scenario, universal)
    with np.errstate(all="ignore"):  # a policy gone mad loses, it does not warn
        values = fly_abreast(scenario, list(choosers.values()), seed, missions)
        flown = dict(zip(choosers, values, strict=True))
        if planning:
            planner = lookahead_abreast(scenario, seed, missions)
            flown[LOOKAHEAD] = fly_abreast(scenario, [planner], seed, missions)[0]
    return flown


def choosers_of(scenario: Scenario, universal: Path) -> dict[str, Chooser]:
    """Return the contestants that decide by one slot alone, by name."""
    plant = timeline_of(scenario).plant
    battery = plant.capacity_j, plant.reserve_j
    choosers = {
        UNIVERSAL: abreast.universal(load_policy_file(universal).network),
        "greedy": abreast.greedy,
        "threshold": abreast.threshold(Threshold(), *battery),
        "barrier": abreast.barrier(Barrier(typical_points_per_j(scenario)), *battery),
    }
    for index, model in enumerate(scenario.pool.models):
        choosers.setdefault(f"fixed:{model.name}", abreast.fixed(index))
    return choosers


def judge(values: Mapping[str, Float64Array]) -> tuple[str, str]:
    """Return who wins, and why in words. ``values``: (missions,) of each contestant, the same missions for all.

    >>> judge({"universal": np.array([4.0, 4.0]), "greedy": np.array([5.0, 5.2])})
    ('greedy', 'greedy is worth 27.5 % (+- 2.5 %) more than universal in 2 flights')
    >>> judge({"universal": np.array([4.0, 4.0]), "greedy": np.array([5.0, 3.5])})
    ('universal', 'no rule leads universal clearly in 2 flights')
    """
    rules = [name for name in values if name not in (UNIVERSAL, LOOKAHEAD)]
    best = max(rules, key=lambda name: float(np.nan_to_num(values[name].mean(), nan=-np.inf)))
    winner = UNIVERSAL
    for challenger in (best, *(name for name in values if name == LOOKAHEAD)):
        if leads_clearly(values[challenger], values[winner]):
            winner = challenger
    flights = f"in {len(values[UNIVERSAL])} flights"
    if winner == UNIVERSAL:
        return winner, f"no rule leads universal clearly {flights}"
    lead, scale = _contestant(values[winner], values[UNIVERSAL]), abs(float(values[UNIVERSAL].mean())) or 1.0
    shares = f"{100 * lead.ahead_mean / scale:.3g} % (+- {100 * lead.ahead_se / scale:.2g} %)"
    return winner, f"{winner} is worth {shares} more than universal {flights}"


def leads_clearly(own: Float64Array, other: Float64Array) -> bool:
    """Tell whether a contestant leads by more than the noise of the paired differences; False for a broken one."""
    lead = _contestant(own, other)
    return lead.ahead_mean > max(CLEAR_SE * lead.ahead_se, LEAST_LEAD_FRAC * abs(float(other.mean())))


def _contestant(own: Float64Array, universal: Float64Array) -> Contestant:
    ahead = own - universal
    return Contestant(float(own.mean()), float(ahead.mean()), float(ahead.std(ddof=1) / np.sqrt(len(ahead))))
