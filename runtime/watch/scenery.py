"""Puts slots, and what the store knows beside them, into the records that the page shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from itertools import pairwise

import numpy as np

from power_sim.scenario import Scenario
from power_sim.track import fly_span

from ..errors import FrameError
from ..frames.scenes import SceneSource
from ..mission_report import contact_spans, finding, frame_view, orbit_track, passes_over
from ..records import Product, SlotRecord
from ..report import FrameView, GroundTrack, PackageView, PassRecord, ReplayReport, Station
from ..report.digest import unix_s

NEAR_DEG = 2.0
"""How far a slot may lie from the scenario's orbit before the orbit is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What stays the same while a flight is watched."""

    title: str
    scenario: Scenario | None = None
    """Gives track, stations and passes where the slots lie on its orbit."""
    scenes: SceneSource | None = None
    """Pictures for the chips."""
    policy: str = ""
    seed: int | None = None
    simulated: bool = True
    pictures: dict[str, FrameView] = field(default_factory=dict)
    """Scenes that were read once."""

    def frames(self, products: Sequence[Product]) -> list[FrameView]:
        """Return the pictures of the scenes that answers are from, as far as they are at hand."""
        if self.scenes is None:
            return []
        for name in sorted({product.frame_id.split("@", 1)[0] for product in products} - self.pictures.keys()):
            with suppress(FrameError):  # a scene of another machine has no picture here
                self.pictures[name] = frame_view(self.scenes, name)
        return list(self.pictures.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known at one moment."""

    slots: Sequence[SlotRecord]
    products: Sequence[Product] | None = ()
    """None where the source knows of none, although there may be some."""
    sent_in_slot: Mapping[str, int] = field(default_factory=dict)
    delivered: frozenset[str] = frozenset()
    policy: str = ""
    notes: Sequence[str] = ()
    reserve_frac: float | None = None


def report_of(scene: Scene, seen: Seen) -> ReplayReport:
    """Return the page's records of a flight that may still be flown."""
    starts = [unix_s(slot.start_utc) for slot in seen.slots]
    products = seen.products or ()
    slot_s = _slot_s(scene, starts)
    track, believed = _track(scene.scenario, seen.slots, starts, slot_s)
    scenario = scene.scenario if believed else None
    return ReplayReport(
        title=scene.title,
        scenario="" if scene.scenario is None else scene.scenario.name,
        policy=seen.policy or scene.policy,
        seed=scene.seed,
        simulated=scene.simulated,
        summary=_summary(seen),
        slots=seen.slots,
        track=track,
        passes=_passes(scenario, seen.slots, starts, slot_s),
        products=[finding(product, seen.sent_in_slot, seen.delivered) for product in products],
        notes=seen.notes,
        versions={"subsolar": metadata.version("subsolar")},
        stations=[]
        if scenario is None
        else [Station(n, s.latitude_deg, s.longitude_deg, s.mask_deg) for n, s in scenario.link.stations.items()],
        frames=scene.frames(products),
        packages=_pool(scene.scenario),
        reserve_frac=seen.reserve_frac if scene.scenario is None else _reserve(scene.scenario),
        temperature_limit_c=scene.scenario.thermal.limit_c
        if scene.scenario and scene.scenario.thermal.enabled
        else None,
        slot_s=slot_s,
    )


def _summary(seen: Seen) -> dict[str, object]:
    """Return what cannot be told from slots and products."""
    kinds = "+".join(sorted({slot.energy_kind for slot in seen.slots if slot.energy_kind}))
    unknown = {"products": math.nan, "delivered": math.nan} if seen.products is None else {}
    return {"energy_kind": kinds, **unknown}


def _pool(scenario: Scenario | None) -> list[PackageView]:
    """Return the pool, so that each network looks as it does in the report."""
    if scenario is None:
        return []
    return [
        PackageView(m.name, m.package_id, "", m.accuracy_frac, m.energy_j, m.time_s, m.energy_kind)
        for m in scenario.pool.models
    ]


def _slot_s(scene: Scene, starts: Sequence[float]) -> float:
    if scene.scenario is not None:
        return scene.scenario.orbit.slot_s
    return min((b - a for a, b in pairwise(starts) if b > a), default=60.0)


def _reserve(scenario: Scenario) -> float | None:
    return None if scenario.power.kind == "paper" else scenario.power.reserve_frac


def _track(
    scenario: Scenario | None, slots: Sequence[SlotRecord], starts: Sequence[float], slot_s: float
) -> tuple[GroundTrack, bool]:
    """Return the scenario's track where the slots lie on it, else one through the slots, and which of the two it is."""
    latitude = np.array([slot.latitude_deg for slot in slots])
    longitude = np.array([slot.longitude_deg for slot in slots])
    middles = np.array(starts) + slot_s / 2
    known = np.isfinite(latitude) & np.isfinite(longitude)
    if scenario is not None and len(slots) and scenario.orbit.kind not in ("ideal", "sortie"):
        track = orbit_track(scenario.orbit, starts[0], starts[-1] + slot_s)
        there = np.interp(middles, track.unix_s, track.latitude_deg)
        if known.any() and float(np.median(np.abs(there - latitude)[known])) < NEAR_DEG:
            return track, True
    sunlit = np.array([slot.sunlit_frac > 0.5 for slot in slots], dtype=np.bool_)
    moving = known.sum() > 1
    pick = known if moving else np.zeros(len(slots), np.bool_)
    return GroundTrack(middles[pick], latitude[pick], longitude[pick], sunlit[pick]), False


def _passes(
    scenario: Scenario | None, slots: Sequence[SlotRecord], starts: Sequence[float], slot_s: float
) -> list[PassRecord]:
    """Return the contacts: by the scenario's stations, else as long as slots with contact follow each other."""
    if scenario is None or not slots:
        return passes_over(contact_spans(slots, starts, slot_s), slots, starts, slot_s)
    span = fly_span(scenario, starts[0], max(1, round((starts[-1] + slot_s - starts[0]) / slot_s)))
    return passes_over([(one.station, one.start_unix_s, one.end_unix_s) for one in span.passes], slots, starts, slot_s)
