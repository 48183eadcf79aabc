"""What ``auto`` stands for in a mission: decided once when a flight is wired, from the mission file's text alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from policies.contest import FROM_ORBIT, Verdict
from policies.registry import AUTO, verdict_on
from power_sim.scenario import Scenario

from ..errors import MissionError

log = logging.getLogger(__name__)

DAY_SLOTS = 1_500
"""Slots at most of the day in which the flights of a contest begin."""
FLIGHT_ORBITS = 8.0
"""Length of these flights, at least. Where a full battery is all that counts, a rule wins that a daemon would regret
after half a day."""
DAY_S = 86_400.0


def mission_verdict(scenario: Scenario) -> Verdict | None:
    """Return what ``auto`` takes for a flight that does not end; None where the mission names another policy.

    The contest's flights begin somewhere in the day after the mission's epoch and are long. A recorded load is flown
    as it is. Raises ``PolicyFileError`` where the universal policy that ships is damaged.
    """
    if scenario.policy.name != AUTO:
        return None
    orbit = scenario.orbit
    if orbit.kind in FROM_ORBIT and scenario.workload.kind != "trace":
        days = min(1.0, DAY_SLOTS * orbit.slot_s / DAY_S)
        orbit = replace(orbit, window_days=days, orbits=max(orbit.orbits, FLIGHT_ORBITS))
    return verdict_on(replace(scenario, orbit=orbit))


def policy_of(scenario: Scenario, verdict: Verdict | None) -> str:
    """Return the name of the policy that flies."""
    return scenario.policy.name if verdict is None else verdict.policy


def note_verdict(verdict: Verdict | None, before: Verdict | None, told: Callable[[str], object]) -> None:
    """Log what ``auto`` took; a choice that changes in flight, with the pool or the mission file, is an event."""
    if verdict is None:
        return
    log.info("auto takes %s: %s", verdict.policy, verdict.reason)
    if before is not None and before.policy != verdict.policy:
        told(f"auto took {before.policy}, it takes {verdict.policy} from here on: {verdict.reason}")


def policy_aboard(entry: Mapping[str, Any], source: str) -> str:
    """Return the policy that a trace's header says flew, ``auto`` where it does not say what that was.

    Raises ``MissionError`` for a header that was changed.
    """
    name, auto = entry.get("policy"), entry.get(AUTO)
    if auto is not None and name == AUTO:
        name = auto.get("policy") if isinstance(auto, Mapping) else None
    if not isinstance(name, str):
        raise MissionError(f"{source}: its header names no policy. The file was changed.")
    return name
