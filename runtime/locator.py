"""The network that finds where pictures were taken, in flight: a tile is a whole picture, its product a position.

What a picture alone says, and what the whole flight so far says, are those of ``runtime.locate``. Pictures without a
fix are products too, without a place and worth nothing, so that the ground sees that there was none and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exporters.errors import DatasetError
from exporters.gallery.gallery import LOCAL
from exporters.gallery.sight import Sight, tile_of
from power_sim.slot import SlotState

from .answers import ViewOf
from .errors import EngineError, FrameError, MissionError
from .locate import FALSE_FIX_FRAC, Fix, Places, embed_tiles, fused_fix, is_blank, look_up, sight_for, track_of
from .onboard import LoadedNetwork, plain
from .positions import POSITION, square_of
from .records import FloatArray, Product, Tile, TileOutcome, TileRef
from .tasks.answer import product_of
from .tasks.classify import product_id
from .tracking import Track

SightOf = Callable[[str], Mapping[str, float]]
"""What came with a frame about how it was taken, by the frame's id; raises ``FrameError``."""
LOCATE = "locate"
"""Task of the packages that are found by a gallery."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One picture: its vector, (dim,), how it was taken, and where odometry had the camera."""

    ref: TileRef
    vector: FloatArray
    sight: Sight
    odometry_m: tuple[float, float] | None
    blank: bool = False
    """Of one colour: nothing can be found."""


@dataclass(slots=True)
class Leg:
    """The flight so far. A slot that is flown again, because it failed, begins where it began before."""

    track: Track | None
    odometry_m: tuple[float, float] | None = None
    _slot: int | None = None
    _before: Any = None

    def begin(self, slot: int) -> None:
        """Take a note of where the slot begins, or go back there."""
        if self.track is None:
            return
        if slot == self._slot:
            self.odometry_m, memento = self._before
            self.track.restore(memento)
        self._slot, self._before = slot, (self.odometry_m, self.track.memento())

    def step(self, scores: FloatArray, odometry_m: tuple[float, float] | None) -> Any:
        """The state after one more picture; how it moved is the difference of the last two odometry readings."""
        assert self.track is not None
        moved = None
        if odometry_m is not None and self.odometry_m is not None:
            moved = odometry_m[0] - self.odometry_m[0], odometry_m[1] - self.odometry_m[1]
        self.odometry_m = odometry_m or self.odometry_m
        return self.track.step(scores, moved)


@dataclass(frozen=True, kw_only=True)
class LocatorNetwork(LoadedNetwork):
    """A loaded encoder with the gallery of the flight area; see ``runtime.slot_loop.Network``."""

    places: Places
    sight_of: SightOf
    camera: Mapping[str, float | None] = field(default_factory=dict)
    """What the mission says of how pictures are taken; what comes with one goes over it."""
    false_fix_frac: float = FALSE_FIX_FRAC
    leg: Leg = field(default_factory=lambda: Leg(None))

    def answer(self, tiles: Sequence[Tile], view: ViewOf) -> tuple[list[Seen], list[TileOutcome]]:
        """Lay each picture onto the ground and embed it; one that cannot be laid fails, and says why."""
        seen: list[Seen] = []
        ended: dict[TileRef, TileOutcome] = {}
        embed, gallery = embed_tiles(self.engine, self.package), self.places.gallery
        for tile in tiles:
            try:
                sight, odometry_m = self._sight(tile.ref.frame_id)
                ground = tile_of(tile.pixels, sight, tile_m=gallery.tile_m, edge_px=gallery.edge_px)
                seen.append(Seen(tile.ref, embed(ground[None])[0], sight, odometry_m, is_blank(ground)))
                ended[tile.ref] = TileOutcome(tile.ref, "done")
            except (DatasetError, EngineError, FrameError, MissionError) as error:  # noqa: PERF203  each on its own
                ended[tile.ref] = TileOutcome(tile.ref, "failed", str(error))
        return seen, [ended[tile.ref] for tile in tiles]

    def products(self, findings: Sequence[Any], view: ViewOf, state: SlotState) -> list[Product]:
        """One product a picture: the position by the flight so far, or by the picture alone without a track."""
        self.leg.begin(state.slot)
        worth = state.value_per_correct * self.worth
        return [self._product(one, state, worth) for found in plain(findings) for one in found]

    def labels(self, found: Any, view: ViewOf) -> list[str]:
        """See ``LoadedNetwork.labels``: how each picture ends by itself."""
        return sorted(self._alone(one).status for part in plain([found]) for one in part)

    def _alone(self, one: Seen) -> Fix:
        name, share = one.ref.frame_id, self.false_fix_frac
        return look_up(self.places, one.vector, name, one.sight, false_fix_frac=share, blank=one.blank)

    def _product(self, one: Seen, state: SlotState, worth: float) -> Product:
        fix = self._alone(one)
        sure = 1.0 - fix.false_fix_frac
        if self.leg.track is not None:
            scores = self.places.scores(self.places.views(one.vector)) * (not one.blank)
            fused = self.leg.step(scores, one.odometry_m)
            fix, sure = fused_fix(fix, fused, one.sight, self.places.gallery.crs), 1.0 - fused.off
        place = None
        if fix.longitude_deg is not None and fix.latitude_deg is not None and fix.error_m is not None:
            place = square_of(fix.longitude_deg, fix.latitude_deg, fix.error_m)
        return product_of(
            self.package,
            one.ref,
            product_id=product_id(one.ref, self.package.sha256, state.slot),
            kind=POSITION,
            label=fix.status,
            score=float(np.clip(sure, 0.0, 1.0)) if place is not None else 0.0,
            class_value=worth,
            slot=state.slot,
            captured_unix_s=state.start_unix_s,
            place=place,
        )

    def _sight(self, frame_id: str) -> tuple[Sight, tuple[float, float] | None]:
        told = {**self.camera, **self.sight_of(frame_id)}
        sight = sight_for(
            told.get("gsd_m"),
            height_m=told.get("height_m"),
            focal_px=told.get("focal_px"),
            heading_deg=told.get("heading_deg") or 0.0,
            tilt_deg=90.0 if told.get("tilt_deg") is None else float(told["tilt_deg"] or 0.0),
        )
        east, north = told.get("east_m"), told.get("north_m")
        return sight, None if east is None or north is None else (east, north)


def locator_of(
    network: LoadedNetwork,
    places: Places,
    sight_of: SightOf,
    *,
    camera: Mapping[str, float | None],
    false_fix_frac: float,
    track: bool,
    drift_m: float | None,
) -> LocatorNetwork:
    """``network`` with a gallery. Raises ``MissionError`` for one without longitude and latitude."""
    if places.gallery.crs == LOCAL:
        raise MissionError(
            "The gallery is in metres of its own, but products need longitude and latitude. Build it with --crs."
        )
    embed_tiles(network.engine, network.package)
    return LocatorNetwork(
        package=network.package,
        engine=network.engine,
        reader=network.reader,
        grid_px=network.grid_px,
        worth=network.worth,
        places=places,
        sight_of=sight_of,
        camera=camera,
        false_fix_frac=false_fix_frac,
        leg=Leg(track_of(places, drift_m) if track else None),
    )
