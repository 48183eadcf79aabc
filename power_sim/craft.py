"""The state of one craft, slot by slot, in plain numbers: the fast core under ``Simulator`` and the scalar
environment."""

from __future__ import annotations

from operator import mul

import numpy as np

from . import dynamics
from .episode import Episode
from .metrics import effective_accuracy_frac, paper_reward, value_reward
from .observation import Scales
from .ops import on_numbers
from .scenario import Scenario
from .timeline import ZERO_C_K, Timeline, awake_j

_TINY = 1e-9
_INF = float("inf")
TRACE = 1e-12
"""Value of a trace of average tiles that always waits, so that an empty slot has an accuracy too."""
_admitted_tile = on_numbers(dynamics.admitted_tile)
_budget_j = on_numbers(dynamics.budget_j)
_paper_budget_j = on_numbers(dynamics.paper_budget_j)
_next_charge_j = on_numbers(dynamics.next_charge_j)
_paper_next_charge_j = on_numbers(dynamics.paper_next_charge_j)
_heat_budget_j = on_numbers(dynamics.heat_budget_j)
_time_budget_s = on_numbers(dynamics.time_budget_s)
_next_temperature_k = on_numbers(dynamics.next_temperature_k)


class Craft:
    """Battery, heat, queue and backlog of one craft. ``begin``, then for each slot ``prepare`` and ``apply``."""

    __slots__ = (
        "_arrived", "_arrived_tile", "_arrived_value", "_arrived_worth", "_awake", "_constant", "_downlink",
        "_energy", "_floor", "_floor_frac", "_harvest", "_initial_k", "_keeps", "_load", "_no_tiles",
        "_no_worth", "_queue_value", "_queue_worth", "_queued", "_ready", "_reward", "_shift", "_shown",
        "_sink", "_time", "_trace", "_value", "_values", "_visible", "_worth", "_worth_rows", "accuracy_frac",
        "arrived_tile", "awake_j", "backlog_byte", "before_j", "budget_j", "charge_j", "done_accuracy_frac",
        "done_tile", "done_value", "downlink_byte", "energy_j", "first", "harvested_j", "healthy",
        "heat_budget_j", "load_j", "plant", "queue_tile", "queued_tile", "reserve_violated", "reward", "scales",
        "sent_byte", "shed_tile", "slot", "slots", "spent_j", "temperature_k", "terminated", "tile",
        "time_budget_s", "time_s", "unserved_j", "value_per_correct", "waiting_tile",
    )  # fmt: skip

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        self.plant = plant = timeline.plant
        self.scales = Scales(plant.capacity_j, plant.reserve_j, plant.limit_k)
        self._reward = scenario.reward
        self._floor_frac = scenario.limits.accuracy_floor_frac
        self._initial_k = scenario.thermal.initial_c + ZERO_C_K
        self._visible = scenario.pool.visible
        models = scenario.pool.models
        self._shown = [m.energy_j for m in models], [m.time_s for m in models]
        self._harvest: list[float] = timeline.harvest_j.tolist()
        self._load: list[float] = timeline.load_j.tolist()
        self._floor: list[float] = timeline.floor_j.tolist()
        self._sink: list[float] = timeline.sink_k.tolist()
        self._downlink: list[float] = timeline.downlink_byte.tolist()
        self._value: list[float] = timeline.value.tolist()
        self._queued: list[float] = timeline.queued.tolist()
        self._worth_rows = timeline.accuracy * timeline.value
        self._worth: list[list[float]] = self._worth_rows.tolist()
        self._values = timeline.value
        self._trace: list[float] = (timeline.accuracy.mean(axis=1) * TRACE).tolist()
        self.awake_j = awake_j(scenario)
        self._awake = self.awake_j if any(self.awake_j) else None
        self._no_tiles = [0.0] * len(self._value)
        self._no_worth = [0.0] * len(models)
        self._keeps = bool(sum(self._queued)) and plant.queue_max_tile > 0
        self.healthy = [True] * len(models)
        self.terminated = True
        self.slot = self.slots = self.first = 0

    def begin(self, episode: Episode) -> None:
        """Start a mission. The lists end with one row for the moment after the last slot."""
        self.first, self.slots, self.slot = episode.first, episode.slots, 0
        arrived = np.vstack([episode.arrived_tile, np.zeros(len(self._value))])
        self._arrived: list[list[float]] = arrived.tolist()
        self._arrived_tile: list[float] = arrived.sum(axis=1).tolist()
        self._arrived_value: list[float] = (arrived @ self._values).tolist()
        self._arrived_worth: list[list[float]] = (arrived @ self._worth_rows.T).tolist()
        self._shift: list[list[float]] = episode.accuracy_shift.tolist()
        self._energy: list[list[float]] = episode.energy_j.tolist()
        self._time: list[list[float]] = episode.time_s.tolist()
        self._constant = len(self._shift) == 1
        for draws in (self._shift, self._energy, self._time):
            draws.append(draws[-1])
        self.charge_j = episode.initial_charge_j
        self.temperature_k = self._initial_k
        self._set_queue(self._no_tiles, 0.0)
        self.backlog_byte = 0.0
        self.terminated = False
        self._ready = False

    def prepare(self) -> None:
        """Work out what the slot that is due offers; does nothing the second time.

        After the last slot: as the last one with nothing arriving, for an environment's final observation.
        """
        if self._ready:
            return
        self._ready = True
        slot, plant = self.slot, self.plant
        at = self.first + (slot if slot < self.slots else slot - 1)
        self.arrived_tile = arrived = self._arrived_tile[slot]
        self.waiting_tile = waiting = arrived + self.queued_tile
        self._price_options(slot, waiting)
        offer = _paper_budget_j if plant.paper else _budget_j
        self.budget_j = room = offer(plant, self.charge_j, self._harvest[at], self._load[at], self._floor[at])
        self.heat_budget_j = _INF
        self.time_budget_s = seconds = plant.busy_s
        if plant.thermal:
            self.heat_budget_j = heat = _heat_budget_j(plant, self.temperature_k, self._sink[at])
            self.time_budget_s = seconds = _time_budget_s(plant, self.temperature_k)
            room = room if room < heat else heat
        self.downlink_byte = self._downlink[at]
        if waiting > 0 and self._awake is not None:
            each = zip(self.energy_j, self.time_s, self._awake)  # noqa: B905
            self.tile = [_admitted_tile(waiting, room - extra, seconds, energy, time) for energy, time, extra in each]
        elif waiting > 0:
            pairs = zip(self.energy_j, self.time_s)  # noqa: B905  equal by construction, and this is the hot path
            self.tile = [_admitted_tile(waiting, room, seconds, energy, time) for energy, time in pairs]
        else:
            self.tile = self._no_worth

    def apply_option(self, k: int) -> int:
        """Do what fits of option ``k``; returns the slot that was flown."""
        if not self._visible:
            return self.apply_drawn(self.tile[k], k)
        tile = self.tile[k]
        return self.apply(tile, tile * self.energy_j[k] + self._awake_of(tile, k), self.accuracy_frac[k])

    def apply_drawn(self, tile: float, k: int) -> int:
        """Do the slot with the drawn accuracy and joules of option ``k``, which the policy did not see."""
        row = 0 if self._constant else self.slot
        energy_j = self._energy[row][k]
        extra = self._awake_of(tile, k)
        fits = _admitted_tile(tile, self.budget_j - extra, _INF, energy_j, 1.0)
        spent = fits * energy_j + self._awake_of(fits, k)
        return self.apply(fits, spent, self.accuracy_frac[k] + self._shift[row][k])

    def apply(self, tile: float, energy_j: float, accuracy_frac: float) -> int:
        """Do ``tile`` tiles for ``energy_j`` joules and move on; returns the slot that was flown."""
        slot, plant = self.slot, self.plant
        at = self.first + slot
        harvest, load = self._harvest[at], self._load[at]
        self.before_j = before = self.charge_j
        change = _paper_next_charge_j if plant.paper else _next_charge_j
        charge, unserved = change(plant, before, harvest, load, energy_j)
        self.charge_j, self.unserved_j, self.harvested_j, self.spent_j = charge, unserved, harvest, energy_j
        self.load_j = 0.0 if plant.paper else load
        tolerance = _TINY * plant.capacity_j
        least = plant.reserve_j if plant.paper else self._floor[at]
        self.reserve_violated = energy_j > 0 and charge < least - tolerance
        self.terminated = unserved > tolerance
        if plant.thermal:
            self.temperature_k = _next_temperature_k(plant, self.temperature_k, self._sink[at], energy_j)
        self.done_tile, self.done_accuracy_frac = tile, accuracy_frac
        self.reward = self._reward_of(tile, energy_j, accuracy_frac)
        self._queue_leftovers(slot, tile)
        backlog = self.backlog_byte + tile * plant.product_byte
        sent = self._downlink[at]
        self.sent_byte = sent = sent if sent < backlog else backlog
        self.backlog_byte = backlog - sent
        self.slot = slot + 1
        self._ready = False
        return slot

    def _awake_of(self, tile: float, k: int) -> float:
        """Return what option ``k``'s power mode draws beside ``tile`` tiles; nothing without any."""
        return self._awake[k] if self._awake is not None and tile > 0 else 0.0

    def mix(self) -> list[float]:
        """Return the tiles that wait, by cover."""
        return [q + a for q, a in zip(self.queue_tile, self._arrived[self.slot], strict=True)]

    def main_cover(self) -> int:
        """Return the cover with most value waiting, the most valuable cover where nothing waits."""
        weight = [m * v for m, v in zip(self.mix(), self._value, strict=True)]
        return weight.index(max(weight))

    def _price_options(self, slot: int, waiting: float) -> None:
        """Accuracy is weighted with the value of the waiting tiles, so that tiles x accuracy x value is exact."""
        value, worth = self._arrived_value[slot], self._arrived_worth[slot]
        if self.queued_tile > 0:
            value += self._queue_value
            worth = [a + q for a, q in zip(worth, self._queue_worth)]  # noqa: B905
        self.value_per_correct = value / waiting if waiting > 0 else 0.0
        scale = 1.0 / (value + TRACE)
        accuracy = [(right + trace) * scale for right, trace in zip(worth, self._trace)]  # noqa: B905
        if not self._visible:
            self.energy_j, self.time_s = self._shown
        elif self._constant:
            self.energy_j, self.time_s = self._energy[0], self._time[0]
        else:
            self.energy_j, self.time_s = self._energy[slot], self._time[slot]
            accuracy = [a + s for a, s in zip(accuracy, self._shift[slot])]  # noqa: B905
        self.accuracy_frac = accuracy

    def _queue_leftovers(self, slot: int, tile: float) -> None:
        waiting = self.waiting_tile
        self.shed_tile = waiting - tile
        if tile >= waiting or not self._keeps:
            if self.queued_tile:
                self._set_queue(self._no_tiles, 0.0)
            return
        left, room, kept, queue = 1.0 - tile / waiting, self.plant.queue_max_tile, 0.0, []
        for q, a, stays in zip(self.queue_tile, self._arrived[slot], self._queued):  # noqa: B905
            keep = float(int((q + a) * left * stays))
            if keep > room:
                keep = room
            room -= keep
            kept += keep
            queue.append(keep)
        self.shed_tile -= kept
        self._set_queue(queue, kept)

    def _set_queue(self, queue: list[float], tile: float) -> None:
        self.queue_tile, self.queued_tile = queue, tile
        if tile > 0:
            self._queue_value = sum(map(mul, queue, self._value))
            self._queue_worth = [sum(map(mul, queue, row)) for row in self._worth]

    def _reward_of(self, tile: float, energy_j: float, accuracy_frac: float) -> float:
        reward = self._reward
        self.done_value = tile * accuracy_frac * self.value_per_correct
        if reward.kind == "paper":
            effective = effective_accuracy_frac(accuracy_frac, tile, self.waiting_tile)
            per_tile_j = energy_j / tile if tile > 0 else _INF
            return paper_reward(effective, per_tile_j, self._floor_frac, reward.aee_weight, reward.margin_weight)
        worth = value_reward(tile, accuracy_frac, self.value_per_correct, reward.unit_tile)
        return worth - reward.brownout_penalty if self.terminated else worth
