"""The daemon: one slot after the other, commands between them, and a word to everyone who watches."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from exporters.errors import ExporterError, KeyFileError
from policies.errors import PolicyError
from power_sim.errors import PowerSimError

from ..counting import counted
from ..engines import return_freed
from ..errors import MissionError, StoreError, SubsolarError
from ..records import SlotRecord
from .bulletin import Diary, bulletin, later
from .clock import Clock
from .control import Request
from .metrics import limit_of, write_text
from .mission import Mission, load_mission
from .notify import Notifier
from .outfit import packages_of
from .trace import slot_line
from .wiring import Aboard, Wired

log = logging.getLogger(__name__)

SLICE_S = 1.0
"""Longest wait at a time: the loop shows that it is alive this often."""
REFUSALS = (SubsolarError, PowerSimError, ExporterError, PolicyError)
MAD_WINDOW, MAD_LIMIT, MAD_SLOTS = 20, 10, 50
"""A policy that the shield overruled ``MAD_LIMIT`` times in ``MAD_WINDOW`` slots rests for ``MAD_SLOTS``."""


@dataclass
class PolicyWatch:
    """Notices a policy that has gone mad."""

    overruled: deque[bool] = field(default_factory=lambda: deque(maxlen=MAD_WINDOW))
    rest_slots: int = 0

    def note(self, overruled: bool) -> None:
        """Take in one slot."""
        if self.rest_slots > 0:
            self.rest_slots -= 1
            return
        self.overruled.append(overruled)
        if sum(self.overruled) >= MAD_LIMIT:
            self.rest_slots = MAD_SLOTS
            self.overruled.clear()

    def doubt(self) -> str:
        """Return why the policy is not asked, empty where it is."""
        return f"the policy was overruled in {MAD_LIMIT} of {MAD_WINDOW} slots" if self.rest_slots else ""


class Daemon:
    """Flies a mission until it is told to stop."""

    def __init__(self, aboard: Aboard, clock: Clock, notifier: Notifier) -> None:
        self._aboard = aboard
        self._clock = clock
        self._notifier = notifier
        self.commands: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self.stopping = threading.Event()
        self._reload = threading.Event()
        self.watch = PolicyWatch()
        self.diary = Diary()
        self._started_s = clock.monotonic_s()
        self._due_s = self._observed_s = self._started_s
        self._deadline_s = float("inf")
        self.wired: Wired = aboard.wire(self)
        self._seen = self._look()

    # What the collaborators ask for -------------------------------------------------------------------------------

    def may_go_on(self) -> bool:
        """Whether the slot has time for another batch; asking shows progress."""
        self._notifier.progress()
        return not self.stopping.is_set() and self._clock.monotonic_s() < self._deadline_s

    def running(self) -> bool:
        """Whether nobody has asked for the end; asking shows progress."""
        self._notifier.progress()
        return not self.stopping.is_set()

    def told(self, text: str) -> None:
        """Keep an event for status and ground."""
        log.warning("%s", text)
        self.diary.events.append({"unix_s": round(self._clock.unix_s(), 1), "text": text})

    @property
    def status(self) -> Mapping[str, Any]:
        """What the daemon says of itself: counts after the last slot, times of this moment; any thread may ask."""
        observed_s, said = self._seen
        now_s = self._clock.monotonic_s()
        return {
            **said,
            "forecast": later(said["forecast"], now_s - observed_s),
            "unix_s": self._clock.unix_s(),
            "uptime_s": now_s - self._started_s,
            "next_slot_in_s": max(self._due_s - now_s, 0.0),
        }

    # From outside -----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask for the end: the batch in hand is finished, the slot is kept, the loop ends."""
        self.stopping.set()

    def reload(self) -> None:
        """Ask for the mission file to be read again."""
        self._reload.set()

    def run(self) -> None:
        """Fly until told to stop."""
        self._notifier.ready(self._line())
        try:
            while not self.stopping.is_set():
                self._wait()
                if not self.stopping.is_set():
                    self.fly_slot()
        finally:
            self._notifier.stopping()
            log.info("stopped after %d slots", self.diary.counts["slot"])

    def fly_slot(self) -> None:
        """Fly the slot that is due; a slot that fails is counted, told, and tried again in the next one."""
        slot_s = self.wired.mission.scenario.orbit.slot_s
        began_s = self._clock.monotonic_s()
        self._observed_s = began_s
        self._deadline_s = began_s + slot_s * self.wired.mission.scenario.limits.busy_max_frac
        if self._aboard.ballast.trim():
            self.told("the disk is full: the room that was held back for this is given up")
        self.wired.facts.next_slot = self._aboard.next_slot()
        self.wired.fleet.begin_slot()
        try:
            record = self.wired.loop.fly_slot()
            self._aboard.trace.append(slot_line(self.wired.world, record))
            self._aboard.blackbox.well()
            self.diary.fault = ""
        except SubsolarError as error:
            self._failed(error)
        else:
            self._after(record)
        self._due_s += slot_s
        late_s = self._clock.monotonic_s() - self._due_s
        if late_s >= slot_s:
            missed = int(late_s // slot_s)
            self._due_s += missed * slot_s
            self.diary.counts["missed_slot"] += missed
            self._aboard.metrics.add("slot_deadline_missed_total", missed)
            self.told(f"{counted(missed, 'slot')} not flown: the one before took too long")
        self._publish()

    def _after(self, record: SlotRecord) -> None:
        before, self.diary.last = self.diary.last, record
        self.diary.counts["slot"] += 1
        self.watch.note(bool(record.overruled))
        measured = record.energy_j if record.energy_kind == "measured" else None
        changed = self.wired.fleet.end_slot(
            record.slot, record.model, record.sampled_tile, record.infer_measured_s, measured
        )
        self._measure(before, record)
        if self.wired.facts.rung.step > 0:
            self.wired.fleet.end_shadows()
        if changed:
            self._rewire(self.wired.mission)
        if record.sampled_tile:
            return_freed()

    def _failed(self, error: SubsolarError) -> None:
        """Leave the slot as if it had not been: nothing of it was committed, so its tiles wait again."""
        self.diary.fault = str(error)
        self.diary.counts["failed_slot"] += 1
        if isinstance(error, StoreError) and self._aboard.ballast.drop():
            self.told("the store failed: the room that is held back for a full disk is given up")
        log.error("slot %d failed: %s", self.wired.facts.next_slot, error)

    def _wait(self) -> None:
        """Answer commands until the next slot is due."""
        while not self.stopping.is_set():
            self._notifier.progress()
            if self._reload.is_set():
                self._reload.clear()
                self._read_again()
            left_s = self._due_s - self._clock.monotonic_s()
            request = self._clock.wait(self.commands, min(left_s, SLICE_S))
            if request is not None:
                request.answer.put(self._obey(request))
                self._seen = self._look()
            elif left_s <= 0:
                return

    # Commands -----------------------------------------------------------------------------------------------------

    def _obey(self, request: Request) -> Mapping[str, Any]:
        deeds = {
            "pause": self._pause,
            "resume": self._resume,
            "pass": self._pass,
            "models": self._models,
            "install": self._install,
            "activate": self._activate,
            "rollback": self._rollback,
            "shadow": self._shadow,
            "trust": self._trust,
            "reload": self._reload_now,
        }
        deed = deeds.get(request.do)
        if deed is None:
            return {"error": f"{request.do!r} is no command. Use one of status, slots, {', '.join(deeds)}."}
        try:
            return deed(request.arguments)
        except REFUSALS as error:
            log.warning("%s refused: %s", request.do, error)
            usage = isinstance(error, MissionError | PowerSimError | PolicyError)
            return {"error": str(error), "code": 2 if usage else 1}

    def _pause(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        self._aboard.orders.paused = True
        return {"paused": True}

    def _resume(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        self._aboard.orders.paused = False
        return {"paused": False}

    def _pass(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        words = {"start": True, "stop": False, "auto": None}
        word = arguments.get("what")
        if word not in words:
            raise MissionError(f"pass {word!r} is not known. Use start, stop or auto (by the forecast).")
        self._aboard.orders.contact = words[word]
        return {"contact": word}

    def _models(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"models": self._aboard.models_table(), "flying": self.wired.fleet.summary()}

    def _install(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        source = Path(str(arguments.get("path", "")))
        mission = self.wired.mission
        package = self._aboard.slots.install(source, mission.flight.models.trial_slots, packages_of(mission))
        self.told(f"{package.info.id} v{package.info.version} is installed and flies on trial")
        self._rewire(self.wired.mission)
        have = self._aboard.slots.of(package.info.id)
        if have.trial is None:
            raise MissionError(f"{package.info.id} v{package.info.version} was rolled back at once: {have.refused}")
        return {"installed": package.info.id, "version": package.info.version, "sha256": package.sha256}

    def _activate(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        name, slot = self._flown(arguments), str(arguments.get("slot", ""))
        self._aboard.slots.activate(name, slot, self.wired.mission.flight.models.trial_slots)
        self._rewire(self.wired.mission)
        return {"activated": name, "slot": slot}

    def _rollback(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        name = self._flown(arguments)
        self._aboard.slots.rollback(name, "by command")
        self._rewire(self.wired.mission)
        return {"rolled_back": name, "slot": self._aboard.slots.of(name).flying}

    def _flown(self, arguments: Mapping[str, Any]) -> str:
        """Return the package id that is asked for; ``MissionError`` where the mission flies no such package."""
        name, flown = str(arguments.get("id", "")), packages_of(self.wired.mission)
        if name not in flown:
            raise MissionError(f"No network of this mission is called {name!r}. It flies: {', '.join(flown)}.")
        return name

    def _shadow(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if not arguments.get("path"):
            self.wired.fleet.end_shadows()
            return {"shadow": None}
        return self._aboard.shadow(self.wired, Path(str(arguments["path"])))

    def _trust(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        ring, flown = self._aboard.slots.keyring, packages_of(self.wired.mission)
        lost: list[str] = []

        def check(keys: Mapping[str, Ed25519PublicKey]) -> None:
            lost.extend(self._aboard.slots.untrusted(flown, keys))
            if len(lost) == len(flown):
                raise KeyFileError(
                    "The rotation would leave no network that can be loaded, and nothing would start any more. Install "
                    "packages signed by a key that stays, and rotate once their trial is over; signed by others are "
                    f"{', '.join(lost)}."
                )

        ring.rotate(Path(str(arguments.get("path", ""))), check)
        self.told(f"key rotation {ring.number} is in force")
        for name in lost:
            self.told(f"{name} can no longer be loaded: its package is signed by no key that is trusted now")
        return {"number": ring.number, "keys": sorted(ring.keys()), "revoked": sorted(ring.revoked), "lost": lost}

    def _reload_now(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        self._read_again()
        return (
            {"error": self.diary.refused_reload}
            if self.diary.refused_reload
            else {"mission": self.wired.mission.sha256}
        )

    def _read_again(self) -> None:
        """Take the mission file anew if it holds, else keep the last good one and say so."""
        self._notifier.reloading()
        try:
            mission = load_mission(self.wired.mission.path, self.wired.mission.overrides)
            self._aboard.check_reload(mission)
            self._rewire(mission)
            self.diary.refused_reload = ""
            log.info("mission file reloaded, sha256 %s", mission.sha256)
        except REFUSALS as error:
            self.diary.refused_reload = str(error)
            self.told(f"the new mission file is refused, the last good one stays: {error}")
        self._seen = self._look()
        self._notifier.ready(self._line())

    def _rewire(self, mission: Mission) -> None:
        old = self.wired
        try:
            self.wired = self._aboard.wire(self, mission, old)
        except REFUSALS:
            self.wired = old
            old.fleet.hold()
            raise
        old.fleet.close(but=self.wired.fleet.networks.values())

    # What others see --------------------------------------------------------------------------------------------

    def _measure(self, before: SlotRecord | None, record: SlotRecord) -> None:
        metrics = self._aboard.metrics
        one = self.wired.fleet.networks.get(record.model)
        if one is not None:
            metrics.add("tiles_total", one.done_tile, model=record.model, result="done")
            metrics.add("tiles_total", one.failed_tile, model=record.model, result="failed")
            if record.sampled_tile:
                metrics.observe_tile_s(record.infer_measured_s / record.sampled_tile, model=record.model)
        metrics.add("tiles_total", record.shed_tile, model="none", result="shed")
        rails = ",".join(self.wired.loop.meter.rails)
        metrics.add("energy_joules_total", record.energy_j, rail=rails, kind=record.energy_kind)
        metrics.add("downlinked_bytes_total", record.sent_byte)
        if before is not None and before.model != record.model:
            labels = {"from": before.model, "to": record.model, "reason": "policy"}
            metrics.add("model_switch_total", 1.0, **labels)
        if record.overruled:
            metrics.add("policy_overridden_total", limit=limit_of(record.overruled))

    def _publish(self) -> None:
        self._seen = self._look()
        status, metrics, reports = self.status, self._aboard.metrics, self.wired.mission.flight.reports
        product, byte = status["queue"]["products"], status["queue"]["byte"]
        metrics.set("queue_products", product, priority="all")
        metrics.set("queue_bytes", byte)
        if self.diary.last is not None:
            metrics.set("battery_charge_ratio", self.diary.last.charge_frac)
        metrics.set("ladder_step", self.wired.facts.rung.step)
        metrics.set("degraded", float(bool(status["reasons"])))
        if reports.metrics_file:
            try:
                write_text(self.wired.mission.at(reports.metrics_file), metrics.text())
            except OSError as error:
                log.warning("metrics cannot be written: %s", error)
        self._notifier.status(self._line())
        self._notifier.progress()

    def _line(self) -> str:
        last = self.diary.last
        flown = "no slot yet" if last is None else f"slot {last.slot}: {last.model}, charge {last.charge_frac:.0%}"
        return f"{self.status['state']}; {flown}"

    def _look(self) -> tuple[float, Mapping[str, Any]]:
        """Return when the slot began that the status speaks of, and the status but for the times of the moment."""
        doubt = self.watch.doubt()
        said = bulletin(self._aboard, self.wired, self.diary, doubt, stopping=self.stopping.is_set())
        return self._observed_s, said
