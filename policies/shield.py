"""The last word on every choice: what would break a limit is barred, whatever the policy says.

The shield is not learned and trusts nothing that a policy returns. The work itself comes from ``power_sim.slot.admit``,
which keeps the slot's energy, time and heat; the shield adds health, the accuracy floor, broken numbers and answers
that name no option.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

from power_sim.slot import IDLE, SlotState

from .decision import Admitted, Decision, Otherwise, Policy, choose, idle
from .errors import PolicyError
from .survey import Survey, state_fault, survey
from .worth import Worth, right_answers

POLICY_FAULTS = (PolicyError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError)
"""What a broken policy raises. The slot goes on without it; anything else is a fault of ours and stops the run."""


@dataclass(frozen=True, slots=True)
class Shield:
    """Turns what a policy says into work that keeps every limit of the slot."""

    worth: Worth = field(default=right_answers)
    keep_floor: bool = True
    """False only to grade a rule that ignores the accuracy floor, as the paper's fixed models do."""

    def admit(self, state: SlotState, policy: Policy) -> Admitted:
        """Return what ``policy`` may do in this slot, whatever it returns or raises."""
        return self.judge(state, _said(state, policy))

    def judge(self, state: SlotState, said: object) -> Admitted:
        """Return what the shield makes of a policy's answer."""
        if fault := state_fault(state):
            return Admitted(idle(fault), IDLE, f"{fault}; idle instead", None)
        options = survey(state, keep_floor=self.keep_floor)
        index, complaint = _wanted(state, said, options)
        if complaint:
            return self._overrule(state, options, complaint)
        reason = said.reason if isinstance(said, Decision) and isinstance(said.reason, str) else "the policy's choice"
        if index is None:
            return Admitted(idle(reason), IDLE, "", self._next_best(state, options, None))
        option, aside = state.options[index], self._aside(state, index)
        decision = None if aside else _as_said(said)
        if decision is None or (decision.model, decision.mode) != (option.model, option.mode):
            decision = choose(state.options, index, reason + aside)
        return Admitted(decision, options.works[index], "", self._next_best(state, options, index))

    def _overrule(self, state: SlotState, options: Survey, complaint: str) -> Admitted:
        """Return the allowed option that is worth most now, or idle where there is none."""
        best, _ = self._best(state, options, skip=None)
        if best is None:
            return Admitted(idle("no option is allowed"), IDLE, f"{complaint}; idle instead", None)
        aside = self._aside(state, best)
        decision = choose(state.options, best, f"the shield's choice: worth most of what is allowed{aside}")
        overruled = f"{complaint}; {decision.model} instead{aside}"
        return Admitted(decision, options.works[best], overruled, self._next_best(state, options, best))

    def _aside(self, state: SlotState, index: int) -> str:
        """Return the words for an option that is below the floor and runs all the same."""
        accuracy_frac = state.options[index].accuracy_frac
        if not self.keep_floor or accuracy_frac >= state.accuracy_floor_frac:
            return ""
        return f" (no option reaches the floor of {state.accuracy_floor_frac:.1%}; this is the most accurate)"

    def _best(self, state: SlotState, options: Survey, skip: int | None) -> tuple[int | None, float]:
        """Return the allowed option that is worth most in this slot, and its worth; none is worth nothing."""
        best, most = None, 0.0
        for index, bar in enumerate(options.bars):
            if bar or index == skip:
                continue
            worth = self.worth(state, state.options[index], options.works[index])
            if best is None or worth > most:
                best, most = index, worth
        return best, most

    def _next_best(self, state: SlotState, options: Survey, chosen: int | None) -> Otherwise | None:
        """Return what the best of the other choices would have cost and given; idling costs and gives nothing."""
        other, other_worth = self._best(state, options, skip=chosen)
        if other is None and (chosen is None or not state.may_idle):
            return None
        other_j = 0.0 if other is None else options.works[other].energy_j
        energy_j = worth = 0.0
        if chosen is not None:
            energy_j = options.works[chosen].energy_j
            worth = self.worth(state, state.options[chosen], options.works[chosen])
        if energy_j == other_j and worth == other_worth:
            return None  # nothing waits, or nothing fits: every choice comes to the same
        return Otherwise(
            "idle" if other is None else state.options[other].model, other_j - energy_j, other_worth - worth
        )


def _said(state: SlotState, policy: Policy) -> object:
    """Return a policy's answer, or the fault that kept it from answering."""
    try:
        return policy.decide(state)
    except POLICY_FAULTS as fault:
        return fault


def _as_said(said: object) -> Decision | None:
    """Return a policy's answer as it stands where it is a whole decision: the same record once more costs time."""
    whole = type(said) is Decision and type(said.option_index) is int and type(said.reason) is str
    return said if whole and isinstance(said, Decision) else None


def _wanted(state: SlotState, said: object, options: Survey) -> tuple[int | None, str]:
    """Return the option that a policy asked for and what speaks against it."""
    if isinstance(said, Exception):
        return None, f"the policy failed ({type(said).__name__}: {said})"
    index: Any = getattr(said, "option_index", said)
    if index is None:
        may_idle = state.may_idle or not options.allowed
        return None, "" if may_idle else "this scenario lets no slot idle"
    try:
        number = operator.index(index)
    except TypeError:
        return None, f"the policy's answer names no option (it is a {type(index).__name__})"
    if not 0 <= number < len(options.bars):
        asked = number if abs(number) < 1e6 else "far out of range"
        return None, f"the policy asked for option {asked} of {len(options.bars)}"
    return number, options.bars[number]
