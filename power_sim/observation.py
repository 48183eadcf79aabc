"""A slot as a fixed row of numbers, scaled by the mission's own sizes, so that one network can read any mission.

``observe`` turns a ``SlotState`` into the row; the environments build the same row from their own arrays with the
same lines
(``live_features``, ``steady_features``). Layout, for K options: the live block, K option blocks, the steady block,
the horizons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter, mul, truediv

import numpy as np
from numpy.typing import NDArray

from .dynamics import admitted_tile
from .ops import Ops, Value, on_numbers
from .slot import SlotState

OBSERVATION_LAYOUT = "subsolar-slot-1"
WINDOWS_SLOT = (1, 2, 4, 8, 16, 32)
"""How many slots after this one each horizon sums up."""
LIVE = (
    "charge_frac",  # charge / capacity
    "spare_frac",  # (charge - reserve) / usable, usable = capacity - reserve; -1..1
    "budget_frac",  # budget / usable, -1..2
    "coolness_frac",  # (limit - temperature) / 50 K, -1..1; 1 without a thermal node
    "heat_frac",  # heat budget / usable, 0..2
    "queued_frac",  # queued / waiting tiles
    "backlog_frac",  # backlog / (backlog + what this slot's link carries + 1)
    "value_now_frac",  # waiting value / (waiting value + expected value ahead)
    "need_frac",  # cheapest energy for all waiting tiles / (it + budget)
    "density_frac",  # best value per joule now / (it + expected value per joule ahead)
)
OPTION = (
    "allowed",  # 1: healthy, above the accuracy floor, at least one tile fits
    "accuracy_frac",
    "done_frac",  # tiles that fit / waiting tiles
    "cost_frac",  # energy of those tiles / budget, 0..1
    "drain_frac",  # energy of those tiles / usable x 8, 0..2
    "time_frac",  # their time / time budget, 0..1
    "gain_frac",  # their right answers / the best option's
    "efficiency_frac",  # right answers per joule / the best option's
)
STEADY = (
    "harvest_frac",  # harvest / usable x 8, 0..2
    "load_frac",  # load / usable x 8, 0..2
    "sunlit_frac",
    "eclipse_in",  # in 32 slots, 0..1
    "sunrise_in",  # in 32 slots, 0..1
    "pass_frac",  # contact / slot
    "pass_in",  # in 32 slots, 0..1
    "accuracy_floor_frac",
    "may_idle",
    "ahead",  # slots after this one / 32, 0..1
)
HORIZON_BLOCKS = ("net", "value")  # sums over WINDOWS_SLOT: net / usable, -2..2; share of all value ahead, 0..1
LIVE_SIZE, OPTION_SIZE = len(LIVE), len(OPTION)
STEADY_SIZE = len(STEADY) + len(HORIZON_BLOCKS) * len(WINDOWS_SLOT)
_TINY = 1e-9
_REACH = WINDOWS_SLOT[-1]


@dataclass(frozen=True, slots=True)
class Scales:
    """The mission's own sizes."""

    capacity_j: float
    reserve_j: float
    limit_k: float


def observation_size(options: int) -> int:
    """Return the length of a row.

    >>> observation_size(3)
    56
    """
    return LIVE_SIZE + OPTION_SIZE * options + STEADY_SIZE


def feature_names(options: int) -> tuple[str, ...]:
    """Return a name for each number of the row."""
    blocks = [f"option{k}.{name}" for k in range(options) for name in OPTION]
    horizons = [f"{block}_{window}" for block in HORIZON_BLOCKS for window in WINDOWS_SLOT]
    return (*LIVE, *blocks, *STEADY, *horizons)


