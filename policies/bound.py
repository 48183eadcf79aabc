"""The most that a mission can be worth to one who knows it all: an upper bound, and a flight that nearly reaches it.

Scenarios with a battery that remembers are a linear programme (``programme``). Scenarios of the paper's kind couple no
slots, and the best option of each slot is the optimum.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from power_sim.scenario import Scenario
from power_sim.simulator import Simulator
from power_sim.slot import IDLE, SlotState, Work
from power_sim.timeline import timeline_of

from .decision import Decision, Policy, choose, idle
from .lookahead import cell_of
from .programme import NO_SOLVER, Float64Array, mission_of, solve
from .rules import Greedy
from .shield import Shield
from .survey import survey
from .worth import worth_of

SOLVE_EVERY_SLOT = 4


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


def perfect_flight(scenario: Scenario, seed: int, orbits: float | None = None) -> float:
    """Return what one who knows the mission really flies home, through the simulator and under the shield's rules.

    A value that can be reached, so that the optimum lies between it and ``upper_bound``. It follows the prices of the
    linear programme, solved anew every few slots.
    """
    seen = replace(scenario, pool=replace(scenario.pool, visible=True))
    simulator, worth = Simulator(seen, seed, orbits), worth_of(scenario)
    seer = None if timeline_of(scenario, orbits).plant.paper else _Seer(scenario, seed, orbits)
    shield, value, over = Shield(worth), 0.0, False
    policy: Policy = seer or Greedy(worth)
    while not over:
        state = simulator.observe()
        admitted = shield.admit(state, policy)
        index = admitted.decision.option_index
        outcome = simulator.advance(admitted.work, None if index is None else state.options[index])
        if seer is not None:
            seer.settle(admitted.work.tile)
        value, over = value + outcome.reward, outcome.truncated or outcome.terminated
    return value


class _Seer:
    """Chooses by worth now plus what the optimum would pay for the charge and the tiles that are left."""

    name = "perfect information"

    def __init__(self, scenario: Scenario, seed: int, orbits: float | None) -> None:
        self._mission, self._worth = mission_of(scenario, seed, orbits), worth_of(scenario)
        self._cell = cell_of(self._mission.plant)
        self._queue = np.zeros(self._mission.arrived_tile.shape[1])
        self._slot = self._solved_at = 0
        self._prices = solve(self._mission)

    def decide(self, state: SlotState) -> Decision:
        """Return the option of the best sum."""
        if self._slot - self._solved_at >= SOLVE_EVERY_SLOT:
            self._prices = solve(self._mission.rest(self._slot, state.charge_j, self._queue))
            self._solved_at = self._slot
        options = survey(state)
        scores: dict[int | None, float] = {None: self._left(state, IDLE)} if state.may_idle else {}
        for index in options.allowed:
            work = options.works[index]
            scores[index] = self._worth(state, state.options[index], work) + self._left(state, work)
        best = max(scores, key=lambda index: scores[index], default=None)
        return idle("worth more later") if best is None else choose(state.options, best, "worth most by the prices")

    def settle(self, tile: int) -> None:
        """Carry the queue on."""
        self._queue = self._kept(tile)
        self._slot += 1

    def _left(self, state: SlotState, work: Work) -> float:
        """Return what charge and queue are worth after ``work``, at the optimum's prices."""
        charge_j = self._cell.settled_j(state.charge_j, state.harvest_j - state.load_j - work.energy_j)
        at = self._slot - self._solved_at
        worth = charge_j * float(self._prices.charge_per_j[at])
        if at + 1 < len(self._prices.tile):
            worth += float(self._kept(work.tile) @ self._prices.tile[at + 1])
        return worth

    def _kept(self, tile: int) -> Float64Array:
        """Return the queue after ``tile`` tiles were done, most valuable covers first within its size."""
        mission = self._mission
        mix = self._queue + mission.arrived_tile[self._slot]
        waiting = float(mix.sum())
        left = np.floor(mix * (1.0 - tile / waiting) * mission.stays) if waiting > 0 else mix
        room = np.maximum(mission.plant.queue_max_tile - np.concatenate(([0.0], np.cumsum(left)[:-1])), 0.0)
        kept: Float64Array = np.minimum(left, room)
        return kept
