"""A flight as GeoJSON (RFC 7946): track, slots, stations, passes and the footprint of each answer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from ..report.digest import Digest, digest, runs
from ..report.model import ReplayReport
from ..strict_json import finite
from .czml import iso

Point = tuple[float, float]
SLOT_FIELDS = (
    "slot", "start_utc", "model", "mode", "reason", "counterfactual", "overruled", "cover", "sunlit_frac",
    "charge_frac", "budget_j", "energy_j", "energy_kind", "temperature_c", "admitted_tile", "shed_tile",
    "accuracy_frac", "reward", "sent_product", "sent_byte", "backlog_product",
)  # fmt: skip


def flight_geojson(report: ReplayReport) -> str:
    """Return a FeatureCollection; each feature says in ``kind`` what it is. Lines are cut at the antimeridian."""
    flight = digest(report)
    features = [*_track(flight), *_slots(flight), *_stations(report), *_answers(report)] if flight.slots else []
    table = {
        "type": "FeatureCollection",
        "name": report.title,
        "passes": [_pass(report, number) for number in range(len(report.passes))],
        "features": features,
    }
    return json.dumps(table, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def _feature(kind: str, geometry: dict[str, Any] | None, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"kind": kind, **finite(properties)}}


def _track(flight: Digest) -> Iterator[dict[str, Any]]:
    """Yield the track piece by piece: in sunlight and in shadow."""
    track = flight.report.track
    longitudes = (track.longitude_deg + 180.0) % 360.0 - 180.0
    points = [(round(float(x), 4), round(float(y), 4)) for x, y in zip(longitudes, track.latitude_deg, strict=True)]
    for wanted in (True, False):
        for first, last in runs(bool(lit) is wanted for lit in track.sunlit):
            part = points[first : last + 1]
            if len(part) < 2:
                continue
            end = min(last, len(points) - 1)
            lines = cut_at_antimeridian(part)
            geometry = {"type": "MultiLineString", "coordinates": lines}
            start_utc, end_utc = iso(float(track.unix_s[first])), iso(float(track.unix_s[end]))
            yield _feature("track", geometry, sunlit=wanted, start_utc=start_utc, end_utc=end_utc)


def cut_at_antimeridian(points: Sequence[Point]) -> list[list[Point]]:
    """Return the line in pieces that each stay on one side of the antimeridian (RFC 7946, section 3.1.9).

    >>> cut_at_antimeridian([(179.0, 0.0), (-179.0, 2.0)])
    [[(179.0, 0.0), (180.0, 1.0)], [(-180.0, 1.0), (-179.0, 2.0)]]
    """
    pieces: list[list[Point]] = [[points[0]]]
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x1 - x0) > 180.0:
            edge = math.copysign(180.0, x0)
            unwrapped = x1 + math.copysign(360.0, x0)
            share = (edge - x0) / (unwrapped - x0) if unwrapped != x0 else 0.0
            y = round(y0 + share * (y1 - y0), 4)
            pieces[-1].append((edge, y))
            pieces.append([(-edge, y)])
        pieces[-1].append((x1, y1))
    return pieces


def _slots(flight: Digest) -> Iterator[dict[str, Any]]:
    for slot in flight.slots:
        placed = math.isfinite(slot.latitude_deg) and math.isfinite(slot.longitude_deg)
        longitude = (slot.longitude_deg + 180.0) % 360.0 - 180.0
        geometry = (
            {"type": "Point", "coordinates": [longitude, slot.latitude_deg]} if placed and flight.placed else None
        )
        yield _feature("slot", geometry, **{name: getattr(slot, name) for name in SLOT_FIELDS})


def _stations(report: ReplayReport) -> Iterable[dict[str, Any]]:
    for one in report.stations:
        geometry = {"type": "Point", "coordinates": [one.longitude_deg, one.latitude_deg]}
        yield _feature("station", geometry, name=one.name, mask_deg=one.mask_deg)


def _pass(report: ReplayReport, number: int) -> dict[str, Any]:
    one = report.passes[number]
    return {
        "number": number + 1,
        "station": one.station,
        "start_utc": iso(one.start_unix_s),
        "end_utc": iso(one.end_unix_s),
        "sent_product": one.sent_product,
        "sent_byte": one.sent_byte,
        "left_product": one.left_product,
    }


def _answers(report: ReplayReport) -> Iterable[dict[str, Any]]:
    for one in report.products:
        ring = [list(corner) for corner in one.ring_deg]
        geometry = {"type": "Polygon", "coordinates": [ring]} if ring else None
        yield _feature(
            "answer",
            geometry,
            **{"class": one.label},
            score=one.score,
            value=one.value,
            truth=one.truth,
            slot=one.slot,
            frame=one.frame_id,
            sent_in_slot=one.sent_in_slot,
            delivered=one.delivered,
        )
