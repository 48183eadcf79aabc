"""What a slot's work is expected to be worth: rules, shield and bound rank choices by the scenario's own reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from power_sim.metrics import effective_accuracy_frac, paper_reward, value_reward
from power_sim.scenario import Scenario
from power_sim.slot import Option, SlotState, Work


class Worth(Protocol):
    """Expected reward of doing ``work`` with ``option`` in the slot, in points."""

    def __call__(self, state: SlotState, option: Option, work: Work) -> float:
        """Return the points."""
        ...


def right_answers(state: SlotState, option: Option, work: Work) -> float:
    """Return the expected number of right answers, weighted by what one is worth here."""
    return work.tile * option.accuracy_frac * state.value_per_correct


@dataclass(frozen=True, slots=True)
class ValueWorth:
    """Right answers in units of ``unit_tile`` right answers of value 1."""

    unit_tile: float

    def __call__(self, state: SlotState, option: Option, work: Work) -> float:
        """Return the points."""
        return value_reward(work.tile, option.accuracy_frac, state.value_per_correct, self.unit_tile)


LEAST_J = 1e-15
"""What a tile counts as costing at least, so that a free one has a worth too."""


@dataclass(frozen=True, slots=True)
class PaperWorth:
    """Reward (19) of LEO-IISat; tiles beyond the budget count as wrong answers."""

    aee_weight: float
    margin_weight: float

    def __call__(self, state: SlotState, option: Option, work: Work) -> float:
        """Return the points."""
        accuracy_frac = effective_accuracy_frac(option.accuracy_frac, work.tile, state.waiting_tile)
        floor_frac = state.accuracy_floor_frac
        energy_j = option.energy_j if option.energy_j > LEAST_J else LEAST_J
        return paper_reward(accuracy_frac, energy_j, floor_frac, self.aee_weight, self.margin_weight)


def worth_of(scenario: Scenario) -> Worth:
    """Return what a scenario's slots are worth."""
    reward = scenario.reward
    if reward.kind == "paper":
        return PaperWorth(reward.aee_weight, reward.margin_weight)
    return ValueWorth(reward.unit_tile)
