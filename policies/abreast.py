"""Policies in vector form: what each would choose in the slots that are due in many flights at once, shield included.

The same choices as the policies make one by one; ``contest`` holds them against each other at a thousandth of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from power_sim.scenario import Scenario
from power_sim.timeline import awake_j
from power_sim.vector import VectorSimulator

from .network import FloatArray, Mlp
from .rules import Barrier, Threshold
from .universal import score, split
from .worth import LEAST_J

Float64Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Actions = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """The slots that are due in n flights. Arrays (options, n) unless said."""

    slot: int
    """Of every flight that goes on."""
    flight: NDArray[np.intp]
    """(n,): the number of each flight's mission."""
    row: FloatArray
    """(n, inputs)."""
    open: Flags
    """What the shield allows; where it allows nothing and no slot may idle, the most accurate."""
    tile: Float64Array
    """What fits."""
    work_j: Float64Array
    """What that takes."""
    energy_j: Float64Array
    """Per tile."""
    time_s: Float64Array
    """Per tile."""
    accuracy_frac: Float64Array
    worth: Float64Array
    """Of what fits, in points."""
    charge_j: Float64Array
    """(n,)."""
    time_budget_s: Float64Array
    """(n,)."""
    waiting_tile: Float64Array
    """(n,)."""
    may_idle: bool

    def part(self, lanes: slice | Flags) -> Due:
        """Return some of the flights."""
        return Due(
            self.slot, self.flight[lanes], self.row[lanes], self.open[:, lanes], self.tile[:, lanes],
            self.work_j[:, lanes], self.energy_j[:, lanes], self.time_s[:, lanes], self.accuracy_frac[:, lanes],
            self.worth[:, lanes], self.charge_j[lanes], self.time_budget_s[lanes], self.waiting_tile[lanes],
            self.may_idle,
        )  # fmt: skip

    def best(self, scores: Float64Array) -> Actions:
        """Return (n,): the open option of the best score, the first of equal ones; idling where none is above 0."""
        among = np.where(self.open, scores, -np.inf)
        choice: Actions = among.argmax(axis=0)
        if self.may_idle:
            choice[among.max(axis=0) <= 0.0] = len(scores)
        return choice

    def shielded(self, choice: Actions) -> Actions:
        """Return the choices with those that the shield bars replaced by its own: the open option worth most."""
        among = np.where(self.open, self.worth, -np.inf)
        instead = np.where(self.open.any(axis=0), among.argmax(axis=0), len(self.open))
        stands = self.open[choice, np.arange(len(choice))]
        return np.where(stands, choice, instead)


Chooser = Callable[[Due], Actions]
"""Returns (n,): the number of an option, or of options to idle."""


def fly_abreast(
    scenario: Scenario, choosers: Sequence[Chooser], seed: int, count: int, orbits: float | None = None
) -> Float64Array:
    """Return (choosers, count): what each makes of the missions with the seeds ``seed`` to ``seed + count - 1``."""
    simulator = VectorSimulator(scenario, len(choosers) * count, seed, count, orbits)
    row, _ = simulator.reset()
    lanes = [slice(n * count, (n + 1) * count) for n in range(len(choosers))]
    value, flying = np.zeros(simulator.copies), np.ones(simulator.copies, np.bool_)
    for slot in range(simulator.bank.slots):
        due = due_in(simulator, row, slot)
        step = simulator.step(
            np.concatenate([choose(due.part(own)) for choose, own in zip(choosers, lanes, strict=True)])
        )
        value += step.reward * flying
        flying &= ~(step.terminated | step.truncated)
        row = step.observation
    return value.reshape(len(choosers), count)


