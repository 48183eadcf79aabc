"""What a policy says, and what the shield lets it do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from power_sim.slot import Option, SlotState, Work

from .words import joules, points


@dataclass(frozen=True, slots=True)
class Decision:
    """One slot's choice. ``option_index`` counts in ``SlotState.options``; ``None`` idles."""

    option_index: int | None
    model: str
    """``idle`` where nothing runs."""
    mode: str
    reason: str
    """One short sentence with its numbers, for a person."""


class Otherwise(NamedTuple):
    """What the next best choice would have cost and given, beside the one that stands."""

    model: str
    """``idle`` where nothing would run."""
    more_j: float
    more_worth: float
    """In points."""

    def __str__(self) -> str:
        """Return it in words."""
        cost = f"{joules(abs(self.more_j))} {'more' if self.more_j >= 0 else 'less'}"
        return f"{self.model}: {cost}, {points(abs(self.more_worth))} {'more' if self.more_worth >= 0 else 'less'}"


class Admitted(NamedTuple):
    """A decision after the shield, with the work that it does in the slot."""

    decision: Decision
    work: Work
    overruled: str
    """What the shield changed and why, empty where it agreed."""
    otherwise: Otherwise | None
    """None where every other choice comes to the same, or there is none."""

    @property
    def counterfactual(self) -> str:
        """What the next best choice would have cost and given, in words; empty where there is none."""
        return "" if self.otherwise is None else str(self.otherwise)


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
