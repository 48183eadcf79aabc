"""``lookahead`` for many flights at once: the same linear programme of the forecast, solved for all of them together.

``frontier.stored_worths`` keeps what charge is worth as segments in order of falling slope. All slopes of a forecast
are known beforehand, so that here every segment has its place from the start, and a step back only moves the places'
ends: add the slot's own, take off what idling spills, cut at the capacity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from power_sim.episode import draw_episode
from power_sim.scenario import Scenario
from power_sim.timeline import awake_j, timeline_of

from .abreast import Actions, Due, Float64Array
from .frontier import Cell
from .lookahead import REPEATS, Outlook, outlook_of

_TINY = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class LookaheadAbreast:
    """Chooses as ``lookahead.Lookahead`` does, for all flights of a contest."""

    outlook: Outlook
    reserve_j: float
    awake_j: Float64Array
    """(options,)."""
    first: NDArray[np.intp]
    """(flights,): each mission's first slot in the timeline."""
    slots: int
    """Of a mission."""
    net_j: Float64Array
    """(timeline,): harvest less load."""
    value: Float64Array
    """(timeline,): expected."""

    def __call__(self, due: Due) -> Actions:
        """Return (n,): the choices; a flight in which nothing waits idles, for nothing is to be done there."""
        choice = np.full(len(due.flight), len(due.tile), np.intp)
        busy = (due.waiting_tile > 0) & due.open.any(axis=0)
        if busy.any():
            choice[busy] = self._plan(due.part(busy))
        if not due.may_idle:
            choice[~busy] = due.open[:, ~busy].argmax(axis=0)
        return choice

    def _plan(self, due: Due) -> Actions:
        """Return the best of worth now and worth of the charge that is left; the first of equal ones, idling first."""
        at = self.first[due.flight] + due.slot
        stop = min(due.slot + 1 + self.outlook.horizon_slots, self.slots) - due.slot
        ahead = at + np.arange(1, stop)[:, None]
        forecast = gains_of(self.outlook, due, self.awake_j[:, None, None], self.value[ahead], self.net_j[ahead])
        repeats = 1 + REPEATS * (len(ahead) >= self.outlook.horizon_slots)
        left_j = self._settled_j(due.charge_j, self.net_j[at] - np.vstack([due.work_j, np.zeros_like(at)]))
        stored = stored_after(self.outlook.cell, forecast, left_j[-1], self.reserve_j, repeats)
        scores = np.array([stored(charge_j) for charge_j in left_j])
        scores[:-1] += np.where(due.open, due.worth, -np.inf)
        best: Actions = scores[:-1].argmax(axis=0)
        if due.may_idle:
            best[scores[-1] >= scores[:-1].max(axis=0)] = len(due.tile)
        return best

    def _settled_j(self, charge_j: Float64Array, net_j: Float64Array) -> Float64Array:
        """Return what ``Cell.settled_j`` says, for arrays."""
        cell = self.outlook.cell
        full = np.maximum(cell.capacity_j, charge_j)
        stored = np.minimum(charge_j + np.minimum(net_j * cell.charge_eff_frac, cell.max_charge_j), full)
        return np.where(net_j >= 0.0, stored, np.maximum(charge_j + net_j / cell.discharge_eff_frac, 0.0))