def due_in(simulator: VectorSimulator, row: FloatArray, slot: int) -> Due:
    """Return the slots that are due in a simulator's flights; flights that ended before ``slot`` count no more."""
    scenario, tile, energy_j = simulator.scenario, simulator.tile, simulator.energy_j
    accuracy, may_idle = simulator.accuracy_frac, scenario.limits.may_idle
    is_open = (tile >= 1.0) & (accuracy >= scenario.limits.accuracy_floor_frac)
    if not may_idle:
        nothing = ~is_open.any(axis=0)
        is_open[accuracy.argmax(axis=0)[nothing], np.flatnonzero(nothing)] = True
    work_j = tile * energy_j + np.array(awake_j(scenario))[:, None] * (tile > 0)
    return Due(
        slot=slot,
        flight=simulator.mission_seed - simulator.bank.seed,
        row=row,
        open=is_open,
        tile=tile,
        work_j=work_j,
        energy_j=energy_j,
        time_s=simulator.time_s,
        accuracy_frac=accuracy,
        worth=_worth(simulator),
        charge_j=simulator.charge_j,
        time_budget_s=np.broadcast_to(simulator.time_budget_s, simulator.charge_j.shape),
        waiting_tile=simulator.waiting_tile,
        may_idle=may_idle,
    )


def _worth(simulator: VectorSimulator) -> Float64Array:
    """Return what each option's work is worth, as ``worth_of`` would say."""
    scenario, tile, accuracy = simulator.scenario, simulator.tile, simulator.accuracy_frac
    reward, waiting = scenario.reward, simulator.waiting_tile
    if reward.kind != "paper":
        return np.asarray(tile * accuracy * simulator.value_per_correct / reward.unit_tile)
    effective = np.where(waiting > 0, accuracy * tile / np.maximum(waiting, 1.0), accuracy)
    margin = effective - scenario.limits.accuracy_floor_frac
    return np.asarray(
        reward.aee_weight * (effective / np.maximum(simulator.energy_j, LEAST_J)) + reward.margin_weight * margin
    )


def greedy(due: Due) -> Actions:
    """Choose as ``rules.Greedy`` does."""
    return due.best(due.worth)


def fixed(index: int) -> Chooser:
    """Return ``rules.Fixed`` for the network whose first mode is option ``index``."""
    return lambda due: due.shielded(np.full(due.tile.shape[1], index))


def threshold(rule: Threshold, capacity_j: float, reserve_j: float) -> Chooser:
    """Return ``rules.Threshold`` for a battery."""

    def choose(due: Due) -> Actions:
        left = left_frac(due.charge_j, capacity_j, reserve_j)
        thrift = due.worth / np.maximum(due.energy_j * due.tile, 1e-9)
        choice = np.where(left >= rule.rich_frac, due.best(due.worth), due.best(thrift))
        return np.where(left < rule.poor_frac, len(due.tile), choice) if due.may_idle else choice

    return choose


def barrier(rule: Barrier, capacity_j: float, reserve_j: float) -> Chooser:
    """Return ``rules.Barrier`` for a battery."""

    def choose(due: Due) -> Actions:
        left = np.maximum(left_frac(due.charge_j, capacity_j, reserve_j), 1e-6)
        price = rule.weight * rule.points_per_j * (1.0 / left - 1.0)
        return due.best(due.worth - price * due.work_j)

    return choose


def universal(network: Mlp) -> Chooser:
    """Return ``universal.Universal`` with a network."""

    def choose(due: Due) -> Actions:
        scores = score(network, *split(np.ascontiguousarray(due.row), len(due.tile)))
        idles = np.full((1, len(scores)), due.may_idle)
        choice: Actions = np.where(np.concatenate([due.open, idles]), scores.T, -np.inf).argmax(axis=0)
        return choice

    return choose


def left_frac(charge_j: Float64Array, capacity_j: float, reserve_j: float) -> Float64Array:
    """Return the share of the battery above the reserve that is left, as the rules reckon it."""
    usable_j = capacity_j - reserve_j
    return np.clip((charge_j - reserve_j) / usable_j, 0.0, 1.0) if usable_j > 0 else np.ones_like(charge_j)
