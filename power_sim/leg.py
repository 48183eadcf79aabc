"""A leg of a real flight: the forecast comes from the orbit, everything else is fed in as it was measured.

A leg *is* a simulator whose craft is corrected before each slot, so that training, replay and flight see a slot
through the same lines of code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .craft import Craft
from .episode import Episode
from .errors import PowerSimError
from .scenario import Scenario
from .simulator import Simulator
from .slot import SlotState
from .timeline import Timeline, timeline_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known at the start of a slot by measuring and counting; by cover and by option as the leg orders them."""

    charge_j: float
    temperature_k: float
    arrived_tile: Sequence[int]
    queued_tile: Sequence[int]
    backlog_byte: int
    energy_j: Sequence[float]
    """Joules per tile of each option, as last measured."""
    time_s: Sequence[float]
    healthy: Sequence[bool]
    margin_j: float = 0.0
    """Held back beyond the forecast's floor, for readings or forecasts that are doubtful."""


class Leg(Simulator):
    """The slots of one timeline, each begun with ``measure`` and ended with ``advance``."""

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        self.scenario = scenario
        self.seed = 0
        self._timeline = timeline
        self._episode = _blank_episode(scenario, timeline)
        self._craft: MeasuredCraft = MeasuredCraft(scenario, timeline)
        self._craft.begin(self._episode)
        self._healthy: tuple[bool, ...] = (True,) * len(scenario.pool.models)

    @property
    def covers(self) -> tuple[str, ...]:
        """The order of everything that is counted by cover: most valuable first."""
        return self._timeline.covers

    @property
    def queued(self) -> tuple[bool, ...]:
        """By cover: whether tiles left over may wait."""
        return tuple(bool(waits) for waits in self._timeline.queued)

    @property
    def start_unix_s(self) -> float:
        """When the first slot begins."""
        return float(self._timeline.start_unix_s[0])

    def measure(self, at: int, measured: Measured) -> SlotState:
        """Return the state of slot ``at`` of this leg, made of its forecast and of what was measured."""
        if not 0 <= at < self.slots:
            raise PowerSimError(f"slot {at} lies outside a leg of {self.slots} slots. Start another leg.")
        self._craft.correct(at, float(self._timeline.floor_j[at]), measured)
        self._healthy = tuple(measured.healthy)
        return self.observe()

    def observe(self) -> SlotState:
        """Return the slot that was measured last."""
        state = super().observe()
        pairs = zip(state.options, self._healthy, strict=True)
        return replace(state, options=tuple(replace(option, healthy=healthy) for option, healthy in pairs))


class MeasuredCraft(Craft):
    """A craft whose state is what was measured, not what its model predicted."""

    def correct(self, slot: int, floor_j: float, measured: Measured) -> None:
        """Replace state and arrivals of ``slot``, which becomes the slot that is due."""
        arrived = np.array(measured.arrived_tile, dtype=np.float64)
        self.slot = slot
        self._arrived[slot] = arrived.tolist()
        self._arrived_tile[slot] = float(arrived.sum())
        self._arrived_value[slot] = float(arrived @ self._values)
        self._arrived_worth[slot] = (arrived @ self._worth_rows.T).tolist()
        self._set_queue([float(tile) for tile in measured.queued_tile], float(sum(measured.queued_tile)))
        self.charge_j, self.temperature_k = measured.charge_j, measured.temperature_k
        self.backlog_byte = float(measured.backlog_byte)
        self._shown = list(measured.energy_j), list(measured.time_s)
        self._energy[0], self._time[0] = self._shown
        self._floor[slot] = min(floor_j + measured.margin_j, self.plant.capacity_j)
        self.terminated = False
        self._ready = False


def leg_from(scenario: Scenario, start_unix_s: float, slots: int) -> Leg:
    """Return the leg of ``slots`` slots that starts at a moment; raises ``OrbitError`` where no orbit can be told."""
    return Leg(scenario, timeline_from(scenario, start_unix_s, slots))


def _blank_episode(scenario: Scenario, timeline: Timeline) -> Episode:
    slots, models = timeline.episode_slots, scenario.pool.models
    one_row = np.array([[model.energy_j for model in models]]), np.array([[model.time_s for model in models]])
    arrived = np.zeros((slots, len(timeline.covers)))
    return Episode(0, 0, slots, timeline.plant.capacity_j, arrived, np.zeros((1, len(models))), *one_row)
