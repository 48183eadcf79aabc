"""Turns a finished flight into the records that the report page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from power_sim.eclipse import shadow_margins_rad
from power_sim.frames import ecef_from_eci, geodetic_from_ecef
from power_sim.scenario import Scenario
from power_sim.sections import OrbitSection
from power_sim.simulator import MissionTrack
from power_sim.sun import sun_eci_m
from power_sim.track import state_at

from .flight import Flight
from .frames.picture import thumbnail_jpeg
from .frames.scenes import SceneSource
from .records import Product, SlotRecord
from .report.digest import runs
from .report.model import Finding, FrameView, GroundTrack, PackageView, PassRecord, ReplayReport, Station

TRACK_STEP_S = 30.0
LONG_S = 2 * 86_400.0
"""From here on the track has a point a slot."""
PICTURE_PX = 2000
"""Longer side of a scene in the page: the sample scenes come whole, so that a chip shows what the network saw."""
CREDITS = {
    "eurosat": "EuroSAT (Helber et al. 2019, MIT); contains modified Copernicus Sentinel data",
    "naip": "NAIP, USDA, public domain",
}


def reserve_of(scenario: Scenario) -> float | None:
    """Return the charge that no decision may go below; a paper's battery has none."""
    return None if scenario.power.kind == "paper" else scenario.power.reserve_frac


def report_of(flight: Flight, summary: Mapping[str, object]) -> ReplayReport:
    """Return everything that the page shows of ``flight``."""
    scenario = flight.scenario
    return ReplayReport(
        title=f"Subsolar replay: {scenario.name}",
        scenario=scenario.name,
        policy=flight.policy,
        seed=flight.options.seed,
        summary=summary,
        slots=flight.slots,
        track=ground_track(flight),
        passes=pass_records(flight),
        products=[finding(product, flight.sent_in_slot, flight.delivered) for product in flight.products],
        notes=[str(note) for note in _list(summary["notes"])],
        versions={str(name): str(value) for name, value in _table(summary["versions"]).items()},
        stations=[
            Station(name, s.latitude_deg, s.longitude_deg, s.mask_deg) for name, s in scenario.link.stations.items()
        ],
        frames=frame_views(flight.scenes, flight.products),
        packages=package_views(flight),
        reserve_frac=reserve_of(scenario),
        temperature_limit_c=scenario.thermal.limit_c if scenario.thermal.enabled else None,
        slot_s=scenario.orbit.slot_s,
        command=flight.options.command,
    )


def ground_track(flight: Flight) -> GroundTrack:
    """Return the sub-satellite points of the slots that were flown, every 30 s where the orbit allows it."""
    track: MissionTrack = flight.track
    flown, orbit = len(flight.slots), flight.scenario.orbit
    if orbit.kind == "sortie":
        lat, lon = np.degrees(track.latitude_rad[:flown]), np.degrees(track.longitude_rad[:flown])
        return GroundTrack(track.unix_s[:flown], lat, lon, track.sunlit_frac[:flown] > 0.5)
    return orbit_track(orbit, float(track.unix_s[0]), float(track.unix_s[max(flown - 1, 0)]) + orbit.slot_s)


def orbit_track(orbit: OrbitSection, start_s: float, end_s: float) -> GroundTrack:
    """Return the sub-satellite points of an orbit between two moments; none for a circle over nowhere in particular."""
    if orbit.kind in ("ideal", "sortie"):
        nowhere = np.zeros(0)
        return GroundTrack(nowhere, nowhere, nowhere, nowhere.astype(np.bool_))
    step_s = TRACK_STEP_S if end_s - start_s < LONG_S else orbit.slot_s
    unix_s = np.arange(start_s, end_s + step_s / 2, step_s)
    r_eci_m, _ = state_at(orbit, unix_s)
    latitude_rad, longitude_rad, altitude_m = geodetic_from_ecef(ecef_from_eci(r_eci_m, unix_s))
    penumbra, umbra = shadow_margins_rad(r_eci_m, sun_eci_m(unix_s))
    lit = penumbra + umbra > 0
    return GroundTrack(unix_s, np.degrees(latitude_rad), np.degrees(longitude_rad), lit, altitude_m)


def pass_records(flight: Flight) -> list[PassRecord]:
    """Return each contact with what its slots sent."""
    slot_s = flight.scenario.orbit.slot_s
    starts = [float(value) for value in flight.track.unix_s[: len(flight.slots)]]
    spans = [(one.station, one.start_unix_s, one.end_unix_s) for one in flight.track.contacts]
    return passes_over(spans or contact_spans(flight.slots, starts, slot_s), flight.slots, starts, slot_s)


def contact_spans(
    slots: Sequence[SlotRecord], starts: Sequence[float], slot_s: float
) -> list[tuple[str, float, float]]:
    """Return the runs of slots with contact, where no station is known by name."""
    found = runs(slot.pass_s > 0 for slot in slots)
    return [("link", starts[first], starts[last - 1] + slot_s) for first, last in found]


def passes_over(
    spans: Sequence[tuple[str, float, float]], slots: Sequence[SlotRecord], starts: Sequence[float], slot_s: float
) -> list[PassRecord]:
    """Return each span (station, start, end) that slots were flown in, with what they sent and left."""
    found = []
    for station, begin, end in spans:
        mine = [slot for slot, start in zip(slots, starts, strict=True) if start < end and start + slot_s > begin]
        if mine:
            sent, byte = sum(slot.sent_product for slot in mine), sum(slot.sent_byte for slot in mine)
            found.append(PassRecord(station, begin, end, byte, sent, mine[-1].backlog_product))
    return found


def finding(product: Product, sent_in_slot: Mapping[str, int], delivered: frozenset[str]) -> Finding:
    """Return a product as the page shows it."""
    return Finding(
        label=product.label,
        score=product.score,
        value=product.value,
        frame_id=product.frame_id,
        slot=product.slot,
        ring_deg=() if product.footprint is None else product.footprint.ring_deg,
        box_px=(product.row_px, product.col_px, product.edge_px),
        truth=product.truth,
        sent_in_slot=sent_in_slot.get(product.product_id),
        delivered=product.product_id in delivered,
        kind=product.kind,
    )


def frame_views(scenes: SceneSource, products: Sequence[Product]) -> list[FrameView]:
    """Return a small picture of each scene that tiles were cut from."""
    names = sorted({product.frame_id.split("@", 1)[0] for product in products})
    return [frame_view(scenes, name) for name in names]


def frame_view(scenes: SceneSource, name: str) -> FrameView:
    """Return one scene as a JPEG of at most 2000 px, with its bounds."""
    credit = next((text for key, text in CREDITS.items() if name.startswith(key)), "")
    frame = scenes.frame(name)
    return FrameView(
        frame_id=name,
        title=name,
        credit=credit,
        image=thumbnail_jpeg(scenes.path_of(name), PICTURE_PX),
        width_px=frame.width_px,
        height_px=frame.height_px,
    )


def package_views(flight: Flight) -> list[PackageView]:
    """Return the pool with the figures that the policy was given."""
    return [
        PackageView(
            model=model.name,
            package_id=model.package_id,
            sha256=flight.packages[model.name].sha256,
            accuracy_frac=model.accuracy_frac,
            energy_per_tile_j=model.energy_j,
            time_per_tile_s=model.time_s,
            energy_kind=model.energy_kind,
        )
        for model in flight.scenario.pool.models
    ]


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _table(value: object) -> dict[object, object]:
    assert isinstance(value, dict)
    return value
