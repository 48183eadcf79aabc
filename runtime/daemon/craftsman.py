"""A network that flies, with its record: failed tiles, speed, quarantine, and a shadow beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from power_sim.slot import SlotState

from ..answers import ViewOf
from ..keepsakes import Kept
from ..onboard import LoadedNetwork
from ..records import Product, Tile, TileOutcome, TileRef
from ..staged import StagedNetwork
from .blackbox import BlackBox

ENOUGH_TILE = 4
"""Fewer tiles than this in a slot prove nothing."""
QUARANTINE_SLOTS = 10
SPEED_GAIN = 0.6
"""Weight of the newest slot in the running seconds and joules per tile: after three slots 94 % of a step is in."""


@dataclass
class Shadow:
    """A candidate that answers beside the active network and is only compared."""

    network: LoadedNetwork
    tile: int = 0
    agreed_tile: int = 0
    failed_tile: int = 0

    def score(self, tiles: Sequence[Tile], active: LoadedNetwork, view: ViewOf) -> None:
        """Compare what both find, tile by tile; a candidate that fails is counted and costs the slot nothing else.

        They agree on a tile where they give the same labels, each as often.
        """
        for tile in tiles:
            found, outcomes = self.network.answer([tile], view)
            self.tile += 1
            if outcomes[0].outcome == "failed":
                self.failed_tile += 1
            else:
                theirs, _ = active.answer([tile], view)
                self.agreed_tile += self.network.labels(found, view) == active.labels(theirs, view)


@dataclass
class Craftsman:
    """One network of the pool with its record. Stands in the slot loop as the network itself."""

    name: str
    package_id: str
    loaded: LoadedNetwork | StagedNetwork
    slot_name: str
    shadow_tile: int
    blackbox: BlackBox
    shadow: Shadow | None = None
    done_tile: int = 0
    failed_tile: int = 0
    quarantined_slots: int = 0
    quarantine: str = ""
    tile_s: float | None = None
    """Running seconds per tile; ``None`` until it has worked here."""
    energy_j: float | None = None
    restarts: int = 0
    """Lost workers that have been told."""
    before_tile_s: float | None = None
    """Of the package that this one replaces."""
    note: Callable[[LoadedNetwork, Sequence[Any], ViewOf, SlotState], None] | None = None
    """Told of everything that a slot has found, such as vectors for the index."""

    @property
    def stages(self) -> tuple[LoadedNetwork, ...]:
        """Its networks: several in a chain."""
        return self.loaded.stages if isinstance(self.loaded, StagedNetwork) else (self.loaded,)

    @property
    def batch_cost(self) -> tuple[float, float] | None:
        """Joules and seconds a tile of the last batch, where the network knows better than its profile."""
        return self.loaded.batch_cost if isinstance(self.loaded, StagedNetwork) else None

    @property
    def tile_edge_px(self) -> int:
        """See ``Network``."""
        return self.loaded.tile_edge_px

    @property
    def bands(self) -> tuple[str, ...]:
        """See ``Network``."""
        return self.loaded.bands

    @property
    def tile_dtype(self) -> str:
        """See ``Network``."""
        return self.loaded.tile_dtype

    @property
    def healthy(self) -> bool:
        """Whether it may be chosen."""
        return self.quarantined_slots == 0

    def answer(self, tiles: Sequence[Tile], view: ViewOf) -> tuple[Any, list[TileOutcome]]:
        """Infer, count, and let the shadow look at the first tiles."""
        self.blackbox.working(self.name, [tile.ref.frame_id for tile in tiles])
        found, outcomes = self.loaded.answer(tiles, view)
        done_tile = sum(outcome.outcome == "done" for outcome in outcomes)
        self.done_tile += done_tile
        self.failed_tile += sum(outcome.outcome == "failed" for outcome in outcomes)
        if self.shadow is not None and isinstance(self.loaded, LoadedNetwork):
            self.shadow.score(tiles[: self.shadow_tile], self.loaded, view)
        return found, outcomes

    def products(self, findings: Sequence[Any], view: ViewOf, state: SlotState) -> list[Product]:
        """See ``Network``."""
        if self.note is not None and isinstance(self.loaded, LoadedNetwork):
            self.note(self.loaded, findings, view, state)
        return self.loaded.products(findings, view, state)

    def kept(self) -> dict[TileRef, Kept]:
        """See ``runtime.keepsakes.Keeping``."""
        return self.loaded.kept()

    def begin_slot(self) -> None:
        """Forget what the last slot counted."""
        self.done_tile = self.failed_tile = 0
        for part in (*self.stages, self.loaded):
            begin = getattr(getattr(part, "engine", part), "begin_slot", None)
            if begin is not None:
                begin()
        self.quarantined_slots = max(self.quarantined_slots - 1, 0)
        if self.quarantined_slots == 0:
            self.quarantine = ""

    def learn(self, tile: int, seconds: float, energy_j: float | None) -> None:
        """Follow what the slot's tiles took; of a chain without a meter, what its stages did by their profiles."""
        if energy_j is None and isinstance(self.loaded, StagedNetwork) and self.loaded.slot_tile:
            energy_j = self.loaded.slot_j / self.loaded.slot_tile * tile
        if tile < ENOUGH_TILE:
            return
        if seconds > 0:
            now_s = seconds / tile
            self.tile_s = now_s if self.tile_s is None else self.tile_s + SPEED_GAIN * (now_s - self.tile_s)
        if energy_j is not None and energy_j > 0:
            now_j = energy_j / tile
            self.energy_j = now_j if self.energy_j is None else self.energy_j + SPEED_GAIN * (now_j - self.energy_j)

    def bar(self, why: str, slots: int = QUARANTINE_SLOTS) -> None:
        """Take it out of the choice for some slots."""
        self.quarantine, self.quarantined_slots = why, slots + 1
