"""Builds a flight from a mission file: what lasts as long as the process, and what a reload replaces."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from exporters.archive import unpack
from exporters.package import load_package
from policies.contest import Verdict
from policies.shield import Shield
from power_sim.scenario import Scenario

from ..cfdp import BOARD_ID, CfdpEntity, TransactionLog
from ..downlink import ChipOutbox
from ..downlink.pictures import PictureLadder
from ..engines import MemoryBudget, Preference, Vendor, machine_limit_byte, open_preferred
from ..errors import MissionError
from ..home import DEPLOY
from ..keepsakes import AnswerPictures
from ..models import Keyring, ModelSlots
from ..slot_loop import NoPictures, RealPace, SlotLoop
from ..store import ProductStore
from ..tasks.change import REFERENCE
from .auto import mission_verdict, note_verdict, policy_of
from .ballast import Ballast
from .blackbox import PROVEN, BlackBox
from .clock import Clock
from .facts import FlightFacts, Orders
from .feeders import Feeder
from .fleet import Fleet
from .gauge import Gauge
from .intake import Intake, covers_of
from .ledger import Ledger
from .metrics import Metrics
from .mission import Mission
from .outfit import flown_scenario, packages_of
from .places import placer, takes_whole_frames
from .radio import Radio, seal_of
from .rails import meter_of
from .references import plain_bands, stock
from .requests import Indexes, RequestDesk
from .ring import JsonRing
from .state_folder import hold, make_state
from .supply import supply_of
from .trace import header, mission_policy
from .world import FlightWorld

log = logging.getLogger(__name__)

SETTLED = ("mission", "source", "reports", "references", "requests", "locate")
"""Sections that a restart alone can change."""


class Host(Protocol):
    """What the parts of a flight ask of the daemon."""

    def may_go_on(self) -> bool:
        """Whether the slot has time left."""
        ...

    def running(self) -> bool:
        """Whether nobody has asked for the end."""
        ...

    def told(self, text: str) -> None:
        """Keep an event."""
        ...

    @property
    def watch(self) -> Any:
        """Notices a policy that has gone mad."""
        ...


@dataclass
class Wired:
    """One flight as a mission file describes it."""

    mission: Mission
    world: FlightWorld
    facts: FlightFacts
    fleet: Fleet
    radio: Radio
    feeder: Feeder
    pictures: PictureLadder
    loop: SlotLoop
    verdict: Verdict | None = None
    """What ``auto`` stands for, where the mission asks for that."""


class Aboard:
    """What lasts: state folder, store, queue, packages, trace, orders."""

    def __init__(self, mission: Mission, clock: Clock, vendor: Vendor | None = None) -> None:
        self.mission = mission
        self.clock = clock
        self.version = _version()
        self.orders = Orders()
        self.metrics = Metrics()
        memory_mib = mission.flight.mission.memory_mib
        self.memory = MemoryBudget(memory_mib << 20 if memory_mib else machine_limit_byte())
        self.vendor = vendor or Vendor()
        self._wires = 0
        state = mission.state
        make_state(state)
        self.ballast = Ballast(state / "ballast")
        self.ballast.trim()
        self._lock = hold(state / "lock")
        self.store = ProductStore(state / "products.sqlite")
        self.file_log = TransactionLog(state / "cfdp.sqlite")
        self.files = CfdpEntity(BOARD_ID, state / "uplinked", self.file_log)
        self.outbox = ChipOutbox(state / "pictures", self.files)
        section = mission.flight.mission
        keys = mission.at(section.keys) if section.keys else DEPLOY / "keys"
        packages = mission.at(section.packages) if section.packages else DEPLOY / "packages"
        self.slots = ModelSlots(
            state / "models",
            packages,
            Keyring(keys, state / "keyring.json"),
            None if mission.scenario.pool.allow_implausible else mission.scenario.pool.device_max_w,
        )
        self.trace = JsonRing(state / "trace.jsonl", mission.flight.reports.trace_byte, lambda: self._trace_header)
        self._trace_header: Mapping[str, Any] = {}
        self.blackbox = BlackBox(state / "working.json")
        self.intake = self._intake(mission)
        self.indexes = Indexes(state / "indexes", mission.flight.requests.index_tile, log.warning)
        self.desk: RequestDesk | None = None
        self.metrics.set("build_info", 1.0, version=self.version, mission=mission.name)

    def next_slot(self) -> int:
        """The number of the slot that is flown next: one more than the last that is kept."""
        last = self.store.last_decision()
        return 0 if last is None else last.slot + 1

    def wire(self, host: Host, mission: Mission | None = None, old: Wired | None = None) -> Wired:
        """Build the flight that ``mission`` describes; nothing of ``old`` changes before everything holds."""
        mission = mission or self.mission
        flight, clock = mission.flight, self.clock
        fleet = Fleet(
            self.slots,
            flight.models,
            clock.monotonic_s,
            self.metrics,
            host.told,
            self.blackbox,
            partial(open_preferred, want=self._preference(mission, host)),
            self.memory,
            flight.mission.batch_tile,
            mission.chain,
            flight.worth,
            self.indexes.note,
            placer(mission, self.intake.sight),
        )
        if old is None:
            for package_id in self.slots.boot(flight.models.boots_max):
                host.told(f"{package_id}: the trial was given up, it took too many starts")
        else:
            fleet.networks = dict(old.fleet.networks)
        fleet.load({model.name: model.package_id or model.name for model in mission.scenario.pool.models})
        whole = takes_whole_frames(one.loaded for one in fleet.networks.values())
        if old is not None and whole != self.intake.whole:
            raise MissionError("The pool changes between tiles and whole pictures, which takes a restart.")
        self.intake.whole = whole
        physical = all(one.loaded.tile_dtype == "float32" for one in fleet.networks.values())
        self.intake.tile_dtype = "float32" if physical else "uint8"
        edge = self._grid_px(mission, fleet)
        scenario, worth_frac = flown_scenario(mission, fleet, edge)
        self.intake.edge_px = edge
        if old is None:
            self.intake.start(self.next_slot() - 1)
            self._after_death(fleet, host)
            self._open_desks(mission, fleet, host, edge)
        facts = self._facts(mission, scenario, fleet, host, old)
        world = FlightWorld(scenario, facts, settle=self.intake.close_slot)
        if old is not None:
            world.reckoned = old.world.reckoned
        facts.forecast_doubt = lambda: "" if world.ahead is None else world.ahead.reason
        verdict = mission_verdict(scenario)
        policy = mission_policy(scenario, policy_of(scenario, verdict), world)
        seal = seal_of(flight.radio, mission.at)
        radio = Radio(
            self.store, flight.radio, mission.at, mission.rules, self.files, self.outbox, host.running, seal=seal
        )
        pictures = PictureLadder(self.outbox, mission.rules)
        loop = SlotLoop(
            world=world,
            policy=policy,
            shield=Shield(),
            source=self.intake,
            networks=fleet.networks,
            meter=meter_of(flight.supply, clock.monotonic_s) if old is None else old.loop.meter,
            store=self.store,
            downlink=radio,
            pictures=NoPictures() if flight.radio.kind == "none" else AnswerPictures(pictures, fleet.networks),
            monotonic_s=clock.monotonic_s,
            pace=RealPace(clock.monotonic_s),
            batch_tile=flight.mission.batch_tile,
            may_go_on=host.may_go_on,
            shed=self.intake.shed,
            worth_frac=worth_frac,
        )
        fleet.fit(edge)
        feeder = old.feeder if old is not None else Feeder(flight.source, self.intake.inbox, clock.unix_s)
        if old is None:
            feeder.start()
        else:
            old.radio.close()
        self._restate(mission, scenario, fleet, verdict)
        note_verdict(verdict, None if old is None else old.verdict, host.told)
        return Wired(replace(mission, scenario=scenario), world, facts, fleet, radio, feeder, pictures, loop, verdict)

    def check_reload(self, mission: Mission) -> None:
        """Refuse a new file that changes what only a restart can."""
        for name in SETTLED:
            if getattr(mission.flight, name) != getattr(self.mission.flight, name):
                raise MissionError(f"[{name}] has changed, which takes a restart: systemctl restart subsolar.")
        if covers_of(mission.scenario) != covers_of(self.mission.scenario):
            raise MissionError("workload.covers has changed, which takes a restart: systemctl restart subsolar.")

    def models_table(self) -> list[dict[str, Any]]:
        """Return one row per package id for people."""
        ids = dict.fromkeys(packages_of(self.mission))
        rows = []
        for package_id in ids:
            have = self.slots.of(package_id)
            trial = None if have.trial is None else {"slot": have.trial.slot, "left_slots": have.trial.left_slots}
            rows.append(
                {
                    "id": package_id,
                    "active": have.active,
                    "flying": have.flying,
                    "slots": dict(have.versions),
                    "highest": have.highest,
                    "trial": trial,
                    "refused": have.refused,
                }
            )
        return rows

    def shadow(self, wired: Wired, source: Path) -> Mapping[str, Any]:
        """Let a candidate look on beside the network of its id."""
        trust = self.slots.keyring.keys()
        if source.is_dir():
            package = load_package(source, trust=trust)
        else:
            package = unpack(source, self.mission.state / "models" / ".shadow", trust=trust, replace=True)
        names = [one.name for one in wired.fleet.networks.values() if one.package_id == package.info.id]
        if not names:
            raise MissionError(f"no network of this mission is called {package.info.id}: nothing to compare it with.")
        wired.fleet.shadow(names[0], package)
        return {"shadow": package.info.id, "version": package.info.version}

    def close(self) -> None:
        """Give everything back."""
        self.blackbox.left()
        self.intake.close()
        self.trace.close()
        self.files.close()
        self.file_log.close()
        self.store.close()
        self._lock.close()

    def _preference(self, mission: Mission, host: Host) -> Preference:
        section = mission.flight.mission
        return Preference(
            providers=section.providers,
            threads=section.threads,
            worker=section.worker,
            worker_s=section.worker_s,
            plans=mission.at(section.engines) if section.engines else mission.state / "engines",
            vendor=self.vendor,
            told=host.told,
            monotonic_s=self.clock.monotonic_s,
        )

    def _grid_px(self, mission: Mission, fleet: Fleet) -> int:
        """Return the edge of the tiles that frames are cut into: the largest that a network wants, and for good."""
        edges = {name: one.loaded.tile_edge_px for name, one in fleet.networks.items()}
        edge = self.intake.edge_px or max(edges.values())
        if larger := sorted(name for name, one in edges.items() if one > edge):
            raise MissionError(
                f"{', '.join(larger)} wants tiles of {max(edges.values())} px, the queue holds {edge} px ones. "
                "Restart the daemon once the queue is empty."
            )
        overlap_px = mission.flight.source.overlap_px
        if overlap_px >= edge:
            raise MissionError(f"source.overlap_px = {overlap_px}, but tiles are {edge} px. Use less.")
        return edge

    def _open_desks(self, mission: Mission, fleet: Fleet, host: Host, edge_px: int) -> None:
        """Open what the ground's requests and comparisons with older scenes need."""
        section, requests = mission.flight.references, mission.flight.requests
        self.indexes.told = host.told
        self.desk = RequestDesk(
            folders=(mission.at(mission.flight.radio.uplink), mission.state / "uplinked"),
            store=self.store,
            indexes=self.indexes,
            told=host.told,
            waiting_max=requests.waiting_max,
            counts=self.intake.counts,
        )
        bands = [band for one in fleet.networks.values() for band in one.loaded.bands if band.startswith(REFERENCE)]
        if bands and section.folder:
            folder, state = mission.at(section.folder), mission.state / "references"
            names = plain_bands(tuple(dict.fromkeys(bands)))
            self.intake.references = stock(folder, state, names, edge_px, section.store_mib << 20, host.told)

    def _collect(self, fleet: Fleet, slot: int) -> tuple[dict[str, int], dict[str, int]]:
        """Take on what has arrived: frames, and what the ground asks for."""
        if self.desk is not None:
            networks = [part for one in fleet.networks.values() for part in one.stages]
            self.desk.serve(networks, slot, self.clock.unix_s())
        return self.intake.collect(slot)

    def _after_death(self, fleet: Fleet, host: Host) -> None:
        """Draw the lesson from a process that died in a slot, once it is one."""
        death = self.blackbox.last()
        self.metrics.add("restarts_total", cause="start" if death is None else "died")
        if death is None or death.count < PROVEN:
            return
        why = f"the process died {death.count} times in a row while {death.model} worked on it"
        host.told(f"{', '.join(death.frames)}: {why}")
        self.intake.condemned |= dict.fromkeys(death.frames, why)
        if death.model in fleet.networks:
            fleet.networks[death.model].bar(f"the process died {death.count} times in a row while it ran")

    def _facts(self, mission: Mission, scenario: Scenario, fleet: Fleet, host: Host, old: Wired | None) -> FlightFacts:
        flight = mission.flight
        thermal = flight.supply.thermal
        facts = FlightFacts(
            scenario=scenario,
            ladder=flight.ladder,
            radio=flight.radio,
            supply=supply_of(flight.supply, mission.at, self.clock.unix_s),
            gauge=Gauge(flight.supply.noise_frac) if old is None else old.facts.gauge,
            fleet=fleet,
            collect=partial(self._collect, fleet),
            backlog_byte=lambda: self.store.backlog()[1],
            unix_s=self.clock.unix_s,
            monotonic_s=self.clock.monotonic_s,
            orders=self.orders,
            policy_doubt=lambda: str(host.watch.doubt()),
            forecast_doubt=str,
            start_frac=self._start_frac(scenario),
            thermal=mission.at(thermal) if thermal else None,
        )
        if old is not None:
            facts.rung, facts.charge, facts.jumps = old.facts.rung, old.facts.charge, old.facts.jumps
        return facts

    def _start_frac(self, scenario: Scenario) -> float:
        """Return the charge that a flight without a sensor starts from: the last one known, else the file's."""
        last = self.store.last_decision()
        known = None if last is None or not 0.0 <= last.charge_frac <= 1.0 else last.charge_frac
        return scenario.power.initial_charge_min_frac if known is None else known

    def _intake(self, mission: Mission) -> Intake:
        section, work = mission.flight.source, mission.scenario.workload
        return Intake(
            section=section,
            inbox=mission.at(section.inbox),
            kept=mission.state / "frames",
            ledger=Ledger(mission.state / "frames.sqlite"),
            covers=covers_of(mission.scenario),
            values={name: cover.value for name, cover in work.covers.items()},
            waits={name: cover.queue for name, cover in work.covers.items()},
            edge_px=0,
            queue_max_tile=work.queue_max_tile,
        )

    def _restate(self, mission: Mission, scenario: Scenario, fleet: Fleet, verdict: Verdict | None) -> None:
        packages = {name: ",".join(part.package.sha256 for part in one.stages) for name, one in fleet.networks.items()}
        facts = {
            "version": self.version,
            "mission_sha256": mission.sha256,
            "packages": packages,
            "packages_sha256": hashlib.sha256(repr(sorted(packages.items())).encode()).hexdigest(),
        }
        if verdict is not None:
            facts["auto"] = verdict.table()
        self._trace_header = header(scenario, scenario.policy.name, facts)
        self.trace.restate()


def _version() -> str:
    try:
        return version("subsolar")
    except PackageNotFoundError:
        return "unknown"
