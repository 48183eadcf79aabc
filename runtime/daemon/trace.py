"""The decision trace: every slot's facts and what was decided on them, and the proof that they decide alike again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from policies.decision import Admitted, Policy
from policies.registry import AUTO, make_policy
from policies.shield import Shield
from power_sim.config import to_plain
from power_sim.scenario import Scenario, read_scenario
from power_sim.slot import IDLE, SlotState, Work

from ..errors import MissionError
from ..records import SlotRecord
from .auto import mission_verdict, policy_aboard, policy_of
from .readings import Readings, Reckoned
from .ring import OLDER, read_lines
from .world import Cautious, FlightWorld

SCHEMA = 1
FALLBACK = "threshold"
"""The rule that decides while the forecast or the mission's own policy cannot be trusted."""
DECIDED = ("model", "mode", "reason", "overruled", "counterfactual", "limited_by")
_MAPPINGS = ("arrived_tile", "queued_tile")
_TUPLES = ("energy_j", "time_s", "healthy")


def header(scenario: Scenario, policy: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first line of a trace: everything beside the facts that the decisions rest on."""
    return {"kind": "mission", "schema": SCHEMA, "policy": policy, "scenario": to_plain(scenario), **facts}


def slot_line(world: FlightWorld, record: SlotRecord) -> dict[str, Any]:
    """Return the line of the slot that ``world`` has just flown."""
    readings, state, ahead = world.readings, world.state, world.ahead
    assert readings is not None
    assert state is not None
    assert ahead is not None
    return {
        "kind": "slot",
        "leg_unix_s": ahead.leg.start_unix_s,
        "readings": asdict(readings),
        "state_sha256": state_sha256(state),
        "decided": {name: getattr(record, name) for name in DECIDED},
        "done": {"tile": record.admitted_tile, "energy_j": record.energy_j},
    }


def state_sha256(state: SlotState) -> str:
    """Return a hash that changes with any bit of a state; ``repr`` of a float is exact."""
    return hashlib.sha256(repr(state).encode()).hexdigest()


def mission_policy(scenario: Scenario, name: str, world: FlightWorld) -> Policy:
    """Return the policy of a flight: the mission's own, and the rule that stands in for it."""
    own, fallback = make_policy(name, scenario, seed=0), make_policy(FALLBACK, scenario, seed=0)
    return Cautious(own, fallback, lambda: world.caution)


@dataclass(frozen=True, slots=True)
class TraceResult:
    """What flying a trace again came to. ``differences`` and ``missing``: one line each, at most 20."""

    slots: int
    missions: int
    identical: int
    differences: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """Slots that the flight has flown and the trace does not hold."""
    verdicts: tuple[str, ...] = ()
    """Where ``auto`` would take another policy here than it took aboard."""

    @property
    def complete(self) -> bool:
        """Whether every slot was decided as before."""
        return self.slots == self.identical

    def table(self) -> str:
        """Return the result for a person."""
        lines = [f"{self.identical} of {self.slots} slots decided as aboard, {self.missions} start(s)"]
        return "\n".join([*lines, *self.missing, *self.verdicts, *self.differences])


def fly_trace(path: Path) -> TraceResult:
    """Fly a recorded trace again and compare every decision. Raises ``MissionError`` for what is no trace."""
    slots = missions = identical = 0
    differences: list[str] = []
    verdicts: list[str] = []
    numbers: list[int] = []
    recorded = _Recorded()
    world: FlightWorld | None = None
    policy: Policy | None = None
    began = False
    for entry in read_lines(path):
        if entry.get("kind") == "mission":
            missions += 1
            scenario = _scenario(path, entry)
            world = FlightWorld(scenario, recorded)
            name, other = _auto_again(scenario, policy_aboard(entry, path.name))
            policy, began = mission_policy(scenario, name, world), False
            verdicts += [f"start {missions}: {other}"] if other else []
            continue
        if world is None or policy is None or entry.get("kind") != "slot":
            raise MissionError(f"{path} is no decision trace: it begins with {entry.get('kind')!r}. Check the path.")
        if not began:
            world.forecaster.begin(float(entry["leg_unix_s"]))
            began = True
        slots += 1
        wrong = _again(world, policy, recorded, entry, path)
        identical += not wrong
        numbers.append(entry["readings"]["slot"])
        differences += [f"slot {entry['readings']['slot']}: {text}" for text in wrong[: 20 - len(differences)]]
    if slots == 0:
        raise MissionError(f"{path} holds no slots. Give the trace of a flight that has flown at least one.")
    missing = tuple(_missing(numbers, path))[:20]
    return TraceResult(slots, missions, identical, tuple(differences), missing, tuple(verdicts[:20]))


def _auto_again(scenario: Scenario, aboard: str) -> tuple[str, str]:
    """Return the policy to fly a trace again with, and how ``auto`` would choose otherwise today, if it would.

    What flew aboard flies again; a trace that does not say what ``auto`` stood for takes today's.
    """
    verdict = mission_verdict(scenario)
    today = policy_of(scenario, verdict)
    if aboard == AUTO or verdict is None:
        return (today if aboard == AUTO else aboard), ""
    return aboard, "" if today == aboard else f"auto took {aboard} aboard, it takes {today} here: {verdict.reason}"


def _missing(numbers: Sequence[int], path: Path) -> Iterator[str]:
    """Say which slots lie between those of a trace and before them, and why."""
    if numbers[0] > 0:
        older = path.with_name(path.name + OLDER)
        where = f"fly {older.name}, too" if older.exists() else "the ring has turned over them"
        yield f"slots 0 to {numbers[0] - 1} are not in {path.name}: {where}"
    for before, now in pairwise(numbers):
        if now <= before:
            yield f"slot {before} is followed by slot {now}: the flight began anew"
        elif now > before + 1:
            which = f"slot {now - 1} is" if now == before + 2 else f"slots {before + 1} to {now - 1} are"
            yield f"{which} missing: flown, but lost before the trace was written"


@dataclass
class _Recorded:
    """Hands in what was read aboard."""

    next: Readings | None = field(default=None)

    def read(self, reckoned: Reckoned) -> Readings:
        assert self.next is not None  # set before each observe
        return self.next


def _again(world: FlightWorld, policy: Policy, recorded: _Recorded, entry: Mapping[str, Any], path: Path) -> list[str]:
    recorded.next = _readings(entry, path)
    state = world.observe()
    admitted = Shield().admit(state, policy)
    before: Mapping[str, Any] = entry["decided"]
    now = _decided(admitted)
    wrong = [f"{name} was {before[name]!r}, is {now[name]!r}" for name in DECIDED if before[name] != now[name]]
    if entry["state_sha256"] != state_sha256(state):
        wrong.append("the state is another one")
    index = admitted.decision.option_index
    option = None if index is None else state.options[index]
    tile = min(int(entry["done"]["tile"]), state.waiting_tile)
    world.advance(Work(tile, float(entry["done"]["energy_j"]), 0.0, "none") if option and tile else IDLE, option)
    return wrong


def _decided(admitted: Admitted) -> dict[str, str]:
    decision = admitted.decision
    idle = decision.option_index is None
    return {
        "model": "idle" if idle else decision.model,
        "mode": "" if idle else decision.mode,
        "reason": decision.reason,
        "overruled": admitted.overruled,
        "counterfactual": admitted.counterfactual,
        "limited_by": admitted.work.limited_by,
    }


def _scenario(path: Path, entry: Mapping[str, Any]) -> Scenario:
    if entry.get("schema") != SCHEMA:
        raise MissionError(f"{path} has schema {entry.get('schema')!r}, this version reads {SCHEMA}. Update subsolar.")
    return read_scenario(entry["scenario"], path.name)


def _readings(entry: Mapping[str, Any], path: Path) -> Readings:
    try:
        table: dict[str, Any] = dict(entry["readings"])
        known = {item.name for item in fields(Readings)}
        table = {name: tuple(value) if name in _TUPLES else value for name, value in table.items() if name in known}
        readings = Readings(**table)
        whole = all(isinstance(getattr(readings, name), dict) for name in _MAPPINGS) and isinstance(readings.slot, int)
    except (KeyError, TypeError, ValueError) as error:
        raise MissionError(f"{path}: a slot's readings are not whole ({error}). The file was changed.") from error
    if not whole or not math.isfinite(readings.unix_s):
        raise MissionError(f"{path}: a slot's readings are not whole. The file was changed.")
    return readings


def slots_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the slot lines of a trace, oldest first."""
    return (entry for entry in read_lines(path) if entry.get("kind") == "slot")
