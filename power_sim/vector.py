"""Many craft of one scenario at once, as arrays: the same numbers as ``Simulator`` and the scalar environment, seed
for seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import dynamics
from .bank import fill_bank
from .craft import TRACE
from .frames import FloatArray
from .observation import LIVE_SIZE, OPTION_SIZE, STEADY_SIZE, Scales, live_features, observation_size, option_features
from .ops import VECTOR
from .scenario import Scenario
from .timeline import ZERO_C_K, awake_j, timeline_of

_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one slot came to for each copy. Arrays (copies,) unless said."""

    observation: NDArray[np.float32]
    """(copies, observation_size), Fortran order: of the slot that is due now, in its next mission where one ended."""
    reward: FloatArray
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    """(copies, actions)."""
    energy_j: FloatArray
    correct_tile: FloatArray
    final_observation: NDArray[np.float32] | None
    """(copies, observation_size) before the restart, where any mission ended."""


class VectorSimulator:
    """``copies`` missions side by side.

    Copy n flies the missions with the seeds ``seed + (n + copies x j) mod missions``, j = 0, 1, 2, ... one after the
    other; ``missions`` of
    them are drawn up front and flown in turn.
    """

    def __init__(
        self, scenario: Scenario, copies: int, seed: int = 0, missions: int | None = None, orbits: float | None = None
    ) -> None:
        timeline = timeline_of(scenario, orbits)
        self.scenario, self.copies = scenario, copies
        self.plant = plant = timeline.plant
        self.options = len(scenario.pool.models)
        self.actions = self.options + scenario.limits.may_idle
        # a multiple of the copies keeps them in step with the bank's memory
        self.bank = fill_bank(scenario, timeline, seed, missions or copies * max(1, min(4, 4096 // copies)))
        models = scenario.pool.models
        self._shown_energy = np.array([[m.energy_j] for m in models]) * np.ones(copies)
        self._shown_time = np.array([[m.time_s] for m in models]) * np.ones(copies)
        awake = np.array(awake_j(scenario))
        self._awake = awake[:, None] if awake.any() else None
        self._trace = timeline.accuracy.mean(axis=1)[:, None] * TRACE
        self._drawn, self._visible = scenario.pool.draw == "slot", scenario.pool.visible
        self._keeps = bool(timeline.queued.any()) and plant.queue_max_tile > 0
        self._stay = np.flatnonzero(timeline.queued)
        worth = timeline.accuracy * timeline.value
        self._sums = np.vstack([np.ones(len(timeline.value)), timeline.value, worth])[:, self._stay]
        self._scales = Scales(plant.capacity_j, plant.reserve_j, plant.limit_k)
        self._lane = np.arange(copies)
        self._always = np.ones((1, copies), dtype=np.bool_)
        self._full = np.full(copies, np.inf)
        self._busy = np.full(copies, plant.busy_s)
        self._size = observation_size(self.options)
        self._live = self._size - STEADY_SIZE
        self._mission = self._lane % self.bank.missions
        self.slot = np.zeros(copies, dtype=np.intp)
        self.charge_j, self.temperature_k = np.empty(copies), np.empty(copies)
        self.backlog_byte = np.empty(copies)
        self.queue_tile = np.zeros((len(self._stay), copies))
        self._queue = np.zeros((len(self._sums), copies))
        self.reset()

    def reset(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Start the first mission of every copy; returns observation and mask."""
        self._mission = self._lane % self.bank.missions
        self._begin(np.ones(self.copies, dtype=np.bool_))
        self._prepare()
        return self._observe(), self.mask()

    def resume(
        self, slot: int, charge_j: FloatArray, temperature_k: FloatArray, queue_tile: FloatArray
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Put every copy into a state of its first mission, without a backlog; returns observation and mask.

        ``charge_j`` and ``temperature_k``: (copies,); ``queue_tile``: (covers that wait, copies), as ``queue_tile`` is.
        """
        self._mission = self._lane % self.bank.missions
        self.slot[:], self.charge_j[:], self.temperature_k[:] = slot, charge_j, temperature_k
        self.queue_tile[:], self.backlog_byte[:] = queue_tile, 0.0
        self._queue = self._sums @ self.queue_tile
        self._prepare()
        return self._observe(), self.mask()

    def step(self, action: NDArray[np.integer]) -> Step:
        """Fly one slot of every copy: ``action`` (copies,) picks an option, or idles with the number of options."""
        tile, energy_j, accuracy = self._choose(action)
        reward, terminated = self._apply(tile, energy_j, accuracy)
        truncated = self.slot >= self.bank.slots
        done = terminated | truncated
        self._prepare()
        observation = self._observe()
        final = None
        if done.any():
            final = observation
            self._mission[done] = (self._mission[done] + self.copies) % self.bank.missions
            self._begin(done)
            self._prepare()
            observation = self._observe()
        return Step(observation, reward, terminated, truncated, self.mask(), energy_j, tile * accuracy, final)

    def mask(self) -> NDArray[np.bool_]:
        """Return which actions make sense now, (copies, actions); at least one each."""
        allowed = self._allowed
        if self.actions > self.options:
            return np.asarray(np.concatenate([allowed, self._always]).T)
        return np.asarray((allowed | ~allowed.any(axis=0)).T)

    @property
    def queue_value(self) -> FloatArray:
        """Value per right answer of each cover that waits, (covers that wait,)."""
        return np.asarray(self._sums[1])

    @property
    def mission_seed(self) -> NDArray[np.intp]:
        """Seed of the mission that each copy flies, (copies,)."""
        return np.asarray(self._mission + self.bank.seed)

    def _begin(self, which: NDArray[np.bool_]) -> None:
        self.slot[which] = 0
        self.charge_j[which] = self.bank.initial_charge_j[self._mission[which]]
        self.temperature_k[which] = self.scenario.thermal.initial_c + ZERO_C_K
        self.backlog_byte[which] = 0.0
        self.queue_tile[:, which] = 0.0
        self._queue[:, which] = 0.0

    def _prepare(self) -> None:
        """Look up the slot that is due and price the options, as ``Craft.prepare`` does for one."""
        plant, columns = self.plant, self.bank.columns
        self._now, self._steady = now, _ = self._look_up()
        harvest, load, floor, sink = now[columns.harvest], now[columns.load], now[columns.floor], now[columns.sink]
        self.waiting_tile = waiting = now[columns.arrived_tile] + self._queue[0]
        value = now[columns.arrived_value] + self._queue[1]
        worth = now[columns.worth] + self._queue[2:]
        self.value_per_correct = value / np.maximum(waiting, 1.0)
        self.accuracy_frac = (worth + self._trace) / (value + TRACE)
        self.energy_j, self.time_s = self._shown_energy, self._shown_time
        if self._drawn and self._visible:
            self.accuracy_frac = self.accuracy_frac + now[columns.shift]
            self.energy_j, self.time_s = now[columns.energy], now[columns.time]
        offer = dynamics.paper_budget_j if plant.paper else dynamics.budget_j
        self.budget_j = room = offer(VECTOR, plant, self.charge_j, harvest, load, floor)
        self.heat_budget_j, self.time_budget_s = self._full, self._busy
        if plant.thermal:
            self.heat_budget_j = dynamics.heat_budget_j(VECTOR, plant, self.temperature_k, sink)
            self.time_budget_s = dynamics.time_budget_s(VECTOR, plant, self.temperature_k)
            room = np.minimum(room, self.heat_budget_j)
        if self._awake is not None:
            room = room - self._awake
        self.tile = dynamics.admitted_tile(VECTOR, waiting, room, self.time_budget_s, self.energy_j, self.time_s)

    def _look_up(self) -> tuple[FloatArray, NDArray[np.float32]]:
        """Return the bank's (width, copies) and (steady, copies) for every copy's slot: a view while all keep step."""
        slot, first = int(self.slot[0]), int(self._mission[0])
        if (self.slot == slot).all() and (self._mission == self._lane + first).all():
            part = slice(first, first + self.copies)
            return self.bank.table[slot, :, part], self.bank.steady[slot, :, part]
        table, steady = self.bank.table, self.bank.steady
        return table[self.slot, :, self._mission].T, steady[self.slot, :, self._mission].T

    def _observe(self) -> NDArray[np.float32]:
        now, columns = self._now, self.bank.columns
        accuracy, energy, tile = self.accuracy_frac, self.energy_j, self.tile
        best_per_j = (accuracy / energy).max(axis=0)
        live = live_features(
            VECTOR,
            self._scales,
            self.charge_j,
            self.budget_j,
            self.temperature_k,
            self.heat_budget_j,
            self.waiting_tile,
            self._queue[0],
            self.backlog_byte,
            now[columns.downlink],
            self.value_per_correct,
            now[columns.ahead_value],
            now[columns.ahead_net],
            best_per_j,
            energy.min(axis=0),
        )
        blocks = option_features(
            VECTOR,
            self._scales,
            self.budget_j,
            self.time_budget_s,
            self.waiting_tile,
            self.scenario.limits.accuracy_floor_frac,
            accuracy,
            energy,
            self.time_s,
            tile,
            (tile * accuracy).max(axis=0),
            best_per_j,
        )
        rows = np.empty((self._size, self.copies), dtype=np.float32)
        for place, row in zip(rows, live):  # noqa: B905  the rows go on
            place[:] = row
        for i, block in enumerate(blocks, start=LIVE_SIZE):
            rows[i : self._live : OPTION_SIZE] = block
        rows[self._live :] = self._steady
        self._allowed = blocks[0] > 0.5
        return np.asarray(rows.T)

    def _choose(self, action: NDArray[np.integer]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return tiles, joules and true accuracy of the chosen options; nothing where a copy idles."""
        idle = action >= self.options
        k = np.where(idle, 0, action)
        pick = k * self.copies + self._lane
        tile = np.where(idle, 0.0, self.tile.ravel().take(pick))
        energy_j = self.energy_j.ravel().take(pick)
        accuracy = self.accuracy_frac.ravel().take(pick)
        extra = 0.0 if self._awake is None else self._awake[k, 0]
        if self._drawn and not self._visible:
            columns = self.bank.columns
            energy_j = self._now[columns.energy].ravel().take(pick)
            accuracy = accuracy + self._now[columns.shift].ravel().take(pick)
            tile = dynamics.admitted_tile(VECTOR, tile, self.budget_j - extra, self._full, energy_j, 1.0)
        return tile, tile * energy_j + extra * (tile > 0), accuracy

    def _apply(
        self, tile: FloatArray, energy_j: FloatArray, accuracy: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        plant, columns, now = self.plant, self.bank.columns, self._now
        change = dynamics.paper_next_charge_j if plant.paper else dynamics.next_charge_j
        self.charge_j, unserved = change(
            VECTOR, plant, self.charge_j, now[columns.harvest], now[columns.load], energy_j
        )
        terminated = unserved > _TINY * plant.capacity_j
        if plant.thermal:
            self.temperature_k = dynamics.next_temperature_k(
                VECTOR, plant, self.temperature_k, now[columns.sink], energy_j
            )
        reward = self._reward(tile, energy_j, accuracy, terminated)
        if self._keeps:
            self._queue_leftovers(tile)
        backlog = self.backlog_byte + tile * plant.product_byte
        self.backlog_byte = backlog - np.minimum(backlog, now[columns.downlink])
        self.slot += 1
        return reward, terminated

    def _reward(
        self, tile: FloatArray, energy_j: FloatArray, accuracy: FloatArray, terminated: NDArray[np.bool_]
    ) -> FloatArray:
        reward, floor = self.scenario.reward, self.scenario.limits.accuracy_floor_frac
        if reward.kind == "paper":
            waiting = self.waiting_tile
            effective = np.where(waiting > 0, accuracy * tile / np.maximum(waiting, 1.0), accuracy)
            per_tile_j = np.where(tile > 0, energy_j / np.maximum(tile, 1.0), np.inf)
            return np.asarray(reward.aee_weight * (effective / per_tile_j) + reward.margin_weight * (effective - floor))
        worth = tile * accuracy * self.value_per_correct / reward.unit_tile
        return np.asarray(worth - reward.brownout_penalty * terminated)

    def _queue_leftovers(self, tile: FloatArray) -> None:
        left = 1.0 - tile / np.maximum(self.waiting_tile, 1.0)
        keep = self._now[self.bank.columns.arrived][self._stay]
        keep += self.queue_tile
        keep *= left
        np.floor(keep, out=keep)
        room = np.full(self.copies, self.plant.queue_max_tile)
        for tiles in keep:
            np.minimum(tiles, room, out=tiles)
            room -= tiles
        self.queue_tile, self._queue = keep, self._sums @ keep
