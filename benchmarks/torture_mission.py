"""The mission that ``torture.py`` flies over and over: store, passes, pictures, a file and a station; how it is judged.

Whatever is promised on the way is noted outside the reach of disk faults, and what a mission leaves is compared with
what an undisturbed one leaves.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from runtime.cfdp import BOARD_ID, GROUND_ID, CfdpEntity, TransactionLog
from runtime.downlink import ChipOutbox, DownlinkSession, Pacing, Rules
from runtime.downlink.chips import GROUND_FOLDER, picture_name, png
from runtime.downlink.pictures import CHIP_PX, PictureLadder, shrunk
from runtime.errors import StoreError, SubsolarError
from runtime.ground.archive import Archive
from runtime.ground.direct import DirectLink
from runtime.ground.station import finish, opened
from runtime.records import Footprint, Product, SlotRecord, TileOutcome, TileRef, UInt8Array
from runtime.store import ProductStore

CHIP = bytes(range(256)) * 40
PRODUCTS_A_SLOT = 12
PICTURED_SLOT = 1
"""The slot whose best product gets pictures: a small one and the window in full."""
LAST_PASSES = 200
UNPROVOKED = 3
"""Exit status of a mission that failed although nothing was injected: a daemon would start in vain again and again."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Mission:
    """A folder to fly in, and how far."""

    folder: Path
    slots: int

    @property
    def store(self) -> Path:
        """The spacecraft's store."""
        return self.folder / "store.sqlite"

    @property
    def ground(self) -> Path:
        """The station's folder."""
        return self.folder / "ground"

    @property
    def promises(self) -> Path:
        """Outside the reach of disk faults: what the store and the outbox have promised to keep, one a line."""
        return self.folder.with_suffix(".promises")


@dataclass(frozen=True, slots=True)
class Kit:
    """A mission with everything open; the station lives in the same process."""

    store: ProductStore
    session: DownlinkSession
    files: CfdpEntity
    ladder: PictureLadder
    end: Callable[[], object]


@contextmanager
def kit_of(mission: Mission) -> Iterator[Kit]:
    """Open everything that a mission needs, as after a restart."""
    with ExitStack() as stack:
        store = stack.enter_context(ProductStore(mission.store))
        log = stack.enter_context(closing(TransactionLog(mission.folder / "cfdp.sqlite")))
        files = stack.enter_context(closing(CfdpEntity(BOARD_ID, mission.folder / "uplinked", log)))
        archive, receiver = stack.enter_context(opened(mission.ground))
        pacing = Pacing(packet_byte=256, file_packet_byte=1024, window_packet=4)
        session = DownlinkSession(store, DirectLink(receiver), files=files, pacing=pacing, clock=lambda: 0.0)
        ladder = PictureLadder(ChipOutbox(mission.folder / "outbox", files), Rules(pictures_per_slot=1))

        def end() -> object:
            receiver.commit()
            return finish(mission.ground, archive, receiver)

        if not any(row.dest_name == "chip.bin" for row in log.senders(active=False)):
            files.send(chip(mission), "chip.bin", GROUND_ID)
        yield Kit(store, session, files, ladder, end)


def fly(mission: Mission) -> None:
    """Fly from wherever the store stands to the end; the first error ends it."""
    with kit_of(mission) as kit:
        fly_all(mission, kit, lambda step: step())


def fly_restarting(mission: Mission, struck: Callable[[], int]) -> None:
    """Fly as under a service manager: an error closes everything and starts again."""
    persist(lambda: fly(mission), struck)


def fly_staying(mission: Mission, struck: Callable[[], int]) -> None:
    """Fly as the daemon does: an error costs the slot, what is open stays open, and the slot is tried again."""
    with ExitStack() as stack:
        kit = persist(lambda: stack.enter_context(kit_of(mission)), struck)
        fly_all(mission, kit, lambda step: persist(step, struck))


def fly_all(mission: Mission, kit: Kit, attempt: Callable[[Callable[[], object]], object]) -> None:
    """All slots and then passes until nothing waits; each step through ``attempt``."""
    last = kit.store.last_decision()
    for slot in range(0 if last is None else last.slot, mission.slots):
        attempt(lambda slot=slot: fly_slot(mission, kit, slot))  # type: ignore[misc]
    for slot in range(mission.slots, mission.slots + LAST_PASSES):
        if not kit.store.backlog()[0] and not kit.files.open_files:
            break
        attempt(lambda slot=slot: send(kit, slot, 1500))  # type: ignore[misc]
    attempt(kit.end)


def persist(step: Callable[[], Result], struck: Callable[[], int]) -> Result:
    """Do ``step`` until it succeeds. A failure that no injected fault has caused ends the process."""
    while True:
        before = struck()
        try:
            return step()
        except SubsolarError as error:
            if struck() == before:
                traceback.print_exc()
                raise SystemExit(UNPROVOKED) from error


def fly_slot(mission: Mission, kit: Kit, slot: int) -> None:
    """One slot: keep, promise, queue pictures, send."""
    record, outcomes, products = slot_of(slot)
    kit.store.commit_slot(record, outcomes, products)
    promise(mission, f"slot {slot}")
    if slot == PICTURED_SLOT:
        kit.ladder.offer(products, lambda ref: window())
        if not kit.ladder.fault:
            promise(mission, "pictures")
    send(kit, slot, 900)


def send(kit: Kit, slot: int, budget_byte: int) -> None:
    """One pass, and room in the outbox for what has gone down."""
    kit.ladder.outbox.settle(kit.session.run_pass(slot, budget_byte).files)


