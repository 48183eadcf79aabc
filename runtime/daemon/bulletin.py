"""What the daemon says of itself: one table for status, watchers and metrics."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..records import SlotRecord
from .ring import LOG
from .wiring import Aboard, Wired


@dataclass
class Diary:
    """What happened since the start."""

    counts: Counter[str] = field(default_factory=Counter)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=50))
    fault: str = ""
    """Why the last slot was not kept, empty where it was."""
    refused_reload: str = ""
    last: SlotRecord | None = None


def reasons_of(aboard: Aboard, wired: Wired, diary: Diary, policy_doubt: str) -> list[str]:
    """Return what keeps the daemon from its full work, the gravest first."""
    facts, world, fleet = wired.facts, wired.world, wired.fleet
    reasons = [
        diary.fault,
        f"brown-out ladder: {facts.rung.name}" if facts.rung.step else "",
        facts.charge.doubt,
        facts.reading.problem,
        "" if world.ahead is None else world.ahead.reason,
        policy_doubt,
        "the clock has jumped" if facts.jumped_slots else "",
        aboard.ballast.doubt,
        wired.radio.fault,
        wired.feeder.fault,
        wired.pictures.fault,
        f"reload refused: {diary.refused_reload}" if diary.refused_reload else "",
        *(f"{one.name} is left out: {one.quarantine}" for one in fleet.networks.values() if not one.healthy),
        *fleet.degraded(),
        *(f"{name} is not loaded: {why}" for name, why in fleet.broken.items()),
    ]
    return [reason for reason in reasons if reason]


def bulletin(aboard: Aboard, wired: Wired, diary: Diary, policy_doubt: str, *, stopping: bool) -> dict[str, Any]:
    """Return the status but for the times of the moment, as plain values for JSON (see ``later``)."""
    reasons = reasons_of(aboard, wired, diary, policy_doubt)
    ahead, readings, state = wired.world.ahead, wired.world.readings, wired.world.state
    product, byte = aboard.store.backlog()
    age_days = None if readings is None else wired.world.forecaster.age_days(readings.unix_s)
    return {
        "mission": wired.mission.name,
        "log_file": str(wired.mission.state / LOG),
        "mission_sha256": wired.mission.sha256,
        "version": aboard.version,
        "pid": os.getpid(),
        "state": _state(aboard, wired, reasons, stopping),
        "reasons": reasons,
        "cpu_s": time.process_time(),
        "rss_byte": rss_byte(),
        "next_slot": aboard.next_slot(),
        "slot": None if diary.last is None else asdict(diary.last),
        "policy": wired.loop.policy.name,
        "auto": None if wired.verdict is None else wired.verdict.table(),
        "charge": {
            "frac": wired.facts.charge.frac,
            "reading_frac": wired.facts.reading.charge_frac,
            "doubt": wired.facts.charge.doubt,
            "reserve_frac": wired.mission.scenario.power.reserve_frac,
        },
        "ladder": wired.facts.rung.name,
        "forecast": {
            "quality": None if ahead is None else ahead.quality,
            "tle_age_days": age_days,
            "pass_in_s": None if state is None else state.pass_in_s,
            "eclipse_in_s": None if state is None else state.eclipse_in_s,
        },
        "contact": {True: "start", False: "stop", None: "auto"}[aboard.orders.contact],
        "queue": {"tile": aboard.intake.ledger.left_tile(aboard.next_slot()), "products": product, "byte": byte},
        "pictures": {
            "waiting": aboard.outbox.waiting_file,
            "byte": aboard.outbox.waiting_byte,
            "shed": aboard.outbox.shed,
        },
        "counts": {**asdict(aboard.store.counts()), **aboard.intake.counts, **diary.counts},
        "models": wired.fleet.summary(),
        "clock_jumps": wired.facts.jumps,
        "events": list(diary.events),
    }


def later(status: Mapping[str, Any], since_s: float) -> dict[str, Any]:
    """Return the forecast of a status as it stands ``since_s`` after its slot began.

    >>> later({"quality": "good", "tle_age_days": 1.0, "pass_in_s": 60.0, "eclipse_in_s": None}, 43_200.0)
    {'quality': 'good', 'tle_age_days': 1.5, 'pass_in_s': 0.0, 'eclipse_in_s': None}
    """
    age_days = status["tle_age_days"]
    ahead = {name: status[name] for name in ("pass_in_s", "eclipse_in_s")}
    return {
        "quality": status["quality"],
        "tle_age_days": None if age_days is None else age_days + since_s / 86_400,
        **{name: None if left_s is None else max(left_s - since_s, 0.0) for name, left_s in ahead.items()},
    }


def rss_byte() -> int:
    """Return the resident memory of this process, 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _state(aboard: Aboard, wired: Wired, reasons: list[str], stopping: bool) -> str:
    if stopping:
        return "stopping"
    if wired.facts.rung.name == "safe":
        return "safe"
    if aboard.orders.paused:
        return "paused"
    return "degraded" if reasons else "running"
