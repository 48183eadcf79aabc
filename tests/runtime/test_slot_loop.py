"""The slot loop with small collaborators that can be reasoned about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from policies.registry import make_policy
from policies.shield import Shield
from power_sim.scenario import load_scenario
from power_sim.simulator import Simulator
from power_sim.slot import SlotState
from runtime.downlink import PassReport
from runtime.meters import EstimateMeter
from runtime.records import Footprint, Product, Tile, TileOutcome, TileRef
from runtime.slot_loop import SlotLoop
from runtime.store import ProductStore

PLACE = Footprint(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)))


@dataclass
class Grey:
    """Every frame is grey; every fourth tile is unreadable if ``broken``."""

    broken: bool = False

    def draw(self, state: SlotState, count: int, edge_px: int) -> list[TileRef]:
        return [TileRef(f"grey-{state.slot}", 0, i * edge_px, edge_px, "Forest") for i in range(count)]

    def read(self, refs: Sequence[TileRef], bands: Sequence[str]) -> tuple[list[Tile], list[TileOutcome]]:
        bad = {ref for i, ref in enumerate(refs) if self.broken and i % 4 == 0}
        pixels = np.full((len(bands), 4, 4), 128, dtype=np.uint8)
        return [Tile(ref, pixels) for ref in refs if ref not in bad], [TileOutcome(r, "failed", "bad") for r in bad]

    def place(self, tiles: Sequence[Tile]) -> list[Footprint | None]:
        return [PLACE for _ in tiles]


@dataclass
class Forester:
    """Calls everything forest."""

    tile_edge_px: int = 4
    bands: tuple[str, ...] = ("red", "green", "blue")
    seen: list[int] = field(default_factory=list)

    def answer(
        self, tiles: Sequence[Tile], places: Sequence[Footprint | None], state: SlotState
    ) -> tuple[list[Product], list[TileOutcome]]:
        self.seen.append(len(tiles))
        products = [
            Product(
                product_id=f"{state.slot}-{tile.ref.col_px}",
                slot=state.slot,
                kind="label",
                label="Forest",
                score=1.0,
                value=1.0,
                footprint=place,
                captured_unix_s=state.start_unix_s,
                frame_id=tile.ref.frame_id,
                row_px=tile.ref.row_px,
                col_px=tile.ref.col_px,
                edge_px=tile.ref.edge_px,
                package_id="forester",
                package_sha256="0" * 64,
                truth=tile.ref.truth,
            )
            for tile, place in zip(tiles, places, strict=True)
        ]
        return products, [TileOutcome(tile.ref, "done") for tile in tiles]


@dataclass
class Witness:
    """A downlink that looks at what is durable when it is asked to send."""

    store: ProductStore
    found: list[int] = field(default_factory=list)

    def run_pass(self, slot: int, budget_byte: int) -> PassReport:
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