def lookahead_abreast(scenario: Scenario, seed: int, count: int, orbits: float | None = None) -> LookaheadAbreast:
    """Return the planner for the missions with the seeds ``seed`` to ``seed + count - 1``."""
    line = timeline_of(scenario, orbits)
    first = [draw_episode(scenario, line, seed + n).first for n in range(count)]
    return LookaheadAbreast(
        outlook_of(scenario),
        line.plant.reserve_j,
        np.array(awake_j(scenario)),
        np.array(first, np.intp),
        line.episode_slots,
        line.harvest_j - line.bus_j,
        line.expected_value,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """What the slots of n forecasts make of charge, as ``frontier.Gain``; arrays (slots, n) unless said."""

    change_j: Float64Array
    free: Float64Array
    slope: Float64Array
    """(segments, slots, n): points per joule, in no order."""
    length_j: Float64Array
    """(segments, slots, n); 0 for segments that are none."""


def gains_of(outlook: Outlook, due: Due, awake: Float64Array, value: Float64Array, net_j: Float64Array) -> Gains:
    """Return ``frontier.gain_of`` for the slots ahead. ``value``, ``net_j``: (slots, n)."""
    tile = outlook.tile_per_value * value
    time_s, energy_j = due.time_s[:, None, :], due.energy_j[:, None, :]
    fits = np.minimum(1.0, due.time_budget_s / np.maximum(tile * time_s, 1e-9))
    gives = fits * value * due.accuracy_frac[:, None, :] * outlook.points_per_value
    slope, length = hulls(fits * tile * energy_j + awake, np.where(tile > 0, gives, 0.0))
    cell = outlook.cell
    surplus = np.maximum(net_j, 0.0)
    stored = np.minimum(surplus * cell.charge_eff_frac, cell.max_charge_j)
    most = surplus + np.minimum(net_j, 0.0) + cell.max_discharge_j
    spilt, spare = np.minimum(surplus - stored / cell.charge_eff_frac, most), np.minimum(surplus, most)
    ends = np.cumsum(length, axis=0)
    below = [_within(ends, length, edge) for edge in (np.maximum(spilt, 0.0), np.maximum(spare, 0.0), most)]
    charging, draining = (below[1] - below[0]) * cell.charge_eff_frac, (below[2] - below[1]) / cell.discharge_eff_frac
    return Gains(
        change_j=stored + np.minimum(net_j, 0.0) / cell.discharge_eff_frac,
        free=np.einsum("ktn,ktn->tn", slope, below[0]),
        slope=np.concatenate([slope / cell.charge_eff_frac, slope * cell.discharge_eff_frac]),
        length_j=np.maximum(np.concatenate([charging, draining]), 0.0),
    )


def _within(ends: Float64Array, length: Float64Array, edge: Float64Array) -> Float64Array:
    """Return how much of each segment lies below an edge."""
    return np.asarray(np.clip(edge - (ends - length), 0.0, length))


def hulls(energy_j: Float64Array, value: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return ``frontier.hull`` of many points at once: slopes and lengths, best first, 0 for segments that are none.

    ``energy_j``, ``value``: (points, ...). From the origin on, the steepest way up is taken again and again.

    >>> slope, length = hulls(np.array([2.0, 3.0, 4.0]), np.array([4.0, 4.5, 6.0]))
    >>> slope.tolist(), length.tolist()
    ([2.0, 1.0, 0.0], [2.0, 2.0, 0.0])
    """
    at_j, at = np.zeros(energy_j.shape[1:]), np.zeros(energy_j.shape[1:])
    slopes, lengths = np.zeros_like(energy_j), np.zeros_like(energy_j)
    for corner in range(len(energy_j)):
        rise = np.where((value > at) & (energy_j >= at_j), (value - at) / np.maximum(energy_j - at_j, _TINY), 0.0)
        steepest = rise.argmax(axis=0)[None]
        slopes[corner] = np.take_along_axis(rise, steepest, 0)[0]
        up = slopes[corner] > 0.0
        next_j = np.where(up, np.take_along_axis(energy_j, steepest, 0)[0], at_j)
        lengths[corner] = next_j - at_j
        at_j, at = next_j, np.where(up, np.take_along_axis(value, steepest, 0)[0], at)
    return slopes, lengths


@dataclass(frozen=True, slots=True, eq=False)
class StoredAbreast:
    """What charge is worth after the slot that is due, as ``frontier.Stored``."""

    floor_j: Float64Array
    """(n,)."""
    empty: Float64Array
    """(n,)."""
    fall: Float64Array
    """(places, n): by how much each slope exceeds the next one."""
    ends_j: Float64Array
    """(places, n): where each slope's segments end, above the floor."""

    def __call__(self, charge_j: Float64Array) -> Float64Array:
        """Return the worth of (n,) charges."""
        return self.empty + worth_below(self.fall, self.ends_j, np.maximum(charge_j - self.floor_j, 0.0))


def worth_below(fall: Float64Array, ends_j: Float64Array, energy_j: Float64Array) -> Float64Array:
    """Return the value of the first ``energy_j`` (n,) joules: slopes times lengths, summed by parts."""
    return np.asarray(np.einsum("mn,mn->n", fall, np.minimum(ends_j, energy_j)))


def stored_after(cell: Cell, gains: Gains, idle_j: Float64Array, reserve_j: float, repeats: int) -> StoredAbreast:
    """Return what charge is worth before the slots of ``gains``, flown ``repeats`` times; ``idle_j`` (n,): the charge
    that idling now would leave."""
    segments, slots, n = gains.slope.shape
    order = np.argsort(-gains.slope.reshape(segments * slots, n), axis=0, kind="stable")
    slope = np.take_along_axis(gains.slope.reshape(segments * slots, n), order, 0)
    fall = slope - np.vstack([slope[1:], np.zeros((1, n))]) if slots else slope
    own = _own_ends(gains.length_j, order)
    change = np.concatenate([gains.change_j] * repeats)
    lowest = _lowest(change, idle_j, reserve_j, cell.capacity_j)
    spilt, room = np.maximum(lowest[:-1] + change - lowest[1:], 0.0), cell.capacity_j - lowest[:-1]
    spills = [bool(row.any()) for row in spilt]
    ends, empty = np.zeros((segments * slots, n)), repeats * gains.free.sum(axis=0)
    for step in range(len(change) - 1, -1, -1):
        adds = own[step % slots]
        if adds is not None:
            ends += adds
        if spills[step]:
            empty += worth_below(fall, ends, spilt[step])
            ends -= spilt[step]
            np.maximum(ends, 0.0, out=ends)
        np.minimum(ends, room[step], out=ends)
    return StoredAbreast(lowest[0], empty, fall, ends)


def _own_ends(length_j: Float64Array, order: NDArray[np.intp]) -> Sequence[Float64Array | None]:
    """Return for each slot by how much its own segments move the ends (places, n); None where there are none."""
    segments, slots, n = length_j.shape
    slot_of = order % slots if slots else order
    found: list[Float64Array | None] = []
    placed = np.take_along_axis(length_j.reshape(segments * slots, n), order, 0)
    for slot in range(slots):
        some = length_j[:, slot].any()
        found.append(np.cumsum(np.where(slot_of == slot, placed, 0.0), axis=0) if some else None)
    return found


def _lowest(change_j: Float64Array, idle_j: Float64Array, reserve_j: float, capacity_j: float) -> Float64Array:
    """Return (slots + 1, n): ``frontier.lowest_charges`` down to ``lookahead.viable_floors``."""
    floors = np.full((len(change_j) + 1, len(idle_j)), reserve_j)
    for slot in range(len(change_j) - 1, -1, -1):
        floors[slot] = np.minimum(np.maximum(floors[slot + 1] - change_j[slot], reserve_j), capacity_j)
    lowest = np.empty_like(floors)
    lowest[0] = np.minimum(idle_j, floors[0])
    for slot, change in enumerate(change_j):
        lowest[slot + 1] = np.maximum(np.minimum(lowest[slot] + change, floors[slot + 1]), 0.0)
    return lowest
