"""Many missions of one scenario as flat tables, for the vector simulator to read a slot of each copy with one
look-up."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .episode import draw_episode
from .frames import FloatArray
from .rows import SteadyRows
from .scenario import Scenario
from .timeline import Timeline


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each quantity stands in a row of the bank's table."""

    harvest: int
    load: int
    floor: int
    sink: int
    downlink: int
    ahead_value: int
    ahead_net: int
    arrived_tile: int
    arrived_value: int
    worth: slice
    arrived: slice
    shift: slice
    energy: slice
    time: slice
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Missions of the seeds ``seed .. seed + missions - 1``."""

    seed: int
    missions: int
    slots: int
    columns: Columns
    table: FloatArray
    """(slots + 1, width, missions): the last slot is the moment after the end."""
    steady: NDArray[np.float32]
    """(slots + 1, STEADY_SIZE, missions)."""
    initial_charge_j: FloatArray
    """(missions,)."""


def lay_out(options: int, covers: int, drawn: bool) -> Columns:
    """Return the columns of a table; drawn quantities take none where they are constant."""
    width = options if drawn else 0
    ends = [9, *(int(end) for end in 9 + np.cumsum([options, covers, width, width, width]))]
    worth, arrived, shift, energy, time = (slice(start, end) for start, end in itertools.pairwise(ends))
    return Columns(0, 1, 2, 3, 4, 5, 6, 7, 8, worth, arrived, shift, energy, time, ends[-1])


def fill_bank(scenario: Scenario, timeline: Timeline, seed: int, missions: int) -> Bank:
    """Draw the missions, each as ``Simulator(scenario, its seed)`` would."""
    slots, drawn = timeline.episode_slots, scenario.pool.draw == "slot"
    options, covers = timeline.accuracy.shape
    columns = lay_out(options, covers, drawn)
    episodes = [draw_episode(scenario, timeline, seed + i) for i in range(missions)]
    first = np.array([episode.first for episode in episodes])
    at = first[:, None] + np.minimum(np.arange(slots + 1), slots - 1)
    steady = SteadyRows(scenario, timeline).of(first)
    table = np.zeros((missions, slots + 1, columns.width))
    for column, values in (
        (columns.harvest, timeline.harvest_j),
        (columns.load, timeline.load_j),
        (columns.floor, timeline.floor_j),
        (columns.sink, timeline.sink_k),
        (columns.downlink, timeline.downlink_byte),
    ):
        table[:, :, column] = values[at]
    arrived = np.stack([episode.arrived_tile for episode in episodes])
    table[:, :-1, columns.arrived] = arrived
    table[:, :-1, columns.arrived_tile] = arrived.sum(axis=2)
    table[:, :-1, columns.arrived_value] = arrived @ timeline.value
    table[:, :-1, columns.worth] = arrived @ (timeline.accuracy * timeline.value).T
    for column, ahead in ((columns.ahead_value, steady.ahead_value), (columns.ahead_net, steady.ahead_net_j)):
        table[:, :-1, column], table[:, -1, column] = ahead, ahead[:, -1]
    if drawn:
        for block, name in ((columns.shift, "accuracy_shift"), (columns.energy, "energy_j"), (columns.time, "time_s")):
            draws = np.stack([getattr(episode, name) for episode in episodes])
            table[:, :-1, block], table[:, -1, block] = draws, draws[:, -1]
    rows = np.concatenate([steady.rows, steady.rows[:, -1:]], axis=1)
    charge = np.array([episode.initial_charge_j for episode in episodes])
    return Bank(seed, missions, slots, columns, _by_slot(table), _by_slot(rows), charge)


def _by_slot(table: NDArray[Any]) -> NDArray[Any]:
    """Turn (missions, slots, width) so that a quantity of one slot lies side by side for all missions."""
    return np.ascontiguousarray(table.transpose(1, 2, 0))
