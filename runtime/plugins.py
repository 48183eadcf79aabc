"""Parts that other distributions bring: entry points in the groups ``subsolar.sources``, ``.tasks`` and so on.

A plug-in is found by name and loaded when it is asked for, never before: what is not used costs nothing at start.
See docs/plugins.md for what each group's entry points must be.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from .errors import MissionError

if TYPE_CHECKING:
    from policies.decision import Policy
    from power_sim.scenario import Scenario

GROUPS = ("sources", "tasks", "engines", "policies", "meters", "links")


def plugin_names(group: str) -> tuple[str, ...]:
    """Names that installed distributions offer in ``group``. Raises ``MissionError`` for an unknown group."""
    return tuple(sorted({point.name for point in _points(group)}))


def find_plugin(group: str, name: str) -> Any:
    """The object that a plug-in's entry point names, None where nothing of that name is installed.

    Raises ``MissionError`` if two distributions offer the name, or if it cannot be imported.
    """
    points = {(point.value, point.name): point for point in _points(group) if point.name == name}
    if not points:
        return None
    if len(points) > 1:
        offers = ", ".join(sorted(value for value, _ in points))
        raise MissionError(
            f"Several distributions offer the {group} plug-in {name!r}: {offers}. Uninstall all but one."
        )
    (point,) = points.values()
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise MissionError(
            f"The {group} plug-in {name!r} ({point.value}) cannot be loaded: {error}. Install it again or remove it."
        ) from error


def policy_named(spec: str, scenario: Scenario, *, seed: int) -> Policy:
    """The policy that ``spec`` names, from a plug-in where one of that name is installed, else of our own.

    Raises ``PolicyError`` for a name that nobody knows.
    """
    from policies.registry import make_policy

    make = find_plugin("policies", spec.partition(":")[0])
    if make is None:
        return make_policy(spec, scenario, seed=seed)
    policy: Policy = make(scenario, seed=seed)
    return policy


def _points(group: str) -> tuple[EntryPoint, ...]:
    if group not in GROUPS:
        raise MissionError(f"There are no plug-ins of the group {group!r}. Use one of {', '.join(GROUPS)}.")
    return tuple(entry_points(group=f"subsolar.{group}"))
