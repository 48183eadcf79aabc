"""The slot loop: observe, decide, shield, cut, infer, store, send. The same code flies in a replay and aboard.

Everything that differs between the two (clock, world, tiles, engines, meter, link) is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Protocol

import numpy as np

from policies.decision import Admitted, Policy
from policies.shield import Shield
from power_sim.simulator import Outcome
from power_sim.slot import Option, SlotState, Work

from .answers import View, ViewOf
from .downlink.pictures import Look
from .downlink.session import PassReport
from .georeference.rings import Float64Array
from .meters import PowerMeter
from .pipeline.admission import Deadline, admit_tiles
from .records import Product, SlotRecord, Tile, TileOutcome, TileRef, UInt8Array
from .store import ProductStore

KELVIN_AT_0_C = 273.15
ROUNDING = 1 + 1e-9
"""What the shield has admitted must fit again when its tiles are added up one by one."""


class World(Protocol):
    """Where the spacecraft stands: simulated, or read from the bus. One ``observe`` and one ``advance`` per slot."""

    def observe(self) -> SlotState:
        """Return the state at the start of the slot."""
        ...

    def advance(self, work: Work, option: Option | None) -> Outcome:
        """Account for what was done and go on to the next slot."""
        ...


class TileSource(Protocol):
    """Hands out the tiles of a slot; one that cannot be read comes back as a failed outcome, never as an exception."""

    def draw(self, state: SlotState, count: int, edge_px: int) -> Sequence[TileRef]:
        """Return up to ``count`` windows that the slot offers."""
        ...

    def read(
        self, refs: Sequence[TileRef], bands: Sequence[str], tile_dtype: str
    ) -> tuple[list[Tile], list[TileOutcome]]:
        """Return the tiles that could be read, and an outcome for each that could not."""
        ...

    def worth(self, refs: Sequence[TileRef], state: SlotState) -> Float64Array:
        """Return what a right answer about each window is worth, (n,)."""
        ...

    def view(self, frame_id: str) -> View:
        """Return size and place of a frame that tiles were drawn from."""
        ...

    def look(self, ref: TileRef) -> UInt8Array | None:
        """Return a window's pixels in 1 or 3 bands, for a picture; ``None`` where they cannot be had."""
        ...


class Network(Protocol):
    """A loaded package: engine and task behind one door."""

    @property
    def tile_edge_px(self) -> int:
        """The tile that the package was trained for."""
        ...

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands it wants, in order."""
        ...

    @property
    def tile_dtype(self) -> str:
        """``uint8``, or ``float32`` for physical values."""
        ...

    def answer(self, tiles: Sequence[Tile], view: ViewOf) -> tuple[Any, list[TileOutcome]]:
        """Infer one batch; return what it says, in the network's own words, and how each tile ended."""
        ...

    def products(self, findings: Sequence[Any], view: ViewOf, state: SlotState) -> list[Product]:
        """Return the products of all that a slot's batches said."""
        ...


class Meter(PowerMeter, Protocol):
    """A meter that may need to be told what was inferred."""

    def spend(self, tile: int, energy_j_per_tile: float) -> None:
        """Account for ``tile`` tiles; a meter that measures has nothing to do here."""
        ...


class Downlink(Protocol):
    """Sends what is worth most within a slot's contact."""

    def run_pass(self, slot: int, budget_byte: int, unix_s: float) -> PassReport:
        """Send products worth most per byte until ``budget_byte`` is used; packets carry the time ``unix_s``."""
        ...


class Pace(Protocol):
    """The clock that a slot's deadline is held against: the real one aboard, a reckoned one in a replay."""

    @property
    def margin_frac(self) -> float:
        """How much longer than forecast a batch may take."""
        ...

    def now_s(self) -> float:
        """Seconds since a fixed, arbitrary start."""
        ...

    def spend(self, tile: int, time_s_per_tile: float) -> None:
        """Account for ``tile`` tiles; a clock that runs by itself has nothing to do here."""
        ...


@dataclass(frozen=True, slots=True)
class RealPace:
    """Time as it passes."""

    monotonic_s: Callable[[], float]
    margin_frac: float = 0.2

    def now_s(self) -> float:
        """See ``Pace``."""
        return self.monotonic_s()

    def spend(self, tile: int, time_s_per_tile: float) -> None:
        """See ``Pace``."""


