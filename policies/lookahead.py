"""Receding horizon: plan the forecast slots as a linear programme, act on the first, plan again in the next slot."""

from __future__ import annotations

from dataclasses import dataclass

from power_sim.dynamics import Plant
from power_sim.scenario import Scenario
from power_sim.slot import SlotState
from power_sim.timeline import timeline_of

from .decision import Decision, choose, idle
from .frontier import NOTHING, Cell, Gain, Stored, gain_of, hull, lowest_charges, stored_worths
from .survey import survey
from .words import charge, joules, points
from .worth import Worth

REPEATS = 2
"""How often a whole forecast is taken to come again."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a planner knows of a mission beyond the slot: its battery, its value unit, and how dense value lies."""

    cell: Cell
    points_per_value: float
    """Points for one right answer of value 1; 0 where the reward gives no reason to save."""
    tile_per_value: float
    """Tiles behind a forecast value of 1."""
    horizon_slots: int
    """Length of a whole forecast; a shorter one ends with the mission."""


@dataclass(frozen=True, slots=True)
class Lookahead:
    """Weighs what an option gives now against what its joules would give in the slots of the forecast.

    The forecast's orbit part is exact, its arrivals are expectations. The slots ahead are planned with this slot's
    networks, as if each slot's tiles had to be done in it, and what lies beyond the forecast as if it came again.
    """

    outlook: Outlook
    worth: Worth
    name: str = "lookahead"

    def decide(self, state: SlotState) -> Decision:
        """Return the option with the best sum of worth now and worth of the charge that it leaves."""
        options, stored = survey(state), self.stored(state)
        scores: dict[int | None, float] = {None: stored(self._charge_after(state, 0.0))} if state.may_idle else {}
        for index in options.allowed:
            now = self.worth(state, state.options[index], options.works[index])
            scores[index] = now + stored(self._charge_after(state, options.works[index].energy_j))
        if not scores:
            return idle("no option is allowed")
        best = max(scores, key=lambda index: scores[index])
        if best is None:
            return idle(f"its joules are worth more in the {len(state.ahead_net_j)} slots ahead, {charge(state)}")
        work = options.works[best]
        gives = points(self.worth(state, state.options[best], work))
        reason = f"{state.options[best].model}: {gives} for {joules(work.energy_j)}, best with what lies ahead"
        return choose(state.options, best, f"{reason}, {charge(state)}")

    def stored(self, state: SlotState) -> Stored:
        """Return what charge is worth after this slot."""
        ahead = zip(state.ahead_value, state.ahead_net_j, strict=True)
        gains = [self._gain(state, value, self.outlook.tile_per_value * value, net_j) for value, net_j in ahead]
        if len(gains) >= self.outlook.horizon_slots:
            gains *= 1 + REPEATS
        changes = [gain.change_j for gain in gains]
        floors = viable_floors([0.0, *changes], state.reserve_j, state.capacity_j)
        lowest = lowest_charges(min(self._charge_after(state, 0.0), floors[0]), changes, floors[1:])
        return stored_worths(gains, lowest, state.capacity_j)[0]

    def _gain(self, state: SlotState, value: float, tile: float, net_j: float) -> Gain:
        """Return what spending in a slot of the forecast gives."""
        corners = []
        for option in state.options:
            fits_frac = min(1.0, state.time_budget_s / max(tile * option.time_s, 1e-9))
            gives = fits_frac * value * option.accuracy_frac * self.outlook.points_per_value
            corners.append((fits_frac * tile * option.energy_j + option.awake_j, gives))
        return gain_of(self.outlook.cell, hull(corners) if tile > 0 else NOTHING, net_j)

    def _charge_after(self, state: SlotState, energy_j: float) -> float:
        return self.outlook.cell.settled_j(state.charge_j, state.harvest_j - state.load_j - energy_j)


def viable_floors(change_j: list[float], reserve_j: float, capacity_j: float) -> list[float]:
    """Return the charge that must be left after each slot so that idling on never goes below the reserve.

    >>> viable_floors([1.0, -2.0, -3.0, 4.0], reserve_j=10.0, capacity_j=14.0)
    [14.0, 13.0, 10.0, 10.0]
    """
    floors = [reserve_j] * len(change_j)
    for slot in range(len(change_j) - 2, -1, -1):
        floors[slot] = min(max(reserve_j, floors[slot + 1] - change_j[slot + 1]), capacity_j)
    return floors


def outlook_of(scenario: Scenario) -> Outlook:
    """Return what a planner may know of a scenario: its battery and, from the ground track, how dense value lies."""
    line = timeline_of(scenario)
    tile = line.mean_tile.sum(axis=1) * (1.0 - scenario.workload.cloud_mean_frac)
    value = line.expected_value
    slope = float(tile @ value) / max(float(value @ value), 1e-9)
    gives = 0.0 if line.plant.paper else 1.0 / scenario.reward.unit_tile
    return Outlook(cell_of(line.plant), gives, slope, scenario.policy.horizon_slots)


def typical_points_per_j(scenario: Scenario) -> float:
    """Return what the thriftiest network makes of a joule on a mission's average tile; 0 where joules buy no points."""
    outlook = outlook_of(scenario)
    if outlook.tile_per_value <= 0.0:
        return 0.0
    line = timeline_of(scenario)
    value_per_tile = float(line.expected_value.sum()) / max(float(line.mean_tile.sum()), 1e-9)
    best = max(model.accuracy_frac / model.energy_j for model in scenario.pool.models)
    return outlook.points_per_value * value_per_tile * best


def cell_of(plant: Plant) -> Cell:
    """Return the battery of a simulated craft as a planner sees it."""
    return Cell(
        plant.capacity_j, plant.charge_eff_frac, plant.discharge_eff_frac, plant.max_charge_j, plant.max_discharge_j
    )
