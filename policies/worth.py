"""What a slot's work is worth, so that rules, shield and bound rank choices by one measure."""

from __future__ import annotations

from typing import Protocol

from power_sim.slot import Option, SlotState, Work


class Worth(Protocol):
    """Expected value of doing ``work`` with ``option`` in the slot."""

    def __call__(self, state: SlotState, option: Option, work: Work) -> float:
        """Return the value, in points."""
        ...


def right_answers(state: SlotState, option: Option, work: Work) -> float:
    """Return the expected number of right answers, weighted by what one is worth here."""
    return work.tile * option.accuracy_frac * state.value_per_correct
