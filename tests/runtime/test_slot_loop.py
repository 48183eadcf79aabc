"""The slot loop with small collaborators that can be reasoned about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.registry import make_policy
from policies.shield import Shield
from power_sim.scenario import load_scenario
from power_sim.simulator import Simulator
from power_sim.slot import Option, SlotState
from runtime.answers import View, ViewOf
from runtime.downlink import PassReport
from runtime.georeference.rings import Float64Array
from runtime.meters import EstimateMeter
from runtime.records import Footprint, Product, Tile, TileOutcome, TileRef, UInt8Array
from runtime.slot_loop import ReckonedPace, SlotLoop
from runtime.store import ProductStore

PLACE = Footprint(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)))


@dataclass
class Grey:
    """Every frame is grey; every fourth tile is unreadable if ``broken``."""

    broken: bool = False
    worths: dict[int, float] = field(default_factory=dict)
    """By column; 1 where not said."""

    def draw(self, state: SlotState, count: int, edge_px: int) -> list[TileRef]:
        return [TileRef(f"grey-{state.slot}", 0, i * edge_px, edge_px, "Forest") for i in range(count)]

    def read(
        self, refs: Sequence[TileRef], bands: Sequence[str], tile_dtype: str
    ) -> tuple[list[Tile], list[TileOutcome]]:
        bad = {ref for i, ref in enumerate(refs) if self.broken and i % 4 == 0}
        pixels = np.full((len(bands), 4, 4), 128, dtype=np.uint8)
        return [Tile(ref, pixels) for ref in refs if ref not in bad], [TileOutcome(r, "failed", "bad") for r in bad]

    def worth(self, refs: Sequence[TileRef], state: SlotState) -> Float64Array:
        return np.array([self.worths.get(ref.col_px, 1.0) for ref in refs], dtype=np.float64)

    def view(self, frame_id: str) -> View:
        return View(4, 4)

    def look(self, ref: TileRef) -> UInt8Array | None:
        return np.full((3, ref.edge_px, ref.edge_px), 128, dtype=np.uint8)


@dataclass
class Forester:
    """Calls everything forest."""

    tile_edge_px: int = 4
    bands: tuple[str, ...] = ("red", "green", "blue")
    tile_dtype: str = "uint8"
    seen: list[int] = field(default_factory=list)

    def answer(self, tiles: Sequence[Tile], view: ViewOf) -> tuple[Any, list[TileOutcome]]:
        self.seen.append(len(tiles))
        return tiles, [TileOutcome(tile.ref, "done") for tile in tiles]

    def products(self, findings: Sequence[Any], view: ViewOf, state: SlotState) -> list[Product]:
        return [
            Product(
                product_id=f"{state.slot}-{tile.ref.col_px}",
                slot=state.slot,
                kind="label",
                label="Forest",
                score=1.0,
                value=1.0,
                footprint=PLACE,
                captured_unix_s=state.start_unix_s,
                frame_id=tile.ref.frame_id,
                row_px=tile.ref.row_px,
                col_px=tile.ref.col_px,
                edge_px=tile.ref.edge_px,
                package_id="forester",
                package_sha256="0" * 64,
                truth=tile.ref.truth,
            )
            for tiles in findings
            for tile in tiles
        ]


@dataclass
class Witness:
    """A downlink that looks at what is durable when it is asked to send."""

    store: ProductStore
    found: list[int] = field(default_factory=list)

    def run_pass(self, slot: int, budget_byte: int, unix_s: float) -> PassReport:
        self.found.append(sum(product.slot == slot for product in self.store.products()))
        return PassReport(slot, budget_byte, 0, 0, 0, 0, 0, False, "")


@dataclass
class Loop:
    loop: SlotLoop
    network: Forester
    downlink: Witness


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Loop]]:
    def make(*, sample: int | None = 10, broken: bool = False, scenario: str = "paper") -> Loop:
        loaded = load_scenario(scenario)
        store = stack.enter_context(ProductStore(tmp_path / "store.sqlite"))
        network, downlink = Forester(), Witness(store)
        loop = SlotLoop(
            world=Simulator(loaded, 1),
            policy=make_policy("greedy", loaded, seed=1),
            shield=Shield(),
            source=Grey(broken),
            networks={model.name: network for model in loaded.pool.models},
            meter=EstimateMeter(),
            store=store,
            downlink=downlink,
            monotonic_s=lambda: 0.0,
            pace=ReckonedPace(),
            tiles_per_slot=sample,
        )
        return Loop(loop, network, downlink)

    with ExitStack() as stack:
        yield make


def test_products_are_durable_before_anything_is_sent(build: Callable[..., Loop]) -> None:
    flown = build()
    record = flown.loop.fly_slot()
    assert flown.downlink.found == [record.sampled_tile] == [10]


def test_joules_are_scaled_from_the_sample_to_all_admitted_tiles(build: Callable[..., Loop]) -> None:
    flown = build()
    record = flown.loop.fly_slot()
    spent_j = flown.loop.meter.energy_j()
    assert record.admitted_tile > 50_000
    assert record.energy_j == pytest.approx(spent_j * record.admitted_tile / 10, rel=1e-12)


def test_a_batch_is_never_larger_than_asked(build: Callable[..., Loop]) -> None:
    flown = build(sample=70)
    flown.loop.fly_slot()
    assert flown.network.seen == [32, 32, 6]


def test_tiles_that_cannot_be_read_fail_and_the_slot_goes_on(build: Callable[..., Loop]) -> None:
    flown = build(sample=32, broken=True)
    record = flown.loop.fly_slot()
    outcomes = flown.loop.store.outcomes()
    assert sorted((outcome, count) for _, outcome, _, count in outcomes) == [("done", 24), ("failed", 8)]
    assert record.sampled_tile == 32
    assert record.scored_sampled == 24


def test_every_record_can_be_read_back_as_it_was_written(build: Callable[..., Loop]) -> None:
    flown = build()
    records = [flown.loop.fly_slot() for _ in range(4)]
    assert list(flown.loop.store.decisions()) == records


def test_the_most_valuable_tiles_come_first(build: Callable[..., Loop]) -> None:
    flown = build(sample=8)
    worths = flown.loop.source.worths  # type: ignore[attr-defined]
    worths.update({4: 9.0, 20: 5.0, 12: 0.0})
    products = flown.loop.infer(*slot_of(flown)).products
    assert [int(one.product_id.split("-")[1]) for one in products] == [4, 20, 0, 8, 16, 24, 28]


def slot_of(flown: Loop) -> tuple[SlotState, Option, int, float]:
    state = flown.loop.world.observe()
    return state, state.options[0], 8, math.inf


@dataclass
class Stopwatch:
    """Each tile takes ``tile_s``, whatever its profile says."""

    tile_s: float
    clock_s: float = 0.0
    margin_frac: float = 0.2

    def now_s(self) -> float:
        return self.clock_s

    def spend(self, tile: int, time_s_per_tile: float) -> None:
        self.clock_s += tile * self.tile_s


@pytest.mark.parametrize("slower", [0.5, 1.0, 3.0])
def test_a_slot_ends_in_time_and_leaves_what_would_overrun(build: Callable[..., Loop], slower: float) -> None:
    flown = build(sample=None)
    state = flown.loop.world.observe()
    option, limit_s = state.options[0], 100 * state.options[0].time_s
    pace = Stopwatch(option.time_s * slower)
    took = replace(flown.loop, pace=pace).infer(state, option, 500, limit_s)
    assert pace.clock_s <= limit_s
    done = len(took.outcomes)
    assert 0.5 * 100 / max(slower, 1.2) < done < 500


def test_a_replay_does_what_the_shield_admitted_to_the_last_tile(build: Callable[..., Loop]) -> None:
    flown = build(sample=None)
    state = flown.loop.world.observe()
    option = state.options[0]
    took = flown.loop.infer(state, option, 333, 333 * option.time_s)
    assert len(took.outcomes) == 333
