"""Observation rows straight from a timeline's arrays: the environments' fast path to ``observation.observe``."""

from __future__ import annotations

from dataclasses import dataclass
from operator import mul, truediv

import numpy as np
from numpy.typing import NDArray

from .craft import Craft
from .frames import FloatArray
from .observation import WINDOWS_SLOT, horizon_net, horizon_value, live_numbers, option_numbers, steady_features
from .ops import VECTOR
from .scenario import Scenario
from .timeline import Timeline


@dataclass(frozen=True, slots=True, eq=False)
class Steady:
    """What no choice changes in the rows of some missions."""

    rows: NDArray[np.float32]
    """(missions, slots, STEADY_SIZE)."""
    ahead_value: FloatArray
    """(missions, slots): expected value within the longest window."""
    ahead_net_j: FloatArray
    """(missions, slots): harvest less load of this slot and of those within the longest window."""


class SteadyRows:
    """Cuts the steady part of missions from what is computed once per timeline."""

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        plant = timeline.plant
        self._timeline = timeline
        self._window = np.minimum(np.array(WINDOWS_SLOT), scenario.policy.horizon_slots)
        self._usable_j = max(plant.capacity_j - plant.reserve_j, 1.0)
        self._net_j = timeline.harvest_j - timeline.bus_j
        slots = timeline.harvest_j.shape
        columns = steady_features(
            VECTOR,
            self._usable_j,
            plant.slot_s,
            timeline.harvest_j,
            timeline.bus_j,
            timeline.sunlit_frac,
            timeline.eclipse_in_s,
            timeline.sunrise_in_s,
            timeline.pass_s,
            timeline.pass_in_s,
            np.full(slots, scenario.limits.accuracy_floor_frac),
            np.full(slots, float(scenario.limits.may_idle)),
            np.zeros(slots),
        )
        self._block = np.stack(columns, axis=-1).astype(np.float32)
        ahead = np.minimum(np.arange(timeline.episode_slots)[::-1], scenario.policy.horizon_slots)
        self._ahead = np.minimum(ahead / WINDOWS_SLOT[-1], 1.0)

    def of(self, first: NDArray[np.intp]) -> Steady:
        """Return the steady part of missions that start in the slots ``first`` of the timeline."""
        line = self._timeline
        at = first[:, None] + np.arange(line.episode_slots)
        begin = at[..., None] + 1
        stop = np.minimum(begin + self._window, first[:, None, None] + line.episode_slots)
        net = line.net_sum_j[stop] - line.net_sum_j[begin]
        value = line.value_sum[stop] - line.value_sum[begin]
        block = self._block[at]
        block[..., -1] = self._ahead
        horizons = horizon_net(VECTOR, net, self._usable_j), horizon_value(VECTOR, value, value[..., -1:])
        rows = np.concatenate([block, *horizons], axis=-1, dtype=np.float32)
        return Steady(rows, value[..., -1], net[..., -1] + self._net_j[at])


def live_row(craft: Craft, ahead_value: float, ahead_net_j: float, accuracy_floor_frac: float) -> list[float]:
    """Return the live and option blocks of a prepared craft."""
    scales, budget_j, waiting, seconds = craft.scales, craft.budget_j, craft.waiting_tile, craft.time_budget_s
    accuracy, energy, tile = craft.accuracy_frac, craft.energy_j, craft.tile
    best_right = max(map(mul, tile, accuracy))
    best_per_j = max(map(truediv, accuracy, energy))
    row = live_numbers(
        scales,
        craft.charge_j,
        budget_j,
        craft.temperature_k,
        craft.heat_budget_j,
        waiting,
        craft.queued_tile,
        craft.backlog_byte,
        craft.downlink_byte,
        craft.value_per_correct,
        ahead_value,
        ahead_net_j,
        best_per_j,
        min(energy),
    )
    if not waiting:  # nothing to do: every option's block is known, and half of an orbit looks like this
        for a, e in zip(accuracy, energy):  # noqa: B905
            row += (0.0, a, 0.0, 0.0, 0.0, 0.0, 0.0, a / e / best_per_j)
        return row
    for a, e, t, n in zip(accuracy, energy, craft.time_s, tile):  # noqa: B905  equal by construction, and hot
        row += option_numbers(
            scales, budget_j, seconds, waiting, accuracy_floor_frac, a, e, t, n, best_right, best_per_j
        )
    return row
