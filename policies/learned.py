"""A trained network as a policy: the slot's row in, the best allowed action out. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power_sim.observation import LIVE_SIZE, OBSERVATION_LAYOUT, OPTION_SIZE, observation_size, observe
from power_sim.scenario import Scenario
from power_sim.slot import SlotState

from .decision import Decision, choose, idle
from .errors import PolicyFileError
from .network import Mlp, PolicyFile
from .words import charge

IDLE_ACTION = "idle"


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Scores every action with a network and takes the best that is allowed.

    Actions count as in ``SlotState.options``; where the scenario lets slots idle, the last action idles.
    """

    name: str
    network: Mlp

    def decide(self, state: SlotState) -> Decision:
        """Return the action of the best score; an answer that is not a number is left to the shield."""
        row = observe(state)
        scores = self.network(row)
        options = len(state.options)
        allowed = [bool(flag) for flag in row[LIVE_SIZE : LIVE_SIZE + OPTION_SIZE * options : OPTION_SIZE]]
        if len(scores) > options:
            allowed.append(state.may_idle)
        ranked = sorted((i for i in range(len(scores)) if allowed[i]), key=lambda i: -float(scores[i]))
        if not ranked:
            return (
                idle("no option is allowed")
                if state.may_idle
                else choose(state.options, int(scores[:options].argmax()), "")
            )
        return self._explain(state, scores, ranked)

    def _explain(self, state: SlotState, scores: NDArray[np.float32], ranked: list[int]) -> Decision:
        best, names = ranked[0], [*(option.model for option in state.options), IDLE_ACTION]
        reason = f"{names[best]}: expects {scores[best]:.3g}"
        if len(ranked) > 1:
            reason += f", {scores[best] - scores[ranked[1]]:.2g} above {names[ranked[1]]}"
        reason += f", {charge(state)}"
        return idle(reason) if best == len(state.options) else choose(state.options, best, reason)


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
    """Return a policy for a scenario, or say in a ``PolicyFileError`` why the file is not for it."""
    layout, actions = file.about.get("layout"), file.about.get("actions")
    if layout != OBSERVATION_LAYOUT:
        raise PolicyFileError(
            f"{source} reads observations of layout {layout!r}, this version makes {OBSERVATION_LAYOUT!r}. "
            "Train it anew."
        )
    wanted = action_names(scenario)
    if actions != wanted:
        raise PolicyFileError(
            f"{source} chooses from {_list(actions)}, but {scenario.name} offers {_list(wanted)}. "
            f"Train one for this pool: subsolar train dqn --scenario {scenario.name}"
        )
    size = observation_size(len(scenario.pool.models))
    if (file.network.inputs, file.network.outputs) != (size, len(wanted)):
        raise PolicyFileError(
            f"{source} holds a network of {file.network.inputs} inputs and {file.network.outputs} actions; "
            f"{scenario.name} needs {size} and {len(wanted)}. Train it anew."
        )
    return Learned(name, file.network)


def _list(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else "nothing known"
