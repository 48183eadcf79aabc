"""The best flight of a mission that is known beforehand: a dynamic programme over charge and queue.

Forward in time through the simulator itself: of all flights that reach about the same charge with about the same value
waiting, only the one worth most goes on. What it finds is flown, not estimated, so that the true optimum can only be
higher; with finer bins it comes closer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from power_sim.scenario import Scenario
from power_sim.vector import VectorSimulator

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """How finely flights are told apart."""

    charges: int = 300
    """Bins between the lowest and the highest charge that any flight has."""
    queues: int = 8
    """Bins of the value that waits."""
    flights: int = 3_000
    """Most that go on from a slot."""


@dataclass(frozen=True, slots=True, eq=False)
class _Flights:
    """Flights that have come to the same slot. Arrays (flights,) unless said."""

    value: Float64Array
    charge_j: Float64Array
    temperature_k: Float64Array
    queue_tile: Float64Array
    """(covers that wait, flights)."""

    def pick(self, which: NDArray[np.intp]) -> _Flights:
        """Return some of them, or some of them several times."""
        return _Flights(self.value[which], self.charge_j[which], self.temperature_k[which], self.queue_tile[:, which])


def best_flight(scenario: Scenario, seed: int, orbits: float | None = None, grid: Grid | None = None) -> float:
    """Return the value of the best flight found through the mission of ``seed``, known from its first slot.

    Only allowed options are flown, each on all tiles that fit, as the shield has it. The pool is taken as visible.
    """
    grid = grid or Grid()
    seen = replace(scenario, pool=replace(scenario.pool, visible=True))
    choices = len(seen.pool.models) + seen.limits.may_idle
    simulator = VectorSimulator(seen, grid.flights * choices, seed, 1, orbits)
    flights = _Flights(
        np.zeros(1), simulator.charge_j[:1].copy(), simulator.temperature_k[:1].copy(), simulator.queue_tile[:, :1]
    )
    ended = -np.inf
    for slot in range(simulator.bank.slots):
        flights, dead = _next(simulator, slot, flights, choices)
        ended = max(ended, dead)
        if not len(flights.value):
            return ended
        worth = flights.queue_tile.T @ simulator.queue_value
        flights = flights.pick(_best_of_each(flights.value, (flights.charge_j, worth), grid))
    return max(ended, float(flights.value.max()))


def _next(simulator: VectorSimulator, slot: int, flights: _Flights, choices: int) -> tuple[_Flights, float]:
    """Return every flight with every choice that is open to it, one slot on, and the best that ended in this slot."""
    lane, count = np.arange(simulator.copies), len(flights.value) * choices
    before = flights.pick(np.minimum(lane // choices, len(flights.value) - 1))
    action = lane % choices
    _, is_open = simulator.resume(slot, before.charge_j, before.temperature_k, before.queue_tile)
    step = simulator.step(action)
    value, flown = before.value + step.reward, is_open[lane, action] & (lane < count)
    after = _Flights(value, simulator.charge_j, simulator.temperature_k, simulator.queue_tile)
    dead = value[flown & step.terminated]
    return after.pick(np.flatnonzero(flown & ~step.terminated)), float(dead.max(initial=-np.inf))


def _best_of_each(value: Float64Array, axes: tuple[Float64Array, Float64Array], grid: Grid) -> NDArray[np.intp]:
    """Return the best flight of each bin, the best of all first, as many as may go on."""
    charge, queue = (_binned(axis, bins) for axis, bins in zip(axes, (grid.charges, grid.queues), strict=True))
    bin_of = charge * (grid.queues + 1) + queue
    order = np.lexsort((-value, bin_of))
    first = np.ones(len(order), np.bool_)
    first[1:] = bin_of[order][1:] != bin_of[order][:-1]
    best = order[first]
    return best[np.argsort(-value[best], kind="stable")[: grid.flights]]


def _binned(numbers: Float64Array, bins: int) -> NDArray[np.intp]:
    low, high = numbers.min(), numbers.max()
    return np.asarray((numbers - low) / max(high - low, 1e-9) * bins, np.intp)
