"""Chooses by the prices of the mission's programme, as one who knows the slot and what to expect of those ahead."""

from __future__ import annotations

import numpy as np

from power_sim.slot import IDLE, SlotState, Work

from .lookahead import cell_of
from .programme import Float64Array, Mission, Prices, solve
from .survey import Survey
from .worth import Worth


class Seer:
    """Scores each option by its worth now plus what the optimum would pay for the charge and the tiles that it leaves.

    ``seen`` is the mission as it comes, ``expected`` what is thought of the slots ahead, of which it plans ``reach``.
    Call ``settle`` after each slot.
    """

    def __init__(self, seen: Mission, expected: Mission, worth: Worth, *, reach: int) -> None:
        self._seen, self._expected, self._worth, self._reach = seen, expected, worth, reach
        self._cell = cell_of(seen.plant)
        self._queue = np.zeros(seen.arrived_tile.shape[1])
        self._slot = 0

    def scores(self, state: SlotState, options: Survey) -> dict[int | None, float]:
        """Return the score of each allowed option, and of idling (``None``) where it is allowed."""
        prices = solve(self._ahead(state.charge_j))
        scores: dict[int | None, float] = {None: self._left(prices, state, IDLE)} if state.may_idle else {}
        for index in options.allowed:
            work = options.works[index]
            scores[index] = self._worth(state, state.options[index], work) + self._left(prices, state, work)
        return scores

    def settle(self, tile: int) -> None:
        """Carry the queue on after ``tile`` tiles were done."""
        self._queue = self._kept(tile)
        self._slot += 1

    def _ahead(self, charge_j: float) -> Mission:
        """Return this slot as it is and the next ones as expected."""
        slot = self._slot
        ahead = self._expected.rest(slot, charge_j, self._queue, self._reach)
        ahead.arrived_tile[0] = self._seen.arrived_tile[slot] + self._queue
        return ahead.with_first(self._seen, slot)

    def _left(self, prices: Prices, state: SlotState, work: Work) -> float:
        """Return what charge and queue are worth after ``work``, at the optimum's prices."""
        charge_j = self._cell.settled_j(state.charge_j, state.harvest_j - state.load_j - work.energy_j)
        worth = charge_j * float(prices.charge_per_j[0])
        if len(prices.tile) > 1:
            worth += float(self._kept(work.tile) @ prices.tile[1])
        return worth

    def _kept(self, tile: int) -> Float64Array:
        """Return the queue after ``tile`` tiles were done, most valuable covers first within its size."""
        mission = self._seen
        mix = self._queue + mission.arrived_tile[self._slot]
        waiting = float(mix.sum())
        left = np.floor(mix * (1.0 - tile / waiting) * mission.stays) if waiting > 0 else mix
        room = np.maximum(mission.plant.queue_max_tile - np.concatenate(([0.0], np.cumsum(left)[:-1])), 0.0)
        kept: Float64Array = np.minimum(left, room)
        return kept
