"""What each option would do in a slot, and what speaks against it."""

from __future__ import annotations

from typing import NamedTuple

from power_sim.slot import IDLE, Option, SlotState, Work, admit

HUGE, TINY = 1e15, 1e-15
"""Joules and seconds beyond these are a fault of whoever states them."""


class Survey(NamedTuple):
    """One entry for each of the state's options."""

    works: tuple[Work, ...]
    bars: tuple[str, ...]
    """Why the option may not run; empty where it may."""

    @property
    def allowed(self) -> list[int]:
        """Indices of the options that may run."""
        return [index for index, bar in enumerate(self.bars) if not bar]


def survey(state: SlotState, *, keep_floor: bool = True) -> Survey:
    """Return what the shield would let each option do.

    Where no option reaches the accuracy floor and the scenario lets no slot idle, the most accurate one stays allowed.
    """
    floor_frac = state.accuracy_floor_frac if keep_floor else 0.0
    waiting = state.waiting_tile > 0
    works, bars = [], []
    for option in state.options:
        fault = option_fault(option)
        work = IDLE if fault else admit(state, option)
        works.append(work)
        fits = option.accuracy_frac >= floor_frac and (work.tile > 0 or not waiting)
        bars.append(fault or ("" if fits else _bar(option, work, floor_frac, waiting)))
    if not state.may_idle and all(bars):
        usable = [index for index, option in enumerate(state.options) if not option_fault(option)]
        if usable:
            bars[max(usable, key=lambda index: state.options[index].accuracy_frac)] = ""
    return Survey(tuple(works), tuple(bars))


def state_fault(state: SlotState) -> str:
    """Return what makes a state unusable, empty where it can be decided on."""
    budgets_hold = (
        state.budget_j > -HUGE
        and state.time_budget_s > -HUGE
        and state.heat_budget_j > -HUGE
        and state.accuracy_floor_frac > -HUGE
    )
    if not budgets_hold:
        return "a budget of this slot is not a number"
    if state.waiting_tile < 0:
        return f"the queue holds {state.waiting_tile} tiles"
    return ""


def option_fault(option: Option) -> str:
    """Return why an option can never run, empty where it can."""
    if not option.healthy:
        return f"{option.model} is unhealthy"
    energy_j, time_s = option.energy_j, option.time_s
    if TINY < energy_j < HUGE and TINY < time_s < HUGE and 0.0 <= option.accuracy_frac <= 1.0:
        return ""
    priced = (energy_j == 0.0 or TINY < energy_j < HUGE) and (time_s == 0.0 or TINY < time_s < HUGE)
    return "" if priced and 0.0 <= option.accuracy_frac <= 1.0 else f"the figures of {option.model} make no sense"


def _bar(option: Option, work: Work, floor_frac: float, waiting: bool) -> str:
    if option.accuracy_frac < floor_frac:
        return f"{option.model}: accuracy {option.accuracy_frac:.1%} is below the floor of {floor_frac:.1%}"
    if waiting and work.tile == 0:
        return f"{option.model}: not one tile fits the slot's {work.limited_by}"
    return ""
