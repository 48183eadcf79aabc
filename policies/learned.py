"""A trained network as a policy: the slot's row in, the best allowed action out. numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from power_sim.observation import LIVE_SIZE, OBSERVATION_LAYOUT, OPTION_SIZE, observation_size, observe
from power_sim.scenario import Scenario
from power_sim.slot import SlotState

from .decision import Decision, choose, idle
from .errors import PolicyFileError
from .network import FloatArray, PolicyFile
from .words import charge

IDLE_ACTION = "idle"


class Scores(Protocol):
    """A network or a table: one number per action for an observation."""

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return (actions,) for (inputs,)."""
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
        row, options = observe(state), len(state.options)
        scores: list[float] = self.network(row).tolist()
        flags: list[float] = row[LIVE_SIZE : LIVE_SIZE + OPTION_SIZE * options : OPTION_SIZE].tolist()
        open_to = [index for index, flag in enumerate(flags) if flag > 0.0]
        if state.may_idle and len(scores) > options:
            open_to.append(options)
        if not open_to:
            return choose(state.options, max(range(options), key=scores.__getitem__), "nothing fits this slot")
        best = max(open_to, key=scores.__getitem__)
        name = IDLE_ACTION if best == options else state.options[best].model
        said = "scores" if self.name == "policy-gradient" else "expects a reward of"
        reason = f"{name}: {said} {scores[best]:.3g}{_runner_up(state, scores, open_to, best)}, {charge(state)}"
        return idle(reason) if best == options else choose(state.options, best, reason)


def _runner_up(state: SlotState, scores: list[float], open_to: list[int], best: int) -> str:
    """Return by how much the best action leads the next one."""
    if len(open_to) < 2:
        return ""
    second = max((index for index in open_to if index != best), key=scores.__getitem__)
    name = IDLE_ACTION if second == len(state.options) else state.options[second].model
    return f", {scores[best] - scores[second]:.2g} above {name}"


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
    return Learned(name, file.network)


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
