"""Where a live page gets its slots: a store on disk, or the control socket of a daemon. Both are only read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from power_sim.errors import ScenarioError
from power_sim.scenario import Scenario, load_scenario

from ..daemon.control import ask
from ..errors import MissionError, StoreError
from ..records import Product, SlotRecord
from ..report import ReplayReport
from ..store import ProductStore
from ..store.rows import decision_from_text
from .scenery import Scene, Seen, report_of

ASK_S = 10.0
REPLAY_STORE, DAEMON_STORE = "store.sqlite", "products.sqlite"


class Source(Protocol):
    """A flight that may still be flown."""

    def version(self) -> str:
        """Return a word that changes whenever there is something new. Raises ``SubsolarError``."""
        ...

    def report(self) -> ReplayReport:
        """Return what the page shows now. Raises ``SubsolarError``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSource:
    """A product store of a replay or a daemon, opened anew for each look, so that it may be replaced at any time."""

    path: Path
    scene: Scene
    last_slots: int

    def version(self) -> str:
        """Return the newest slot and how many products are in which state."""
        with ProductStore.open_readonly(self.path) as store:
            last, counts = store.last_decision(), store.counts()
        slot = -1 if last is None else last.slot
        sent = 0 if last is None else last.sent_product
        return f"{slot}.{sent}.{counts.queued_product}.{counts.sent_product}.{counts.delivered_product}"

    def report(self) -> ReplayReport:
        """Return the newest slots with their products."""
        with ProductStore.open_readonly(self.path) as store:
            slots = store.decisions()[-self.last_slots :]
            known = _read(store, slots[0].slot if slots else 0)
        seen = replace(known, slots=slots, notes=_notes(slots, known.products or ()))
        return report_of(self.scene, seen)


def _read(store: ProductStore, first_slot: int) -> Seen:
    """Return the products from a slot on, and how far each has come."""
    return Seen(
        slots=(),
        products=[product for product in store.products() if product.slot >= first_slot],
        sent_in_slot=store.sent_slots(),
        delivered=frozenset(product.product_id for product in store.products(state="delivered")),
    )


def _stored(path: Path | None, first_slot: int) -> Seen:
    """Return what a daemon's store holds, nothing known where it may not be read."""
    if path is None:
        return Seen(slots=(), products=None)
    try:
        with ProductStore.open_readonly(path) as store:
            return _read(store, first_slot)
    except StoreError:
        return Seen(slots=(), products=None)


def _notes(slots: Sequence[SlotRecord], products: Sequence[Product]) -> list[str]:
    notes = ["This page shows what is in the store, and follows it while it grows."]
    if any(slot.admitted_tile > slot.sampled_tile for slot in slots):
        notes.append("Only a sample of each slot's tiles was really inferred; counts and joules are scaled from it.")
    if any(slot.energy_kind == "estimated" for slot in slots):
        notes.append("Joules are estimates: measured CPU seconds per tile times an assumed power.")
    if any(product.truth is not None for product in products):
        notes.append("The mosaic's chips are real Sentinel-2 images; where it places them on the map is not.")
    return notes


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSource:
    """A running daemon. Of its status only the state and its reasons are shown."""

    socket: Path
    store: Path | None = None
    """Its products, where they may be read."""
    scene: Scene
    last_slots: int

    def version(self) -> str:
        """Return the daemon's next slot, its state, and how many products wait."""
        said = self._status()
        return f"{said.get('next_slot')}.{said.get('state')}.{_table(said.get('queue')).get('products')}"

    def report(self) -> ReplayReport:
        """Return the newest slots as the daemon keeps them."""
        said = self._status()
        since = max(0, int(said.get("next_slot") or 0) - self.last_slots)
        rows = ask(self.socket, {"do": "slots", "since": since}, ASK_S).get("slots", [])
        slots = [slot_from(row) for row in rows][-self.last_slots :]
        reserve = _table(said.get("charge")).get("reserve_frac")
        known = _stored(self.store, slots[0].slot if slots else 0)
        seen = Seen(
            slots=slots,
            products=known.products,
            sent_in_slot=known.sent_in_slot,
            delivered=known.delivered,
            policy=str(said.get("policy", "")),
            notes=[f"This page is live: the daemon is {said.get('state')}.", *map(str, said.get("reasons") or ())],
            reserve_frac=float(reserve) if isinstance(reserve, int | float) else None,
        )
        return report_of(self.scene, seen)

    def _status(self) -> dict[str, Any]:
        return ask(self.socket, {"do": "status"}, ASK_S)


def slot_from(row: object) -> SlotRecord:
    """Return the slot of a daemon's answer; a field that is missing is blank."""
    if not isinstance(row, dict):
        raise MissionError(f"the daemon answers {str(row)[:60]!r} for a slot. Use the same version on both sides.")
    known = {item.name for item in fields(SlotRecord)}
    return decision_from_text(json.dumps({name: value for name, value in row.items() if name in known}))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def store_in(folder: Path) -> Path:
    """Return the store of a replay's folder, of a daemon's, or the file itself."""
    if folder.is_file():
        return folder
    for name in (REPLAY_STORE, DAEMON_STORE):
        if (folder / name).is_file():
            return folder / name
    raise StoreError(f"There is no store in {folder}. Give the folder of a replay (--out), or of a mission's state.")


@dataclass(frozen=True, slots=True)
class Flown:
    """What a replay's summary says of it; empty while it is still being flown."""

    scenario: Scenario | None = None
    policy: str = ""
    seed: int | None = None


def flown_in(folder: Path, given: str | None) -> Flown:
    """Return what was flown: the scenario as given, else as the summary names it. Raises ``ScenarioError``."""
    scenario = None if given is None else load_scenario(given)
    try:
        told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        return Flown(scenario or load_scenario(str(told["scenario"])), str(told["policy"]), int(told["seed"]))
    except (OSError, ValueError, KeyError, TypeError, ScenarioError):
        return Flown(scenario)  # still being flown, or no replay at all: the slots' own places are shown