@dataclass(slots=True)
class ReckonedPace:
    """Time as the profiles say it passes, so that a replay decides alike on every machine."""

    margin_frac: float = -1e-9  # what the shield admitted fits, however the tiles add up
    _now_s: float = 0.0

    def now_s(self) -> float:
        """See ``Pace``."""
        return self._now_s

    def spend(self, tile: int, time_s_per_tile: float) -> None:
        """See ``Pace``."""
        self._now_s += tile * time_s_per_tile


class Pictures(Protocol):
    """Takes pictures of what was found, to send with what a pass has left over."""

    def offer(self, products: Sequence[Product], look: Look) -> None:
        """Choose among a slot's products and queue pictures of them."""
        ...


class NoPictures:
    """Sends none."""

    def offer(self, products: Sequence[Product], look: Look) -> None:
        """See ``Pictures``."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What the engines did in one slot, before scaling."""

    products: list[Product]
    outcomes: list[TileOutcome]
    energy_j: float
    infer_s: float

    @property
    def scored(self) -> list[Product]:
        """Products whose true class is known."""
        return [product for product in self.products if product.truth is not None]

    @property
    def correct(self) -> int:
        """Right answers among the scored ones."""
        return sum(product.label == product.truth for product in self.scored)


def always() -> bool:
    """Never stop early."""
    return True


@dataclass(frozen=True, kw_only=True)
class SlotLoop:
    """Flies slots one by one. Holds no state of its own: all of it lives in the world and the store."""

    world: World
    policy: Policy
    shield: Shield
    source: TileSource
    networks: Mapping[str, Network]
    """By the name that the pool gives a model."""
    meter: Meter
    store: ProductStore
    downlink: Downlink
    monotonic_s: Callable[[], float]
    """Measures how long inference took; decides nothing."""
    pace: Pace
    pictures: Pictures = field(default_factory=NoPictures)
    batch_tile: int = 32
    tiles_per_slot: int | None = None
    """Infer at most this many of the admitted tiles and scale counts and joules; ``None`` infers all."""
    may_go_on: Callable[[], bool] = always
    """Asked before each batch; tiles that were not reached stay with the source."""
    shed: Callable[[], Sequence[TileOutcome]] = tuple
    """Tiles that left the source in this slot without being worked on."""
    worth_frac: Mapping[str, float] = field(default_factory=dict)
    """By network: the worth of its task as a share of the dearest one's, which the options' accuracies hold; else 1."""

    def fly_slot(self) -> SlotRecord:
        """Fly one slot and return its line. Products are durable before anything is sent."""
        start_s = self.pace.now_s()
        state = self.world.observe()
        admitted = self.shield.admit(state, self.policy)
        option = None if admitted.decision.option_index is None else state.options[admitted.decision.option_index]
        took = self.infer(state, option, admitted.work.tile, start_s + state.time_budget_s)
        work = self.scaled(admitted.work, took)
        outcome = self.world.advance(work, option)
        record = slot_record(state, admitted, option, work, outcome, took, self.meter.kind)
        if option is not None and option.model in self.worth_frac:
            record = replace(record, expected_accuracy_frac=option.accuracy_frac / self.worth_frac[option.model])
        self.store.commit_slot(record, [*took.outcomes, *self.shed()], took.products)
        self.pictures.offer(took.products, self.source.look)
        report = self.downlink.run_pass(state.slot, state.downlink_byte, state.start_unix_s)
        record = replace(
            record,
            sent_byte=report.sent_byte,
            sent_product=report.sent_product,
            backlog_product=self.store.backlog()[0],
        )
        self.store.amend_slot(record)
        self.store.tidy()
        return record

    def infer(self, state: SlotState, option: Option | None, tile: int, end_s: float) -> Inference:
        """Cut and infer the slot's tiles, or the sample of them, the most valuable first, until ``end_s`` at most."""
        wanted = tile if self.tiles_per_slot is None else min(tile, self.tiles_per_slot)
        if option is None or wanted == 0:
            return Inference([], [], 0.0, 0.0)
        network = self.networks[option.model]
        start_j, start_s = self.meter.energy_j(), self.monotonic_s()
        findings: list[Any] = []
        outcomes: list[TileOutcome] = []
        for refs in self.batches(self.chosen(state, option, wanted, network.tile_edge_px), option, end_s):
            tiles, unread = self.source.read(refs, network.bands, network.tile_dtype)
            found, ended = network.answer(tiles, self.source.view)
            energy_j, time_s = cost_of(network, option)
            self.meter.spend(len(tiles), energy_j)
            self.pace.spend(len(tiles), time_s)
            findings.append(found)
            outcomes += [*unread, *ended]
        products = network.products(findings, self.source.view, state)
        return Inference(products, outcomes, self.meter.energy_j() - start_j, self.monotonic_s() - start_s)

    def chosen(self, state: SlotState, option: Option, wanted: int, edge_px: int) -> list[TileRef]:
        """Return at most ``wanted`` of the tiles on offer: those worth most that joules and seconds allow."""
        refs = self.source.draw(state, wanted, edge_px)
        each = np.ones(len(refs))
        choice = admit_tiles(
            self.source.worth(refs, state),
            each * option.energy_j,
            each * option.time_s,
            budget_j=(min(state.budget_j, state.heat_budget_j) - option.awake_j) * ROUNDING,
            budget_s=state.time_budget_s * ROUNDING,
        )
        return [refs[at] for at in choice.do[:wanted].tolist()]

    def batches(self, refs: Sequence[TileRef], option: Option, end_s: float) -> Iterator[Sequence[TileRef]]:
        """Hand out batch after batch while the next one is forecast to end in time: what would overrun is left."""
        deadline = Deadline(self.pace.now_s, end_s, option.time_s, self.pace.margin_frac)
        while refs and self.may_go_on():
            count = min(self.batch_tile, len(refs))
            if not deadline.fits(count):
                count = deadline.most(count)
            if count == 0:
                return
            start_s = self.pace.now_s()
            yield refs[:count]
            deadline.took(count, self.pace.now_s() - start_s)
            refs = refs[count:]

    def scaled(self, work: Work, took: Inference) -> Work:
        """Return ``work`` with the joules that the meter saw, scaled from the sample to all admitted tiles."""
        if not took.outcomes:
            return replace(work, tile=0, energy_j=0.0, time_s=0.0)
        if self.tiles_per_slot is None:
            return replace(work, tile=len(took.outcomes), energy_j=took.energy_j)
        return replace(work, energy_j=took.energy_j * work.tile / len(took.outcomes))


