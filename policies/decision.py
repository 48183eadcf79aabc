"""What a policy says, and what the shield lets it do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from power_sim.slot import Option, SlotState, Work


@dataclass(frozen=True, slots=True)
class Decision:
    """One slot's choice. ``option_index`` counts in ``SlotState.options``; ``None`` idles."""

    option_index: int | None
    model: str
    """``idle`` where nothing runs."""
    mode: str
    reason: str
    """One short sentence with its numbers, for a person."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A decision after the shield, with the work that it does in the slot."""

    decision: Decision
    work: Work
    overruled: str
    """What the shield changed and why, empty where it agreed."""
    counterfactual: str
    """What the next best choice would have cost and given."""


class Policy(Protocol):
    """Chooses an option for one slot. Depends on the state and on its own construction alone."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    def decide(self, state: SlotState) -> Decision:
        """Return the choice for ``state``; the shield has the last word."""
        ...


def idle(reason: str) -> Decision:
    """Return the decision to run nothing."""
    return Decision(None, "idle", "", reason)


def choose(options: tuple[Option, ...], index: int, reason: str) -> Decision:
    """Return the decision to run ``options[index]``."""
    option = options[index]
    return Decision(index, option.model, option.mode, reason)
