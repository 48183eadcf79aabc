"""Flies a scenario on this machine: simulated orbit and power, real tiles, engines, packets and ground station."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from exporters.package import ModelPackage
from policies.contest import Verdict
from policies.decision import Policy
from policies.registry import AUTO, verdict_on
from policies.shield import Shield
from policies.worth import worth_of
from power_sim.scenario import Scenario
from power_sim.simulator import Simulator
from power_sim.slot import Option, SlotState, Work

from .cfdp import BOARD_ID, CfdpEntity, TransactionLog
from .downlink import ChipOutbox, DownlinkSession, Pacing, PassReport
from .downlink.links import BudgetedLink
from .downlink.pictures import PictureLadder
from .downlink.rules import Rules
from .engines import MemoryBudget, machine_limit_byte
from .errors import RunStopped
from .exports import check_formats, write_exports
from .flight import Flight, ReplayOptions
from .frames.scenes import SceneSource
from .ground import stop_on_signals
from .ground.process import GroundProcess
from .home import folder_or_default, open_packages
from .keepsakes import AnswerPictures
from .meters import EstimateMeter
from .mission_report import report_of
from .onboard import LoadedNetwork, SceneTiles, load_networks
from .plugins import policy_named
from .pool import measured_pool, valued_pool, worth_fracs
from .records import SlotRecord
from .report import render_report
from .results import REPORT, SUMMARY, ResultFiles, summarise, table_of
from .scenarios import load_with_rules, task_worth
from .slot_loop import Inference, ReckonedPace, SlotLoop
from .store import ProductStore
from .strict_json import strict_json

EMPTY = "the battery ran empty"
STOPPED = "stopped by the user"
IN_MEMORY = Path(":memory:")
"""Without inference there is no product, and nothing that would have to survive a power cut."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay leaves: its summary, and the folder with everything else."""

    summary: Mapping[str, object]
    out: Path

    def table(self) -> str:
        """Return the result for a person."""
        return table_of(self.summary, self.out)


def fly(options: ReplayOptions, progress: Progress) -> ReplayResult:
    """Fly ``options.scenario`` to its end; a run that is cut short leaves everything that was finished, and says so.

    Raises ``MissionError``, ``ScenarioError``, ``PolicyError``, ``PackageError``, ``FrameError`` or ``EngineError``
    before anything is written where the request cannot be met, ``StoreError`` or ``LinkError`` where the run cannot go
    on, and ``RunStopped`` once everything that was finished is written after Ctrl-C.
    """
    check_formats(options.formats)
    with ExitStack() as stack:
        kit = stack.enter_context(equip(options))
        files = stack.enter_context(ResultFiles.create(options.out))
        store = stack.enter_context(ProductStore(files.store if options.infer else IN_MEMORY))
        ground = stack.enter_context(GroundProcess.start(files.ground))
        contact = stack.enter_context(contact_of(store, BudgetedLink(ground.connect()), kit.rules))
        with stop_on_signals() as stopped:  # a flag, looked at between slots: an exception could get lost in a library
            for record in records(build_loop(kit, store, contact), kit.simulator, progress, stopped):
                files.append(record)
            interrupted = stopped() and not kit.simulator.over
        flight = landed(kit, files, store, contact, ground.stop(), interrupted=interrupted)
        summary = summarise(flight)
        files.replace(SUMMARY, strict_json(summary, indent=2) + "\n")
        report = report_of(flight, summary)
        files.replace(REPORT, render_report(report))
        write_exports(report, options.formats, options.out)
    if interrupted:
        raise RunStopped(
            f"{STOPPED} after {len(flight.slots)} of {kit.simulator.slots} slots; what was finished is in {options.out}"
        )
    return ReplayResult(summary, options.out)


