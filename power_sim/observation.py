"""A slot as a fixed row of numbers, scaled by the mission's own sizes, so that one network can read any mission.

``observe`` turns a ``SlotState`` into the row; the environments build the same row from their own arrays with the same lines
(``live_features``, ``steady_features``). Layout, for K options: the live block, K option blocks, the steady block, the horizons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .dynamics import SCALAR, Ops, Value, admitted_tile
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
    *,
    capacity_j: Value,
    reserve_j: Value,
    limit_k: Value,
    charge_j: Value,
    budget_j: Value,
    temperature_k: Value,
    heat_budget_j: Value,
    time_budget_s: Value,
    waiting_tile: Value,
    queued_tile: Value,
    backlog_byte: Value,
    downlink_byte: Value,
    value_per_correct: Value,
    ahead_value: Value,
    ahead_net_j: Value,
    accuracy_floor_frac: Value,
    accuracy_frac: Sequence[Value],
    energy_j: Sequence[Value],
    time_s: Sequence[Value],
    tile: Sequence[Value],
    healthy: Sequence[Value],
) -> list[Value]:
    """Return the live and the option blocks; each argument is a number or an array with one entry per craft."""
    low, high = ops.minimum, ops.maximum
    usable_j = high(capacity_j - reserve_j, 1.0)
    spare_j = charge_j - reserve_j
    right = [t * a for t, a in zip(tile, accuracy_frac, strict=True)]
    yield_per_j = [a / e for a, e in zip(accuracy_frac, energy_j, strict=True)]
    best_right, best_yield, least_j = right[0], yield_per_j[0], energy_j[0]
    for k in range(1, len(right)):
        best_right, best_yield, least_j = (
            high(best_right, right[k]),
            high(best_yield, yield_per_j[k]),
            low(least_j, energy_j[k]),
        )
    now_value, need_j = waiting_tile * value_per_correct, waiting_tile * least_j
    now_density = best_yield * value_per_correct
    ahead_density = ahead_value / high(spare_j + ahead_net_j, usable_j * 0.01)
    room_j = high(budget_j, 0.0)
    row = [
        charge_j / capacity_j,
        high(spare_j / usable_j, -1.0),
        low(high(budget_j / usable_j, -1.0), 2.0),
        high(low((limit_k - temperature_k) / 50.0, 1.0), -1.0),
        high(low(heat_budget_j / usable_j, 2.0), 0.0),
        queued_tile / high(waiting_tile, 1.0),
        backlog_byte / (backlog_byte + downlink_byte + 1.0),
        now_value / (now_value + ahead_value + _TINY),
        need_j / (need_j + room_j + _TINY),
        now_density / (now_density + ahead_density + _TINY),
    ]
    per_waiting, per_room = 1.0 / high(waiting_tile, 1.0), 1.0 / high(room_j, _TINY)
    per_second, per_right, per_yield = 1.0 / high(time_budget_s, _TINY), 1.0 / high(best_right, _TINY), 1.0 / best_yield
    for k in range(len(right)):
        cost_j = tile[k] * energy_j[k]
        fits = healthy[k] & (accuracy_frac[k] >= accuracy_floor_frac) & (tile[k] >= 1.0)
        row += [
            ops.where(fits, 1.0, 0.0),
            accuracy_frac[k],
            tile[k] * per_waiting,
            low(cost_j * per_room, 1.0),
            low(cost_j / usable_j * 8.0, 2.0),
            low(tile[k] * time_s[k] * per_second, 1.0),
            right[k] * per_right,
            yield_per_j[k] * per_yield,
        ]
    return row


def steady_features(
    ops: Ops,
    *,
    usable_j: Value,
    slot_s: Value,
    harvest_j: Value,
    load_j: Value,
    sunlit_frac: Value,
    eclipse_in_s: Value,
    sunrise_in_s: Value,
    pass_s: Value,
    pass_in_s: Value,
    accuracy_floor_frac: Value,
    may_idle: Value,
    ahead_slots: Value,
    net_sum_j: Sequence[Value],
    value_sum: Sequence[Value],
) -> list[Value]:
    """Return the steady block and the horizons; the last of ``value_sum`` covers all that is ahead within the windows."""
    low, high = ops.minimum, ops.maximum
    reach_s = _REACH * slot_s
    scale = high(value_sum[-1], _TINY)
    return [
        low(harvest_j / usable_j * 8.0, 2.0),
        low(load_j / usable_j * 8.0, 2.0),
        sunlit_frac,
        low(eclipse_in_s / reach_s, 1.0),
        low(sunrise_in_s / reach_s, 1.0),
        pass_s / slot_s,
        low(pass_in_s / reach_s, 1.0),
        accuracy_floor_frac,
        may_idle,
        low(ahead_slots / _REACH, 1.0),
        *[low(high(net / usable_j, -2.0), 2.0) for net in net_sum_j],
        *[value / scale for value in value_sum],
    ]


def observe(state: SlotState) -> NDArray[np.float32]:
    """Return the row of a slot, float32 of length ``observation_size(len(state.options))``, all finite."""
    ops = SCALAR
    waiting = float(state.waiting_tile)
    room_j = min(state.budget_j, state.heat_budget_j)
    options = state.options
    tile = [admitted_tile(ops, waiting, room_j, state.time_budget_s, o.energy_j, o.time_s) for o in options]
    ahead_net, ahead_value = state.ahead_net_j[:_REACH], state.ahead_value[:_REACH]
    live = live_features(
        ops,
        capacity_j=state.capacity_j,
        reserve_j=state.reserve_j,
        limit_k=state.temperature_limit_k,
        charge_j=state.charge_j,
        budget_j=state.budget_j,
        temperature_k=state.temperature_k,
        heat_budget_j=state.heat_budget_j,
        time_budget_s=state.time_budget_s,
        waiting_tile=waiting,
        queued_tile=float(state.queued_tile),
        backlog_byte=float(state.backlog_byte),
        downlink_byte=float(state.downlink_byte),
        value_per_correct=state.value_per_correct,
        ahead_value=sum(ahead_value),
        ahead_net_j=state.harvest_j - state.load_j + sum(ahead_net),
        accuracy_floor_frac=state.accuracy_floor_frac,
        accuracy_frac=[o.accuracy_frac for o in options],
        energy_j=[o.energy_j for o in options],
        time_s=[o.time_s for o in options],
        tile=tile,
        healthy=[o.healthy for o in options],
    )
    steady = steady_features(
        ops,
        usable_j=max(state.capacity_j - state.reserve_j, 1.0),
        slot_s=state.duration_s,
        harvest_j=state.harvest_j,
        load_j=state.load_j,
        sunlit_frac=state.sunlit_frac,
        eclipse_in_s=state.eclipse_in_s,
        sunrise_in_s=state.sunrise_in_s,
        pass_s=state.pass_s,
        pass_in_s=state.pass_in_s,
        accuracy_floor_frac=state.accuracy_floor_frac,
        may_idle=1.0 if state.may_idle else 0.0,
        ahead_slots=float(len(state.ahead_net_j)),
        net_sum_j=[sum(ahead_net[:window]) for window in WINDOWS_SLOT],
        value_sum=[sum(ahead_value[:window]) for window in WINDOWS_SLOT],
    )
    return np.array(live + steady, dtype=np.float32)


def action_mask(state: SlotState) -> NDArray[np.bool_]:
    """Return which actions make sense: each option, then idling where it is allowed. At least one is always open.

    An option is open if it is healthy, meets the accuracy floor and at least one tile fits. Where none is and idling is not
    allowed, every option is open.
    """
    room_j = min(state.budget_j, state.heat_budget_j)
    waiting = float(state.waiting_tile)
    fits = [
        option.healthy
        and option.accuracy_frac >= state.accuracy_floor_frac
        and admitted_tile(SCALAR, waiting, room_j, state.time_budget_s, option.energy_j, option.time_s) >= 1.0
        for option in state.options
    ]
    if state.may_idle:
        return np.array([*fits, True])
    return np.array(fits if any(fits) else [True] * len(fits))
