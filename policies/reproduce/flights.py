"""Orbits of the paper's set-up, slot by slot, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from power_sim.metrics import aee_per_j
from power_sim.scenario import Scenario
from power_sim.simulator import Simulator

from ..confidence import Interval, mean_ci95
from ..decision import Policy
from ..rules import Greedy
from ..shield import Shield
from ..worth import worth_of


@dataclass(frozen=True, slots=True)
class SlotLine:
    """One slot of an orbit."""

    budget_j: float
    model: str
    index: float
    """Reward (19), which behaves as the paper's AEE index does (DECISION 4)."""
    aee: float
    """Equation (13)."""
    accuracy_frac: float
    """Tiles beyond the budget count as wrong."""
    energy_j: float
    short: bool
    """The budget did not do for all tiles."""


Orbit = tuple[SlotLine, ...]
Orbits = tuple[Orbit, ...]
"""One for each seed."""


def fly_orbit(scenario: Scenario, seed: int, policy: Policy, *, keep_floor: bool = True) -> Orbit:
    """Return the orbit of a seed, flown by a policy under the shield; fixed models ignore the accuracy floor."""
    simulator, shield = Simulator(scenario, seed), Shield(worth_of(scenario), keep_floor=keep_floor)
    lines = []
    while not simulator.over:
        state = simulator.observe()
        admitted = shield.admit(state, policy)
        index = admitted.decision.option_index
        outcome = simulator.advance(admitted.work, None if index is None else state.options[index])
        lines.append(
            SlotLine(
                state.budget_j,
                admitted.decision.model,
                outcome.reward,
                aee_per_j(outcome.correct_tile, outcome.energy_j),
                outcome.correct_tile / max(state.waiting_tile, 1),
                outcome.energy_j,
                outcome.tile < state.waiting_tile,
            )
        )
    return tuple(lines)


def fly_bound(scenario: Scenario, seed: int) -> Orbit:
    """Return the orbit of one who knows every draw: slots are not coupled, so that each slot's best is the optimum."""
    seen = replace(scenario, pool=replace(scenario.pool, visible=True))
    return fly_orbit(seen, seed, Greedy(worth_of(seen)))


@dataclass(frozen=True, slots=True)
class Row:
    """What one policy comes to over all seeds; intervals are 95 %."""

    index: Interval
    """Mean per slot."""
    sum: Interval
    """Over one orbit."""
    aee: Interval
    accuracy: Interval
    accuracy_max: float
    """Best orbit."""
    of_bound: float
    """Share of the bound's sum."""
    over_fixed: Interval
    """Gain over always MobileNetV2, orbit by orbit, as a share of its mean."""
    energy_j: float
    mix: Mapping[str, float]


def summarise(orbits: Orbits, bound: Orbits, fixed: Orbits) -> Row:
    """Return the row of a policy beside the bound and always MobileNetV2 on the same seeds."""
    sums, theirs = totals(orbits), totals(fixed)
    accuracy = [float(np.mean([line.accuracy_frac for line in orbit])) for orbit in orbits]
    names = [line.model for orbit in orbits for line in orbit]
    scale = float(np.mean(theirs))
    return Row(
        mean_ci95([float(np.mean([line.index for line in orbit])) for orbit in orbits]),
        mean_ci95(sums),
        mean_ci95([float(np.mean([line.aee for line in orbit])) for orbit in orbits]),
        mean_ci95(accuracy),
        max(accuracy),
        sum(sums) / sum(totals(bound)),
        mean_ci95([(ours - other) / scale for ours, other in zip(sums, theirs, strict=True)]),
        float(np.mean([sum(line.energy_j for line in orbit) for orbit in orbits])),
        {name: names.count(name) / len(names) for name in sorted(set(names))},
    )


def totals(orbits: Orbits) -> Sequence[float]:
    """Return each orbit's sum of the index."""
    return [sum(line.index for line in orbit) for orbit in orbits]