def cost_of(network: Network, option: Option) -> tuple[float, float]:
    """Joules and seconds of a tile of the last batch: what a network says that looks at some tiles more closely than at
    others (its ``batch_cost``), else what its option promises."""
    told: tuple[float, float] | None = getattr(network, "batch_cost", None)
    return (option.energy_j, option.time_s) if told is None else told


def slot_record(
    state: SlotState,
    admitted: Admitted,
    option: Option | None,
    work: Work,
    outcome: Outcome,
    took: Inference,
    energy_kind: str,
) -> SlotRecord:
    """Return the slot's line; what was sent is filled in after the pass."""
    scored = len(took.scored)
    return SlotRecord(
        slot=state.slot,
        start_utc=datetime.fromtimestamp(state.start_unix_s, timezone.utc).isoformat(timespec="seconds"),
        latitude_deg=round(math.degrees(state.latitude_rad), 4),
        longitude_deg=round(math.degrees(state.longitude_rad), 4),
        cover=state.cover if state.waiting_tile else "",
        sunlit_frac=state.sunlit_frac,
        charge_frac=state.charge_j / state.capacity_j if state.capacity_j > 0 else math.nan,
        budget_j=state.budget_j,
        harvest_j=state.harvest_j,
        load_j=state.load_j,
        temperature_c=state.temperature_k - KELVIN_AT_0_C,
        arrived_tile=state.arrived_tile,
        queued_tile=state.queued_tile,
        model="idle" if option is None else option.model,
        mode="" if option is None else option.mode,
        reason=admitted.decision.reason,
        overruled=admitted.overruled,
        counterfactual=admitted.counterfactual,
        limited_by=work.limited_by,
        admitted_tile=work.tile,
        sampled_tile=len(took.outcomes),
        shed_tile=outcome.shed_tile,
        correct_sampled=took.correct,
        scored_sampled=scored,
        accuracy_frac=took.correct / scored if scored else math.nan,
        expected_accuracy_frac=math.nan if option is None else option.accuracy_frac,
        energy_j=outcome.energy_j,
        energy_kind=energy_kind,
        reward=outcome.reward,
        pass_s=state.pass_s,
        sent_byte=0,
        sent_product=0,
        backlog_product=0,
        infer_measured_s=took.infer_s,
        reserve_violated=outcome.reserve_violated,
    )