def promise(mission: Mission, what: str) -> None:
    """Note, out of reach, what was promised."""
    descriptor = os.open(mission.promises, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{what}\n".encode())
    os.close(descriptor)


def promised(mission: Mission) -> set[str]:
    """What was promised so far."""
    return set(mission.promises.read_text().splitlines()) if mission.promises.exists() else set()


def promises_kept(mission: Mission) -> bool:
    """Every slot that was promised is in the store, and all that counts as delivered is at the station."""
    slots = {int(line.split()[1]) for line in promised(mission) if line.startswith("slot ")}
    if not mission.store.exists():
        return not slots
    try:
        with ProductStore(mission.store) as store:
            kept = {record.slot for record in store.decisions()}
            delivered = {one.product_id for one in store.products(state="delivered")}
    except StoreError:
        traceback.print_exc()
        return False
    return slots <= kept and delivered <= received(mission)


def received(mission: Mission) -> set[str]:
    """What the station holds."""
    path = mission.ground / "ground.sqlite"
    if not path.exists():
        return set()
    with closing(Archive(path)) as archive:
        return {one.product_id for one in archive.products()}


def intact(mission: Mission) -> bool:
    """SQLite finds nothing wrong in any database of the mission."""
    for path in mission.folder.rglob("*.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            try:
                found = connection.execute("PRAGMA integrity_check").fetchall()
            except sqlite3.Error as error:
                found = [(str(error),)]
        if found != [("ok",)]:
            sys.stderr.write(f"{path}: {found[:3]}\n")
            return False
    return True


def ready_again(mission: Mission) -> bool:
    """Everything opens."""
    try:
        with kit_of(mission):
            return True
    except SubsolarError:
        traceback.print_exc()
        return False


def outcome(mission: Mission) -> dict[str, Any]:
    """What a mission leaves, for comparison; pictures count as they were promised, and must be whole."""
    with ProductStore(mission.store) as store:
        counts = store.counts()
        slots = [record.slot for record in store.decisions()]
    shown = json.loads((mission.ground / "products.geojson").read_text(encoding="utf-8"))["features"]
    folder = mission.ground / "files"
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    came = {name: content for name, content in found.items() if not name.startswith(".incoming/")}
    wanted = {"chip.bin": CHIP, **pictures()}
    missing = {"chip.bin", *(pictures() if "pictures" in promised(mission) else ())} - came.keys()
    return {
        "slots": slots,
        "tiles": [counts.done_tile, counts.shed_tile, counts.failed_tile],
        "delivered": counts.delivered_product,
        "ids": [feature["id"] for feature in shown],
        "files_missing": sorted(missing),
        "files_wrong": sorted(name for name, content in came.items() if wanted.get(name) != content),
        "outbox": sorted(path.name for path in (mission.folder / "outbox").iterdir()),
    }


def pictures() -> dict[str, bytes]:
    """What the station must hold of the pictured slot, by name."""
    best = min(slot_of(PICTURED_SLOT)[2], key=lambda one: (-one.value, one.product_id)).product_id
    rungs = {"chip": shrunk(window(), CHIP_PX), "tile": window()}
    return {f"{GROUND_FOLDER}/{picture_name(best, rung)}": png(pixels) for rung, pixels in rungs.items()}


def window() -> UInt8Array:
    """The pixels of every window: (1, 48, 48)."""
    return np.arange(48 * 48, dtype=np.uint32).reshape(1, 48, 48).astype(np.uint8)


def chip(mission: Mission) -> Path:
    """A file to bring down, outside the reach of disk faults."""
    path = mission.folder.with_suffix(".chip")
    if not path.exists():
        path.write_bytes(CHIP)
    return path


def slot_of(slot: int, count: int = PRODUCTS_A_SLOT) -> tuple[SlotRecord, list[TileOutcome], list[Product]]:
    """A slot that is the same whenever it is flown."""
    blank = {"int": 0, "float": 0.5, "str": "", "bool": False}
    whole = SlotRecord(**{field.name: blank[str(field.type)] for field in fields(SlotRecord)})
    tiles = [TileRef("mosaic-1", number, 0, 64) for number in range(count + 2)]
    outcomes = [TileOutcome(tile, "done") for tile in tiles[:count]]
    outcomes += [TileOutcome(tiles[count], "shed", "budget"), TileOutcome(tiles[count + 1], "failed", "nan")]
    return replace(whole, slot=slot), outcomes, [product(slot, number) for number in range(count)]


def product(slot: int, number: int) -> Product:
    """A label with a place."""
    lon, lat = 10 + number * 1e-3, 50 + slot % 100 * 1e-3
    ring = ((lon, lat), (lon + 0.006, lat), (lon + 0.006, lat + 0.006), (lon, lat + 0.006), (lon, lat))
    return Product(
        product_id=f"{(slot * 1000 + number + 1) * 0x9E3779B97F4A7C15 % 2**64:016x}",
        slot=slot,
        kind="label",
        label=("Forest", "River", "Residential")[number % 3],
        score=0.875,
        value=1.0 + number % 7 / 8,
        footprint=Footprint(ring),
        captured_unix_s=1_750_000_000.0 + slot * 60,
        frame_id="mosaic-1",
        row_px=number * 64,
        col_px=0,
        edge_px=64,
        package_id="mobilenet-v2-eurosat",
        package_sha256="ab" * 32,
    )