@contextmanager
def contact_of(store: ProductStore, link: BudgetedLink, rules: Rules) -> Iterator[Contact]:
    """Return the spacecraft's end of the link, with an outbox for pictures that lasts as long as the flight."""
    with TemporaryDirectory(prefix="subsolar-board-") as name, ExitStack() as stack:
        folder = Path(name)
        stack.callback(link.close)
        log = stack.enter_context(closing(TransactionLog(folder / "cfdp.sqlite")))
        files = stack.enter_context(closing(CfdpEntity(BOARD_ID, folder / "uplinked", log)))
        session = DownlinkSession(store, link, files=files, rules=rules, pacing=Pacing(lockstep=True))
        yield Contact(session, link, ChipOutbox(folder / "outbox", files))


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What a mission flies with, opened and checked before anything is written."""

    options: ReplayOptions
    scenario: Scenario
    packages: Mapping[str, ModelPackage]
    scenes: SceneSource
    policy: Policy
    verdict: Verdict | None
    """What ``auto`` stands for here, where that is asked for."""
    networks: Mapping[str, LoadedNetwork]
    simulator: Simulator
    rules: Rules


@contextmanager
def equip(options: ReplayOptions) -> Iterator[Kit]:
    """Open scenario, packages, policy, scenes and engines."""
    scenario, packages, rules = prepare(options.scenario, options.overrides, options.packages)
    verdict = verdict_on(scenario) if options.policy == AUTO else None
    policy = policy_named(options.policy if verdict is None else verdict.policy, scenario, seed=options.seed)
    with closing(SceneSource.from_folder(folder_or_default(options.scenes, "scenes", "--scenes"))) as scenes:
        yield Kit(
            options=options,
            scenario=scenario,
            packages=packages,
            scenes=scenes,
            policy=policy,
            verdict=verdict,
            networks=open_networks(options, packages),
            simulator=Simulator(scenario, options.seed, orbits=options.orbits),
            rules=rules,
        )


def open_networks(options: ReplayOptions, packages: Mapping[str, ModelPackage]) -> dict[str, LoadedNetwork]:
    """Return the networks running, each with what a right answer of it is worth; none where nothing is inferred."""
    worth = worths(options.scenario, packages)
    wanted = packages if options.infer else {}
    opened = load_networks(wanted, threads=options.threads, memory=MemoryBudget(machine_limit_byte()))
    return {name: replace(network, worth=worth[name]) for name, network in opened.items()}


def landed(
    kit: Kit,
    files: ResultFiles,
    store: ProductStore,
    contact: Contact,
    received: Mapping[str, object],
    *,
    interrupted: bool,
) -> Flight:
    """Return everything that is known of the flight."""
    whole = len(files.written) == kit.simulator.slots
    return Flight(
        options=kit.options,
        scenario=kit.scenario,
        packages=kit.packages,
        scenes=kit.scenes,
        policy=kit.policy.name,
        verdict=kit.verdict,
        slots=tuple(files.written),
        track=kit.simulator.track(),
        passes=tuple(contact.passes),
        products=store.products(),
        delivered=frozenset(product.product_id for product in store.products(state="delivered")),
        sent_in_slot=store.sent_slots(),
        ground=received,
        ended=STOPPED if interrupted else "" if whole else EMPTY,
    )


def prepare(
    name: str, overrides: Mapping[str, str], packages: Path | None
) -> tuple[Scenario, dict[str, ModelPackage], Rules]:
    """Return the scenario with the measured pool in it, the verified packages by the pool's names, and the rules."""
    scenario, rules = load_with_rules(name, overrides)
    folder = folder_or_default(packages, "packages", "--packages")
    opened = open_packages(folder, {model.name: model.package_id for model in scenario.pool.models})
    return valued_pool(measured_pool(scenario, opened), worth_fracs(worths(name, opened))), opened, rules


def worths(name: str, packages: Mapping[str, ModelPackage]) -> dict[str, float]:
    """Return what a right answer of each network is worth by the file's ``[tasks]``; 1 where it says nothing."""
    worth = task_worth(name)
    return {model: worth.get(package.info.task, 1.0) for model, package in packages.items()}


def scenario_with_packages(name: str, overrides: Mapping[str, str], packages: Path | None) -> Scenario:
    """Return the scenario with the measured pool in it."""
    return prepare(name, overrides, packages)[0]


def build_loop(kit: Kit, store: ProductStore, contact: Contact) -> SlotLoop:
    """Return the slot loop with simulated collaborators in it."""
    options, covers = kit.options, kit.scenario.workload.covers
    kind = SlotLoop if options.infer else ExpectedLoop
    return kind(
        world=kit.simulator,
        policy=kit.policy,
        shield=Shield(worth_of(kit.scenario)),
        source=SceneTiles(
            scenes=kit.scenes, mixes={name: cover.classes for name, cover in covers.items()}, seed=options.seed
        ),
        networks=kit.networks,
        meter=EstimateMeter(kind=energy_kind(kit.scenario)),
        store=store,
        downlink=contact,
        pictures=AnswerPictures(PictureLadder(contact.outbox, kit.rules), kit.networks),
        monotonic_s=time.perf_counter,
        pace=ReckonedPace(),
        tiles_per_slot=options.tiles_per_slot,
        worth_frac=worth_fracs(worths(options.scenario, kit.packages)),
    )


@dataclass(frozen=True, kw_only=True)
class ExpectedLoop(SlotLoop):
    """Flies without looking at a tile: what the shield admits counts as done, at the joules of the profiles."""

    def infer(self, state: SlotState, option: Option | None, tile: int, end_s: float) -> Inference:
        """Return nothing."""
        return Inference([], [], 0.0, 0.0)

    def scaled(self, work: Work, took: Inference) -> Work:
        """Return the work as it was admitted."""
        return work


def energy_kind(scenario: Scenario) -> str:
    """Return what the pool's joules are: ``estimated``, or ``published`` where they come from a paper."""
    kinds = {model.energy_kind for model in scenario.pool.models}
    return "published" if kinds == {"published"} else "estimated"


@dataclass(frozen=True, slots=True)
class Contact:
    """A downlink session that keeps what each pass did for the report."""

    session: DownlinkSession
    link: BudgetedLink
    outbox: ChipOutbox
    passes: list[PassReport] = field(default_factory=list)

    def run_pass(self, slot: int, budget_byte: int, unix_s: float) -> PassReport:
        """Send within ``budget_byte``, which the link keeps to, and note the outcome."""
        self.link.grant(budget_byte)
        report = self.session.run_pass(slot, budget_byte, unix_s=unix_s)
        self.outbox.settle(report.files)
        if budget_byte > 0:
            self.passes.append(report)
        return report


def records(
    loop: SlotLoop, simulator: Simulator, progress: Progress, stopped: Callable[[], bool]
) -> Iterator[SlotRecord]:
    """Fly to the mission's end or until ``stopped``, one record per slot."""
    while not simulator.over and not stopped():
        record = loop.fly_slot()
        yield record
        progress(
            record.slot + 1, simulator.slots, f"{record.model:<12} charge {record.charge_frac:4.0%}  {record.reason}"
        )
