"""What one seed draws from a timeline: where the mission starts, how full the battery is, what arrives, how the
networks do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .frames import FloatArray
from .scenario import Scenario
from .timeline import Timeline


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One mission. ``arrived_tile``: (slots, covers), whole numbers; the draws: (slots, options), or (1, options)
    where constant."""

    seed: int
    first: int
    """Its first slot in the timeline."""
    slots: int
    initial_charge_j: float
    arrived_tile: FloatArray
    accuracy_shift: FloatArray
    """Added to each option's accuracy on the slot's tasks."""
    energy_j: FloatArray
    time_s: FloatArray


def draw_episode(scenario: Scenario, timeline: Timeline, seed: int) -> Episode:
    """Return the mission of a seed. The order of the draws is part of the format: equal seeds give equal missions."""
    rng = np.random.default_rng(seed)
    first = int(rng.integers(timeline.starts)) if timeline.starts > 1 else 0
    slots, power = timeline.episode_slots, scenario.power
    share = power.initial_charge_min_frac
    if power.initial_charge_max_frac > share:
        share += (power.initial_charge_max_frac - share) * rng.random()
    arrived = _draw_arrivals(scenario, timeline, first, rng)
    shift, energy, time = _draw_models(scenario, timeline, rng)
    return Episode(seed, first, slots, timeline.plant.capacity_j * share, arrived, shift, energy, time)


def _draw_arrivals(scenario: Scenario, timeline: Timeline, first: int, rng: np.random.Generator) -> FloatArray:
    work, slots = scenario.workload, timeline.episode_slots
    mean = timeline.mean_tile[first : first + slots]
    if work.kind == "trace":
        return np.floor(mean)
    if work.kind == "uniform":
        arrived = np.zeros_like(mean)
        arrived[:, 0] = rng.poisson(rng.uniform(work.tile_min, work.tile_max, slots))
        return arrived
    if work.kind == "patches":
        mean = mean * _draw_patches(scenario, timeline.covers, slots, rng)
    row, column = np.nonzero(mean)
    rate = mean[row, column]
    if work.cloud_mean_frac > 0:
        a = work.cloud_mean_frac * work.cloud_spread
        rate = rate * (1.0 - rng.beta(a, work.cloud_spread - a, slots))[row]
    arrived = np.zeros_like(mean)
    arrived[row, column] = rng.poisson(rate)
    return arrived


def _draw_patches(scenario: Scenario, covers: tuple[str, ...], slots: int, rng: np.random.Generator) -> FloatArray:
    """Return (slots, covers): 0, or for the scenery below the factor that turns the mean over all into its own rate."""
    share = np.array([scenario.workload.covers[name].share for name in covers])
    share = share / share.sum()
    stays = math.exp(-scenario.orbit.slot_s / scenario.workload.patch_s)
    moves = rng.random(slots) >= stays
    fresh = rng.choice(len(covers), size=slots, p=share)
    moves[0] = True
    below = fresh[np.maximum.accumulate(np.where(moves, np.arange(slots), 0))]
    factor = np.zeros((slots, len(covers)))
    factor[np.arange(slots), below] = 1.0 / share[below]
    return factor


def _draw_models(
    scenario: Scenario, timeline: Timeline, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    middle, width = timeline.models
    if scenario.pool.draw == "mean":
        return np.zeros((1, middle.shape[1])), middle[1:2], middle[2:3]
    u = rng.random((3, timeline.episode_slots, middle.shape[1])) - 0.5
    draws = u * width[:, None, :]
    for k, model in enumerate(scenario.pool.models):
        if model.draw != "uniform":
            for quantity, spread in enumerate(model.spreads()):
                draws[quantity, :, k] = spread.at(u[quantity, :, k] + 0.5) - middle[quantity, k]
    accuracy, energy, time = draws
    return accuracy, energy + middle[1], time + middle[2]
