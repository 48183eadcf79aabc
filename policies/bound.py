"""The most that a mission can be worth to one who knows it all: an upper bound (``optimum`` finds the best flight).

Scenarios with a battery that remembers are a linear programme (``programme``). Scenarios of the paper's kind couple no
slots, and the best option of each slot is the optimum.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from power_sim.scenario import Scenario
from power_sim.simulator import Simulator
from power_sim.slot import IDLE
from power_sim.timeline import timeline_of

from .programme import NO_SOLVER, mission_of, solve
from .survey import survey
from .worth import worth_of


def upper_bound(scenario: Scenario, seed: int, orbits: float | None = None) -> float:
    """Return a value that no policy can exceed in the mission of ``seed``.

    Raises ``EvaluationError`` where the scenario needs a solver and none is installed.
    """
    if timeline_of(scenario, orbits).plant.paper:
        return _slot_by_slot(scenario, seed, orbits)
    return solve(mission_of(scenario, seed, orbits)).value


def why_no_bound(scenario: Scenario) -> str:
    """Return why the bound of a scenario cannot be computed here, empty where it can."""
    if scenario.power.kind == "paper" or find_spec("highspy") is not None:
        return ""
    return NO_SOLVER


def _slot_by_slot(scenario: Scenario, seed: int, orbits: float | None) -> float:
    """Return the sum of each slot's best reward, on the budgets of a craft that has spent nothing before."""
    seen = replace(scenario, pool=replace(scenario.pool, visible=True))
    simulator, worth = Simulator(seen, seed, orbits), worth_of(scenario)
    total = 0.0
    while simulator.slot < simulator.slots:
        state = simulator.observe()
        options = survey(state)
        total += max(worth(state, state.options[i], options.works[i]) for i in options.allowed)
        simulator.advance(IDLE, None)
    return total
