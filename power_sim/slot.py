"""One time slot as a policy sees it, and what a choice would take from it.

The same ``SlotState`` is built for training, for a replay and in flight; ``admit`` is the only place that turns a
choice
into work, so that the simulator, the shield and the daemon can never disagree about what fits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One network in one power mode, as it would do on this slot's tasks."""

    model: str
    mode: str
    accuracy_frac: float
    """Expected share of right answers on this slot's tasks."""
    energy_j: float
    """Energy per tile above the idle draw."""
    time_s: float
    """Seconds per tile at the working batch size."""
    healthy: bool = True
    awake_j: float = 0.0
    """What a slot in this power mode draws beside its tiles: the mode's idle draw above the module's lowest."""


@dataclass(frozen=True, slots=True)
class SlotState:
    """What a policy may know before it chooses.

    Energies are of this slot unless the name says otherwise. ``harvest_j`` and everything called *ahead* are forecasts;
    in the simulator the orbit part of them is exact, the arrivals are expectations.
    """

    slot: int
    start_unix_s: float
    duration_s: float
    charge_j: float
    capacity_j: float
    reserve_j: float
    """The charge that no decision may go below."""
    harvest_j: float
    load_j: float
    """Bus, idle compute and radio: drawn whatever is chosen."""
    budget_j: float
    """What inference may draw in this slot (equations 6 and 7 of LEO-IISat, or charge above the reserve)."""
    time_budget_s: float
    heat_budget_j: float
    """What the compute module may dissipate in this slot before it reaches its limit."""
    temperature_k: float
    temperature_limit_k: float
    sunlit_frac: float
    eclipse_in_s: float
    """0 while in shadow."""
    sunrise_in_s: float
    """0 while lit."""
    ahead_net_j: tuple[float, ...]
    """Harvest less load of the slots after this one, nearest first."""
    ahead_value: tuple[float, ...]
    """Expected value waiting in the slots after this one (tiles x value per right answer), nearest first."""
    arrived_tile: int
    queued_tile: int
    """Left over from earlier slots and still worth doing."""
    value_per_correct: float
    difficulty_frac: float
    cover: str
    """What lies below: a key of the scenario's workload covers."""
    latitude_rad: float
    longitude_rad: float
    pass_in_s: float
    """Seconds to the next ground contact, 0 while in one."""
    pass_s: float
    """Contact time within this slot."""
    downlink_byte: int
    """What the link can carry in this slot."""
    backlog_byte: int
    accuracy_floor_frac: float
    may_idle: bool
    options: tuple[Option, ...]

    @property
    def waiting_tile(self) -> int:
        """Tiles that could be worked on now."""
        return self.arrived_tile + self.queued_tile


@dataclass(frozen=True, slots=True)
class Work:
    """What a choice does to a slot: tiles worked on, joules above idle, seconds busy, and what stopped it from doing
    more."""

    tile: int
    energy_j: float
    time_s: float
    limited_by: str
    """``none``, ``energy``, ``time``, ``heat`` or ``idle``."""


IDLE = Work(tile=0, energy_j=0.0, time_s=0.0, limited_by="idle")


def admit(state: SlotState, option: Option | None) -> Work:
    """Return how much of the waiting load ``option`` can do within the slot's energy, time and heat.

    ``None`` idles. Never admits more than any of the three budgets allows; a negative budget admits nothing.
    """
    if option is None:
        return IDLE
    energy_j, time_s, awake_j = option.energy_j, option.time_s, option.awake_j
    waiting, limit, room, in_heat = state.arrived_tile + state.queued_tile, "energy", math.inf, math.inf
    if energy_j > 0:
        room, in_heat = (state.budget_j - awake_j) / energy_j, (state.heat_budget_j - awake_j) / energy_j
    in_time = state.time_budget_s / time_s if time_s > 0 else math.inf
    if in_time < room:
        limit, room = "time", in_time
    if in_heat < room:
        limit, room = "heat", in_heat
    if room >= waiting:
        tile, limit = waiting, "none"
    else:
        tile = math.floor(room) if room > 0.0 else 0
    return Work(tile, tile * energy_j + awake_j * (tile > 0), tile * time_s, limit)
