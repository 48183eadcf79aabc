"""The state of one craft, slot by slot, in plain numbers: the fast core under ``Simulator`` and the scalar environment."""

from __future__ import annotations

from operator import mul

from .dynamics import (
    SCALAR,
    admitted_tile,
    budget_j,
    heat_budget_j,
    next_temperature_k,
    paper_budget_j,
    paper_settle,
    settle,
    time_budget_s,
)
from .episode import Episode
from .metrics import effective_accuracy_frac, paper_reward, value_reward
from .scenario import Scenario
from .timeline import ZERO_C_K, Timeline

_TINY = 1e-9
_INF = float("inf")


class Craft:
    """Battery, heat, queue and backlog of one craft. ``begin``, then for each slot ``prepare`` and ``apply``."""

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        self.plant = timeline.plant
        self._reward = scenario.reward
        self._floor_frac = scenario.limits.accuracy_floor_frac
        self._initial_k = scenario.thermal.initial_c + ZERO_C_K
        self._visible = scenario.pool.visible
        self._shown_energy = [model.energy_j for model in scenario.pool.models]
        self._shown_time = [model.time_s for model in scenario.pool.models]
        self._harvest: list[float] = timeline.harvest_j.tolist()
        self._load: list[float] = timeline.load_j.tolist()
        self._floor: list[float] = timeline.floor_j.tolist()
        self._sink: list[float] = timeline.sink_k.tolist()
        self._downlink: list[float] = timeline.downlink_byte.tolist()
        self._value: list[float] = timeline.value.tolist()
        self._queued: list[float] = timeline.queued.tolist()
        self._accuracy: list[list[float]] = timeline.accuracy.tolist()
        self._mean_accuracy = [sum(row) / len(row) for row in self._accuracy]
        self._options = range(len(self._accuracy))
        self.healthy = [True] * len(self._accuracy)
        self._keeps = bool(sum(self._queued)) and self.plant.queue_max_tile > 0
        self.terminated = True
        self.slot = self.slots = self.first = 0

    def begin(self, episode: Episode) -> None:
        """Start a mission."""
        self.first, self.slots, self.slot = episode.first, episode.slots, 0
        self._arrived: list[list[float]] = episode.arrived_tile.tolist()
        self._shift: list[list[float]] = episode.accuracy_shift.tolist()
        self._drawn_energy: list[list[float]] = episode.energy_j.tolist()
        self._drawn_time: list[list[float]] = episode.time_s.tolist()
        self._constant = len(self._shift) == 1
        self._arrived.append([0.0] * len(self._value))
        for draws in (self._shift, self._drawn_energy, self._drawn_time):
            draws.append(draws[-1])
        self.charge_j = episode.initial_charge_j
        self.temperature_k = self._initial_k
        self.queue_tile = [0.0] * len(self._value)
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
        arrived = self._arrived[slot]
        self.arrived_tile = sum(arrived)
        self._mix = mix = [q + a for q, a in zip(self.queue_tile, arrived)] if self._keeps else arrived  # noqa: B905
        self.waiting_tile = waiting = sum(mix)
        self._price_options(slot, mix)
        charge, harvest, load, floor = self.charge_j, self._harvest[at], self._load[at], self._floor[at]
        if plant.paper:
            self.budget_j = paper_budget_j(plant, SCALAR, charge, harvest, load, floor)
        else:
            self.budget_j = budget_j(plant, SCALAR, charge, harvest, load, floor)
        self.downlink_byte = self._downlink[at]
        room = self.budget_j
        self.heat_budget_j = _INF
        self.time_budget_s = plant.busy_s
        if plant.thermal:
            self.heat_budget_j = heat_budget_j(plant, SCALAR, self.temperature_k, self._sink[at])
            self.time_budget_s = time_budget_s(plant, SCALAR, self.temperature_k)
            room = min(room, self.heat_budget_j)
        seconds, energy, time = self.time_budget_s, self.energy_j, self.time_s
        self.tile = [admitted_tile(SCALAR, waiting, room, seconds, energy[k], time[k]) for k in self._options]

    def apply_option(self, k: int) -> int:
        """Do what fits of option ``k``; returns the slot that was flown."""
        if self._visible:
            tile = self.tile[k]
            return self.apply(tile, tile * self.energy_j[k], self.accuracy_frac[k])
        return self.apply_drawn(self.tile[k], k)

    def apply_drawn(self, tile: float, k: int) -> int:
        """Do the slot with the drawn accuracy and joules of option ``k``, which the policy did not see."""
        row = 0 if self._constant else self.slot
        energy_j = self._drawn_energy[row][k]
        fits = admitted_tile(SCALAR, tile, self.budget_j, _INF, energy_j, 1.0)
        return self.apply(fits, fits * energy_j, self.accuracy_frac[k] + self._shift[row][k])

    def apply(self, tile: float, energy_j: float, accuracy_frac: float) -> int:
        """Do ``tile`` tiles for ``energy_j`` joules and move on; returns the slot that was flown."""
        slot, plant = self.slot, self.plant
        at = self.first + slot
        harvest, load, floor = self._harvest[at], self._load[at], self._floor[at]
        move = paper_settle if plant.paper else settle
        self.charge_j, self.spilled_j, self.lost_j, self.unserved_j = move(
            plant, SCALAR, self.charge_j, harvest, load, energy_j
        )
        self.harvested_j, self.spent_j = harvest, energy_j
        self.drawn_j = energy_j if plant.paper else load + energy_j
        self.reserve_violated = (
            energy_j > 0 and self.charge_j < (plant.reserve_j if plant.paper else floor) - _TINY * plant.capacity_j
        )
        self.terminated = self.unserved_j > _TINY * plant.capacity_j
        if plant.thermal:
            self.temperature_k = next_temperature_k(plant, self.temperature_k, self._sink[at], energy_j)
        self.done_tile, self.done_accuracy_frac = tile, accuracy_frac
        self.done_value = tile * accuracy_frac * self.value_per_correct
        self._queue_leftovers(tile)
        self._send(tile)
        self.reward = self._reward_of(tile, energy_j, accuracy_frac)
        self.slot = slot + 1
        self._ready = False
        return slot

    def main_cover(self) -> int:
        """Return the cover with most value waiting, the most valuable cover where nothing waits."""
        weight = [m * v for m, v in zip(self._mix, self._value, strict=True)]
        return weight.index(max(weight))

    def _price_options(self, slot: int, mix: list[float]) -> None:
        """Accuracy is weighted with the value of the waiting tiles, so that tiles x accuracy x value is exact."""
        weight = list(map(mul, mix, self._value))
        worth = sum(weight)
        self.value_per_correct = worth / self.waiting_tile if self.waiting_tile > 0 else 0.0
        scale = 1.0 / (worth + _TINY)
        rows, mean = self._accuracy, self._mean_accuracy
        accuracy = [(sum(map(mul, weight, rows[k])) + _TINY * mean[k]) * scale for k in self._options]
        if not self._visible:
            self.accuracy_frac, self.energy_j, self.time_s = accuracy, self._shown_energy, self._shown_time
            return
        row = 0 if self._constant else slot
        self.energy_j, self.time_s = self._drawn_energy[row], self._drawn_time[row]
        self.accuracy_frac = (
            accuracy if self._constant else [a + s for a, s in zip(accuracy, self._shift[row], strict=True)]
        )

    def _queue_leftovers(self, tile: float) -> None:
        waiting, kept = self.waiting_tile, 0.0
        if self._keeps:
            left = 1.0 - tile / waiting if waiting > 0 else 0.0
            room = self.plant.queue_max_tile
            queue = []
            for tiles, stays in zip(self._mix, self._queued):  # noqa: B905
                keep = float(int(tiles * left * stays))
                keep = keep if keep < room else room
                room -= keep
                kept += keep
                queue.append(keep)
            self.queue_tile = queue
        self.shed_tile = waiting - tile - kept

    def _send(self, tile: float) -> None:
        backlog = self.backlog_byte + tile * self.plant.product_byte
        self.sent_byte = sent = min(backlog, self.downlink_byte)
        self.backlog_byte = backlog - sent

    def _reward_of(self, tile: float, energy_j: float, accuracy_frac: float) -> float:
        reward = self._reward
        if reward.kind == "paper":
            effective = effective_accuracy_frac(accuracy_frac, tile, self.waiting_tile)
            per_tile_j = energy_j / tile if tile > 0 else _INF
            return paper_reward(effective, per_tile_j, self._floor_frac, reward.aee_weight, reward.margin_weight)
        worth = value_reward(tile, accuracy_frac, self.value_per_correct, reward.unit_tile)
        return worth - reward.brownout_penalty if self.terminated else worth