def live_features(
    ops: Ops,
    scales: Scales,
    charge_j: Value,
    budget_j: Value,
    temperature_k: Value,
    heat_budget_j: Value,
    waiting_tile: Value,
    queued_tile: Value,
    backlog_byte: Value,
    downlink_byte: Value,
    value_per_correct: Value,
    ahead_value: Value,
    ahead_net_j: Value,
    best_per_j: Value,
    least_j: Value,
) -> list[Value]:
    """Return the live block; each argument is a number or an array with one entry per craft.

    ``best_per_j``: most right answers per joule among the options; ``least_j``: least joules per tile.
    """
    per_usable = 1.0 / ops.maximum(scales.capacity_j - scales.reserve_j, 1.0)
    spare_j, room_j = charge_j - scales.reserve_j, ops.maximum(budget_j, _TINY)
    now_value, need_j = waiting_tile * value_per_correct, waiting_tile * least_j
    now_density = best_per_j * value_per_correct
    ahead_density = ahead_value / ops.maximum(spare_j + ahead_net_j, 0.01 / per_usable)
    return [
        charge_j / scales.capacity_j,
        ops.maximum(spare_j * per_usable, -1.0),
        ops.minimum(ops.maximum(budget_j * per_usable, -1.0), 2.0),
        ops.minimum(ops.maximum((scales.limit_k - temperature_k) * 0.02, -1.0), 1.0),
        ops.minimum(ops.maximum(heat_budget_j * per_usable, 0.0), 2.0),
        queued_tile / ops.maximum(waiting_tile, 1.0),
        backlog_byte / (backlog_byte + downlink_byte + 1.0),
        now_value / (now_value + ahead_value + _TINY),
        need_j / (need_j + room_j),
        now_density / (now_density + ahead_density + _TINY),
    ]


def option_features(
    ops: Ops,
    scales: Scales,
    budget_j: Value,
    time_budget_s: Value,
    waiting_tile: Value,
    floor_frac: Value,
    accuracy_frac: Value,
    energy_j: Value,
    time_s: Value,
    tile: Value,
    best_right_tile: Value,
    best_per_j: Value,
) -> list[Value]:
    """Return the block of one healthy option, or the features of all options as arrays (options, craft)."""
    cost_j = tile * energy_j
    drain = cost_j * (8.0 / ops.maximum(scales.capacity_j - scales.reserve_j, 1.0))
    return [
        ((tile >= 1.0) & (accuracy_frac >= floor_frac)) * 1.0,
        accuracy_frac,
        tile / ops.maximum(waiting_tile, 1.0),
        cost_j / ops.maximum(budget_j, _TINY),
        ops.minimum(drain, 2.0),
        tile * time_s / ops.maximum(time_budget_s, _TINY),
        tile * accuracy_frac / ops.maximum(best_right_tile, _TINY),
        accuracy_frac / energy_j / best_per_j,
    ]


def steady_features(
    ops: Ops,
    usable_j: Value,
    slot_s: Value,
    harvest_j: Value,
    load_j: Value,
    sunlit_frac: Value,
    eclipse_in_s: Value,
    sunrise_in_s: Value,
    pass_s: Value,
    pass_in_s: Value,
    floor_frac: Value,
    may_idle: Value,
    ahead_slots: Value,
) -> list[Value]:
    """Return the steady block."""
    reach_s = _REACH * slot_s
    return [
        ops.minimum(harvest_j / usable_j * 8.0, 2.0),
        ops.minimum(load_j / usable_j * 8.0, 2.0),
        sunlit_frac,
        ops.minimum(eclipse_in_s / reach_s, 1.0),
        ops.minimum(sunrise_in_s / reach_s, 1.0),
        pass_s / slot_s,
        ops.minimum(pass_in_s / reach_s, 1.0),
        floor_frac,
        may_idle,
        ops.minimum(ahead_slots / _REACH, 1.0),
    ]


def horizon_net(ops: Ops, net_sum_j: Value, usable_j: Value) -> Value:
    """Return a horizon of energy."""
    return ops.minimum(ops.maximum(net_sum_j / usable_j, -2.0), 2.0)


def horizon_value(ops: Ops, value_sum: Value, all_value: Value) -> Value:
    """Return a horizon of value; ``all_value``: that of the longest window."""
    return value_sum / ops.maximum(all_value, _TINY)


def horizons(ops: Ops, net_sums_j: Sequence[Value], value_sums: Sequence[Value], usable_j: Value) -> list[Value]:
    """Return all horizons of one slot: ``horizon_net`` and ``horizon_value`` of each window."""
    all_value = ops.maximum(value_sums[-1], _TINY)
    return [ops.minimum(ops.maximum(net_sum_j / usable_j, -2.0), 2.0) for net_sum_j in net_sums_j] + [
        value_sum / all_value for value_sum in value_sums
    ]


