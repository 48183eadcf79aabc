"""Products, slots and stations for the tests of store, link and ground."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest

from runtime.downlink import DownlinkSession, Pacing
from runtime.downlink.links import Link
from runtime.ground.archive import Archive
from runtime.ground.direct import DirectLink
from runtime.ground.receiver import Receiver
from runtime.records import Footprint, Product, SlotRecord, TileOutcome, TileRef
from runtime.store import ProductStore

Ring = tuple[tuple[float, float], ...]


def square(lon: float, lat: float, edge: float = 0.006) -> Ring:
    return ((lon, lat), (lon + edge, lat), (lon + edge, lat + edge), (lon, lat + edge), (lon, lat))


def product(number: int, *, slot: int = 0, value: float | None = None, label: str = "Forest") -> Product:
    return Product(
        product_id=f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
        slot=slot,
        kind="label",
        label=label,
        score=0.875,
        value=1.0 + number % 7 / 8 if value is None else value,
        footprint=Footprint(square(10 + number % 1000 * 1e-3, 50.25)),
        captured_unix_s=1_750_000_000.0 + number / 8,
        frame_id="mosaic-1",
        row_px=number * 64 % 640,
        col_px=number // 10 * 64,
        edge_px=64,
        package_id="mobilenet-v2-eurosat",
        package_sha256="ab" * 32,
    )


def record(slot: int, **changes: object) -> SlotRecord:
    blank = {"int": 0, "float": 0.5, "str": "", "bool": False}
    whole = SlotRecord(**{field.name: blank[str(field.type)] for field in fields(SlotRecord)})
    return replace(whole, slot=slot, **changes)  # type: ignore[arg-type]


def slot_of(slot: int, count: int) -> tuple[SlotRecord, list[TileOutcome], list[Product]]:
    """A slot in which ``count`` tiles gave a product, one was shed and one failed."""
    products = [product(slot * 10_000 + number, slot=slot) for number in range(count)]
    outcomes = [TileOutcome(TileRef("mosaic-1", number, 0, 64), "done") for number in range(count)]
    outcomes.append(TileOutcome(TileRef("mosaic-1", count, 0, 64), "shed", "budget"))
    outcomes.append(TileOutcome(TileRef("mosaic-1", count + 1, 0, 64), "failed", "nan"))
    return record(slot), outcomes, products


@pytest.fixture
def make_product() -> Callable[..., Product]:
    return product


@pytest.fixture
def make_record() -> Callable[..., SlotRecord]:
    return record


@pytest.fixture
def make_slot() -> Callable[[int, int], tuple[SlotRecord, list[TileOutcome], list[Product]]]:
    return slot_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProductStore]:
    with ProductStore(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with closing(Archive(tmp_path / "ground.sqlite")) as opened:
        yield opened


@pytest.fixture
def station(archive: Archive) -> DirectLink:
    """A ground station within this process."""
    return DirectLink(Receiver(archive))


@pytest.fixture
def make_session() -> Callable[[ProductStore, Link], DownlinkSession]:
    """A session whose clock does not move, so that only what has arrived counts."""

    def make(store: ProductStore, link: Link, **pacing: int) -> DownlinkSession:
        return DownlinkSession(store, link, pacing=Pacing(**pacing), clock=lambda: 0.0)

    return make
