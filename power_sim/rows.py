"""Observation rows straight from a timeline's arrays and a craft: the environments' fast path to ``observation.observe``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .craft import Craft
from .dynamics import SCALAR, VECTOR
from .frames import FloatArray
from .observation import WINDOWS_SLOT, live_features, steady_features
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


def steady_of(scenario: Scenario, timeline: Timeline, first: NDArray[np.intp]) -> Steady:
    """Return the steady part of missions that start in the slots ``first`` of the timeline."""
    at = first[:, None] + np.arange(timeline.episode_slots)
    begin = at[..., None] + 1
    window = np.minimum(np.array(WINDOWS_SLOT), scenario.policy.horizon_slots)
    last = first[:, None, None] + timeline.episode_slots
    stop = np.minimum(begin + window, last)
    begin = np.minimum(begin, last)
    net = timeline.net_sum_j[stop] - timeline.net_sum_j[begin]
    value = timeline.value_sum[stop] - timeline.value_sum[begin]
    plant = timeline.plant
    shape = at.shape
    columns = steady_features(
        VECTOR,
        usable_j=max(plant.capacity_j - plant.reserve_j, 1.0),
        slot_s=plant.slot_s,
        harvest_j=timeline.harvest_j[at],
        load_j=timeline.bus_j[at],
        sunlit_frac=timeline.sunlit_frac[at],
        eclipse_in_s=timeline.eclipse_in_s[at],
        sunrise_in_s=timeline.sunrise_in_s[at],
        pass_s=timeline.pass_s[at],
        pass_in_s=timeline.pass_in_s[at],
        accuracy_floor_frac=np.full(shape, scenario.limits.accuracy_floor_frac),
        may_idle=np.full(shape, float(scenario.limits.may_idle)),
        ahead_slots=np.minimum(last[..., 0] - at - 1, scenario.policy.horizon_slots).astype(np.float64),
        net_sum_j=list(np.moveaxis(net, -1, 0)),
        value_sum=list(np.moveaxis(value, -1, 0)),
    )
    own = timeline.harvest_j[at] - timeline.bus_j[at]
    return Steady(np.stack(columns, axis=-1).astype(np.float32), value[..., -1], net[..., -1] + own)


def live_row(craft: Craft, ahead_value: float, ahead_net_j: float, accuracy_floor_frac: float) -> list[float]:
    """Return the live and option blocks of a prepared craft."""
    plant = craft.plant
    row: list[float] = live_features(
        SCALAR,
        capacity_j=plant.capacity_j,
        reserve_j=plant.reserve_j,
        limit_k=plant.limit_k,
        charge_j=craft.charge_j,
        budget_j=craft.budget_j,
        temperature_k=craft.temperature_k,
        heat_budget_j=craft.heat_budget_j,
        time_budget_s=craft.time_budget_s,
        waiting_tile=craft.waiting_tile,
        queued_tile=craft.waiting_tile - craft.arrived_tile,
        backlog_byte=craft.backlog_byte,
        downlink_byte=craft.downlink_byte,
        value_per_correct=craft.value_per_correct,
        ahead_value=ahead_value,
        ahead_net_j=ahead_net_j,
        accuracy_floor_frac=accuracy_floor_frac,
        accuracy_frac=craft.accuracy_frac,
        energy_j=craft.energy_j,
        time_s=craft.time_s,
        tile=craft.tile,
        healthy=craft.healthy,
    )
    return row