live_numbers = on_numbers(live_features)
option_numbers = on_numbers(option_features)
_steady_numbers = on_numbers(steady_features)
_horizons = on_numbers(horizons)
_every_window = itemgetter(*(window - 1 for window in WINDOWS_SLOT))
_scales = lru_cache(maxsize=64)(Scales)
_admitted_tile = on_numbers(admitted_tile)


def observe(state: SlotState) -> NDArray[np.float32]:
    """Return the row of a slot, float32 of length ``observation_size(len(state.options))``, all finite."""
    live, blocks, steady = numbers(state)
    return np.array(live + blocks + steady, dtype=np.float32)


def numbers(state: SlotState) -> tuple[list[float], list[float], list[float]]:
    """Return the row of a slot in its three parts: the live block, all option blocks, steady block with horizons."""
    waiting, budget_j, seconds = float(state.arrived_tile + state.queued_tile), state.budget_j, state.time_budget_s
    options, tile = state.options, _tiles_that_fit(state)
    accuracies, energies = [o.accuracy_frac for o in options], [o.energy_j for o in options]
    net, value = _window_sums(state.ahead_net_j), _window_sums(state.ahead_value)
    scales = _scales(state.capacity_j, state.reserve_j, state.temperature_limit_k)
    best_right_tile = max(map(mul, tile, accuracies), default=0.0)
    best_per_j = max(map(truediv, accuracies, energies), default=_TINY)
    live = live_numbers(
        scales,
        state.charge_j,
        budget_j,
        state.temperature_k,
        state.heat_budget_j,
        waiting,
        float(state.queued_tile),
        float(state.backlog_byte),
        float(state.downlink_byte),
        state.value_per_correct,
        value[-1],
        state.harvest_j - state.load_j + net[-1],
        best_per_j,
        min(energies, default=0.0),
    )
    floor_frac, blocks = state.accuracy_floor_frac, list[float]()
    for o, fits, accuracy, energy_j in zip(options, tile, accuracies, energies, strict=True):
        block = option_numbers(
            scales,
            budget_j,
            seconds,
            waiting,
            floor_frac,
            accuracy,
            energy_j,
            o.time_s,
            fits,
            best_right_tile,
            best_per_j,
        )
        blocks += block if o.healthy else [0.0, *block[1:]]
    usable_j = max(state.capacity_j - state.reserve_j, 1.0)
    steady = _steady_numbers(
        usable_j,
        state.duration_s,
        state.harvest_j,
        state.load_j,
        state.sunlit_frac,
        state.eclipse_in_s,
        state.sunrise_in_s,
        state.pass_s,
        state.pass_in_s,
        floor_frac,
        1.0 if state.may_idle else 0.0,
        float(len(state.ahead_net_j)),
    )
    return live, blocks, steady + _horizons(net, value, usable_j)


def _window_sums(ahead: tuple[float, ...]) -> tuple[float, ...]:
    """Return the sum of the slots ahead over each window; a shorter forecast counts as far as it goes."""
    sums = [*accumulate(ahead[:_REACH])] or [0.0]
    if len(sums) < _REACH:
        sums += [sums[-1]] * (_REACH - len(sums))
    chosen: tuple[float, ...] = _every_window(sums)
    return chosen


def _tiles_that_fit(state: SlotState) -> list[float]:
    room_j, waiting, seconds = min(state.budget_j, state.heat_budget_j), float(state.waiting_tile), state.time_budget_s
    return [_admitted_tile(waiting, room_j - o.awake_j, seconds, o.energy_j, o.time_s) for o in state.options]


def action_mask(state: SlotState) -> NDArray[np.bool_]:
    """Return which actions make sense: each option, then idling where it is allowed. At least one is always open.

    An option is open if it is healthy, meets the accuracy floor and at least one tile fits. Where none is and idling
    is not
    allowed, every option is open.
    """
    fits = [
        option.healthy and option.accuracy_frac >= state.accuracy_floor_frac and tile >= 1.0
        for option, tile in zip(state.options, _tiles_that_fit(state), strict=True)
    ]
    if state.may_idle:
        return np.array([*fits, True])
    return np.array(fits if any(fits) else [True] * len(fits))
