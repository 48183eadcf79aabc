"""A scenario as the runtime reads it: with the ``[downlink]`` section, which the simulation knows nothing of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from power_sim.config import key, override, read_table, read_toml
from power_sim.elements import PUBLISHED, refuse_stale
from power_sim.errors import ScenarioError
from power_sim.scenario import Scenario, load_scenario, read_scenario, scenario_names

from .daemon.sections import TaskSection, worth_by_task
from .downlink.rules import Rules

SECTION, TASKS = "downlink", "tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Valued:
    tasks: Mapping[str, TaskSection] = key({})


def load_with_rules(name: str, overrides: Mapping[str, str]) -> tuple[Scenario, Rules]:
    """Return a scenario and the operator's rules; ``downlink.KEY`` may be overridden like any other key.

    Raises ``ScenarioError`` for what ``load_scenario`` refuses, ``MissionError`` for a rule that makes no sense.
    """
    own = {key: value for key, value in overrides.items() if key.startswith(f"{SECTION}.")}
    others = {key: value for key, value in overrides.items() if key not in own}
    path = Path(name)
    if name in scenario_names() or not path.is_file():
        return load_scenario(name, others), rules_from(override({SECTION: {}}, own), "--set")
    table = override(read_toml(path), {**others, **own})
    rules = rules_from(table, path.name)
    table.pop(SECTION, None)
    table.pop(TASKS, None)
    table.setdefault("name", path.stem)
    scenario = read_scenario(table, path.name, path.parent)
    if scenario.orbit.kind in PUBLISHED:
        refuse_stale(scenario.orbit, path.name)
    return scenario, rules


def task_worth(name: str) -> dict[str, float]:
    """Return what a right answer is worth by task, from ``[tasks]`` of a scenario file; nothing for built-in ones."""
    path = Path(name)
    if name in scenario_names() or not path.is_file():
        return {}
    given = read_toml(path).get(TASKS, {})
    return worth_by_task(read_table(_Valued, {TASKS: given}, source=path.name).tasks)


def rules_from(table: Mapping[str, Any], source: str) -> Rules:
    """Return the rules of a file's table, the defaults where it has none. Raises ``MissionError``."""
    section = table.get(SECTION, {})
    if not isinstance(section, Mapping):
        raise ScenarioError(f"{source}: downlink = {section!r} is no section. Write [downlink].")
    return Rules.from_table(section)
