"""The slot loop: observe, decide, shield, cut, infer, store, send. The same code flies in a replay and aboard.

Everything that differs between the two (clock, world, tiles, engines, meter, link) is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Protocol

from policies.decision import Admitted, Policy
from policies.shield import Shield
from power_sim.simulator import Outcome
from power_sim.slot import Option, SlotState, Work

from .downlink.session import PassReport
from .meters import PowerMeter
from .records import Footprint, Product, SlotRecord, Tile, TileOutcome, TileRef
from .store import ProductStore

KELVIN_AT_0_C = 273.15


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

    def read(self, refs: Sequence[TileRef], bands: Sequence[str]) -> tuple[list[Tile], list[TileOutcome]]:
        """Return the tiles that could be read, and an outcome for each that could not."""
        ...

    def place(self, tiles: Sequence[Tile]) -> list[Footprint | None]:
        """Return where each tile lies on the ground, ``None`` where its frame has no georeference."""
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

    def answer(
        self, tiles: Sequence[Tile], places: Sequence[Footprint | None], state: SlotState
    ) -> tuple[list[Product], list[TileOutcome]]:
        """Infer ``tiles``; each comes back as a product (done) or as a failed outcome."""
        ...


class Meter(PowerMeter, Protocol):
    """A meter that may need to be told what was inferred."""

    def spend(self, tile: int, energy_j_per_tile: float) -> None:
        """Account for ``tile`` tiles; a meter that measures has nothing to do here."""
        ...


class Downlink(Protocol):
    """Sends what is worth most within a slot's contact."""

    def run_pass(self, slot: int, budget_byte: int) -> PassReport:
        """Send products worth most per byte until ``budget_byte`` is used."""
        ...


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
    batch_tile: int = 32
    tiles_per_slot: int | None = None
    """Infer at most this many of the admitted tiles and scale counts and joules; ``None`` infers all."""
    may_go_on: Callable[[], bool] = always
    """Asked before each batch; tiles that were not reached stay with the source."""
    shed: Callable[[], Sequence[TileOutcome]] = tuple
    """Tiles that left the source in this slot without being worked on."""

    def fly_slot(self) -> SlotRecord:
        """Fly one slot and return its line. Products are durable before anything is sent."""
        state = self.world.observe()
        admitted = self.shield.admit(state, self.policy)
        option = None if admitted.decision.option_index is None else state.options[admitted.decision.option_index]
        took = self.infer(state, option, admitted.work.tile)
        work = self.scaled(admitted.work, took)
        outcome = self.world.advance(work, option)
        record = slot_record(state, admitted, option, work, outcome, took, self.meter.kind)
        self.store.commit_slot(record, [*took.outcomes, *self.shed()], took.products)
        report = self.downlink.run_pass(state.slot, state.downlink_byte)
        record = replace(
            record,
            sent_byte=report.sent_byte,
            sent_product=report.sent_product,
            backlog_product=self.store.backlog()[0],
        )
        self.store.amend_slot(record)
        return record

    def infer(self, state: SlotState, option: Option | None, tile: int) -> Inference:
        """Cut and infer the slot's tiles, or the sample of them."""
        wanted = tile if self.tiles_per_slot is None else min(tile, self.tiles_per_slot)
        if option is None or wanted == 0:
            return Inference([], [], 0.0, 0.0)
        network = self.networks[option.model]
        start_j, start_s = self.meter.energy_j(), self.monotonic_s()
        products: list[Product] = []
        outcomes: list[TileOutcome] = []
        refs = self.source.draw(state, wanted, network.tile_edge_px)
        for first in range(0, len(refs), self.batch_tile):
            if not self.may_go_on():
                break
            tiles, unread = self.source.read(refs[first : first + self.batch_tile], network.bands)
            answers, ended = network.answer(tiles, self.source.place(tiles), state)
            self.meter.spend(len(tiles), option.energy_j)
            products += answers
            outcomes += [*unread, *ended]
        return Inference(products, outcomes, self.meter.energy_j() - start_j, self.monotonic_s() - start_s)

    def scaled(self, work: Work, took: Inference) -> Work:
        """Return ``work`` with the joules that the meter saw, scaled from the sample to all admitted tiles."""
        if not took.outcomes:
            return replace(work, tile=0, energy_j=0.0, time_s=0.0)
        if self.tiles_per_slot is None:
            return replace(work, tile=len(took.outcomes), energy_j=took.energy_j)
        return replace(work, energy_j=took.energy_j * work.tile / len(took.outcomes))


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
