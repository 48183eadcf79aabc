"""A scenario in a few numbers: whether energy is short, how its orbit lies, what it looks like over a mission."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .episode import draw_episode
from .scenario import Scenario
from .timeline import timeline_of


@dataclass(frozen=True, slots=True)
class Facts:
    """Means over seeds, per slot where a unit of energy or tiles is meant."""

    slots: int
    sunlit_frac: float
    harvest_w: float
    load_w: float
    supply_j: float
    """What inference could draw: spare charge at the start over the mission, and harvest less load."""
    arrived_tile: float
    busiest_tile: float
    demand_j: float
    """All arrived tiles through the most accurate network."""
    least_demand_j: float
    """All arrived tiles through the cheapest network."""

    @property
    def demand_to_supply(self) -> float:
        """Above 1: the best network cannot work on everything; looking ahead pays from about a half on."""
        return self.demand_j / self.supply_j


def facts_of(scenario: Scenario, seeds: int = 20) -> Facts:
    """Return the facts of a scenario over the missions of the seeds 0 .. ``seeds - 1``."""
    line = timeline_of(scenario)
    plant, models, slots = line.plant, scenario.pool.models, line.episode_slots
    supply, arrived = [], []
    for seed in range(seeds):
        episode = draw_episode(scenario, line, seed)
        part = slice(episode.first, episode.first + slots)
        spare_j = (episode.initial_charge_j - plant.reserve_j) * plant.discharge_eff_frac
        net_j = line.harvest_j[part].sum() - line.load_j[part].sum()
        supply.append((spare_j + net_j) / slots)
        arrived.append(episode.arrived_tile.sum(axis=1))
    tiles = np.concatenate(arrived)
    best = max(models, key=lambda model: model.accuracy_frac)
    return Facts(
        slots=slots,
        sunlit_frac=float(line.sunlit_frac.mean()),
        harvest_w=float(line.harvest_j.mean() / plant.slot_s),
        load_w=float(line.bus_j.mean() / plant.slot_s),
        supply_j=float(np.mean(supply)),
        arrived_tile=float(tiles.mean()),
        busiest_tile=float(tiles.max()),
        demand_j=float(tiles.mean()) * best.energy_j,
        least_demand_j=float(tiles.mean()) * min(model.energy_j for model in models),
    )
