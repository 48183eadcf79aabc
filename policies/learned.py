"""A trained network as a policy: the slot's row in, the best allowed action out. numpy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from power_sim.observation import OBSERVATION_LAYOUT, OPTION_SIZE, numbers, observation_size
from power_sim.scenario import Scenario
from power_sim.slot import SlotState

from .decision import Decision, choose, idle
from .errors import PolicyFileError
from .network import OneRow, PolicyFile
from .words import charge

IDLE_ACTION = "idle"


class Scores(Protocol):
    """A network or a table: one number per action for an observation."""

    def __call__(self, row: Sequence[float]) -> list[float]:
        """Return a score for each action; a row counts as float32."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Scores every action with a network or a table and takes the best that is allowed.

    Actions count as in ``SlotState.options``; where the scenario lets slots idle, the last action idles.
    """

    name: str
    network: Scores

    def decide(self, state: SlotState) -> Decision:
        """Return the action of the best score; an answer that is not a number is left to the shield."""
        live, blocks, steady = numbers(state)
        scores, options = self.network(live + blocks + steady), len(state.options)
        may_idle = state.may_idle and len(scores) > options
        best, second = two_best(scores, blocks[::OPTION_SIZE], may_idle)
        if best == options and not may_idle:
            return choose(state.options, max(range(options), key=scores.__getitem__), "nothing fits this slot")
        said = "scores" if self.name == "policy-gradient" else "expects a reward of"
        lead = "" if second is None else f", {scores[best] - scores[second]:.2g} above {action_name(state, second)}"
        reason = f"{action_name(state, best)}: {said} {scores[best]:.3g}{lead}, {charge(state)}"
        return idle(reason) if best == options else choose(state.options, best, reason)


def two_best(scores: list[float], flags: list[float], may_idle: bool) -> tuple[int, int | None]:
    """Return the best and the second best of the choices that are open; ``scores[len(flags)]`` is that of idling.

    Idling is open where it is allowed or nothing else is. The first of equal scores comes first.

    >>> two_best([2.0, 5.0, 3.0, 9.0], [1.0, 1.0, 1.0], may_idle=False)
    (1, 2)
    """
    best: int | None = None
    second: int | None = None
    for index, flag in enumerate(flags):
        if flag > 0.0:
            if best is None or scores[index] > scores[best]:
                best, second = index, best
            elif second is None or scores[index] > scores[second]:
                second = index
    last = len(flags)
    if best is None:
        return last, None
    if may_idle:
        if scores[last] > scores[best]:
            return last, best
        if second is None or scores[last] > scores[second]:
            second = last
    return best, second


def action_name(state: SlotState, index: int) -> str:
    """Return what people call an action of this slot."""
    return state.options[index].model if index < len(state.options) else IDLE_ACTION


def action_names(scenario: Scenario) -> list[str]:
    """Return what a scenario's actions are called: model@mode for each option, then ``idle`` where it is allowed."""
    names = [f"{model.name}@{model.mode}" for model in scenario.pool.models]
    return [*names, IDLE_ACTION] if scenario.limits.may_idle else names


def describe(kind: str, scenario: Scenario, trained: dict[str, Any]) -> dict[str, Any]:
    """Return the description that a policy file carries."""
    return {
        "kind": kind,
        "layout": OBSERVATION_LAYOUT,
        "actions": action_names(scenario),
        "scenario": scenario.name,
        "scenario_sha256": scenario.sha256,
        "trained": trained,
    }


def learned_policy(name: str, file: PolicyFile, scenario: Scenario, source: str) -> Learned:
    """Return a network's policy for a scenario, or say in a ``PolicyFileError`` why the file is not for it."""
    check_file(name, file.about, (file.network.inputs, file.network.outputs), scenario, source)
    return Learned(name, OneRow.of(file.network))


def check_file(kind: str, about: Mapping[str, Any], sizes: tuple[int, int], scenario: Scenario, source: str) -> None:
    """Refuse a file of another kind, observation layout, pool or size (numbers in, actions out)."""
    layout, actions = about.get("layout"), about.get("actions")
    if about.get("kind") != kind:
        raise PolicyFileError(
            f"{source} holds a {about.get('kind')!r} policy, not {kind!r}. Ask for {about.get('kind')}:PATH."
        )
    if layout != OBSERVATION_LAYOUT:
        raise PolicyFileError(
            f"{source} reads observations of layout {layout!r}, this version makes {OBSERVATION_LAYOUT!r}. "
            "Train it anew."
        )
    wanted = action_names(scenario)
    if actions != wanted:
        raise PolicyFileError(
            f"{source} chooses from {_list(actions)}, but {scenario.name} offers {_list(wanted)}. "
            f"Train one for this pool: subsolar train {kind} --scenario {scenario.name}"
        )
    size = observation_size(len(scenario.pool.models))
    if sizes != (size, len(wanted)):
        raise PolicyFileError(
            f"{source} takes {sizes[0]} inputs and scores {sizes[1]} actions; "
            f"{scenario.name} needs {size} and {len(wanted)}. Train it anew."
        )


def _list(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else "nothing known"
