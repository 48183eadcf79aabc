"""Policies that nobody trained: a fixed network, chance, and three rules that look at one slot alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from power_sim.slot import SlotState

from .decision import Decision, choose, idle
from .survey import Survey, survey
from .words import charge, joules, points
from .worth import Worth, right_answers


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same network, in the first of its modes that may run."""

    model: str

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"fixed:{self.model}"

    def decide(self, state: SlotState) -> Decision:
        """Return the network, or idle where this slot does not offer it."""
        modes = [index for index, option in enumerate(state.options) if option.model == self.model]
        if not modes:
            return idle(f"{self.model} is not on offer in this slot")
        healthy = [index for index in modes if state.options[index].healthy]
        return choose(state.options, (healthy or modes)[0], "the only network that this policy knows")


@dataclass(frozen=True, slots=True)
class Chance:
    """Any option, or idle where allowed, with equal probability; the same slot and seed give the same choice."""

    seed: int
    name: str = "random"

    def decide(self, state: SlotState) -> Decision:
        """Return a draw for this slot."""
        choices = len(state.options) + state.may_idle
        drawn = random.Random(f"{self.seed}/{state.slot}").randrange(choices) if choices else 0
        return (
            choose(state.options, drawn, "drawn by chance") if drawn < len(state.options) else idle("drawn by chance")
        )


@dataclass(frozen=True, slots=True)
class Greedy:
    """The option that is worth most in this slot, whatever it leaves for the next ones."""

    worth: Worth = field(default=right_answers)
    name: str = "greedy"

    def decide(self, state: SlotState) -> Decision:
        """Return the option of most worth now; idle where none is worth anything."""
        options = survey(state)
        worths = _worths(state, options, self.worth)
        return _best(state, options, worths, worths)


@dataclass(frozen=True, slots=True)
class Threshold:
    """The best network on a full battery, the thriftiest on a half-empty one, none on an empty one."""

    rich_frac: float = 0.5
    poor_frac: float = 0.1
    worth: Worth = field(default=right_answers)
    name: str = "threshold"

    def decide(self, state: SlotState) -> Decision:
        """Return the choice for the share of the battery above the reserve that is left."""
        left_frac = _left_frac(state, state.charge_j)
        if left_frac < self.poor_frac and state.may_idle:
            return idle(f"{charge(state)} is too little to spend")
        options = survey(state)
        worths = _worths(state, options, self.worth)
        if left_frac >= self.rich_frac:
            return _best(state, options, worths, worths)
        thrift = {
            i: worth / max(state.options[i].energy_j * options.works[i].tile, 1e-9) for i, worth in worths.items()
        }
        return _best(state, options, worths, thrift)


@dataclass(frozen=True, slots=True)
class Barrier:
    """Worth now less a barrier price for each joule: constant time, no forecast.

    After Equinox (Erol and Mahajan 2026, arXiv:2604.19958): the price of a joule grows without bound as charge nears
    the reserve, and work runs where it is worth more. The price is the slope of a logarithmic barrier on the share of
    the battery above the reserve: nothing for a full battery, ``weight`` times the mission's typical return at a half.
    """

    points_per_j: float
    """What a joule typically returns in the mission."""
    weight: float = 0.3
    worth: Worth = field(default=right_answers)
    name: str = "barrier"

    def decide(self, state: SlotState) -> Decision:
        """Return the option of most worth after its barrier cost; idle costs and gives nothing."""
        options = survey(state)
        worths = _worths(state, options, self.worth)
        left_frac = max(_left_frac(state, state.charge_j), 1e-6)
        price = self.weight * self.points_per_j * (1.0 / left_frac - 1.0)
        return _best(state, options, worths, {i: w - price * options.works[i].energy_j for i, w in worths.items()})


def _worths(state: SlotState, options: Survey, worth: Worth) -> dict[int, float]:
    """Return what each allowed option is worth in this slot."""
    return {i: worth(state, state.options[i], options.works[i]) for i in options.allowed}


def _best(state: SlotState, options: Survey, worths: dict[int, float], scores: dict[int, float]) -> Decision:
    """Return the option of the best score, with the runner-up in its reason."""
    ranked = sorted(scores, key=lambda index: -scores[index])
    if not ranked:
        return idle("no option is allowed")
    best = ranked[0]
    if scores[best] <= 0.0 and state.may_idle:
        return idle(f"nothing is worth its joules here, {charge(state)}")
    model = state.options[best].model
    if len(ranked) == 1:
        return choose(state.options, best, f"{model}: {points(worths[best])}, {charge(state)}")
    second = ranked[1]
    more, more_j = worths[best] - worths[second], options.works[best].energy_j - options.works[second].energy_j
    than = state.options[second].model
    beside = f"{joules(abs(more_j))} {'less' if more_j < 0 else 'more'} than {than}"
    reason = f"{model}: {more:+.3g} points for {beside}, {charge(state)}"
    return choose(state.options, best, reason)


def _left_frac(state: SlotState, charge_j: float) -> float:
    """Return the share of the battery above the reserve that is left, 1 where there is no battery to spare."""
    usable_j = state.capacity_j - state.reserve_j
    return min(max((charge_j - state.reserve_j) / usable_j, 0.0), 1.0) if usable_j > 0 else 1.0
