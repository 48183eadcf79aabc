"""A flight as CZML for CesiumJS: the craft with track and horizon, eclipses, passes, stations and what was seen.

Follows the CZML Guide and CZML Structure of AnalyticalGraphicsInc/czml-writer: an array of packets, the first of which
is ``{"id": "document", "version": "1.0"}`` with the clock; times are ISO 8601, positions in the rotating frame (FIXED).
Load it with ``viewer.dataSources.add(Cesium.CzmlDataSource.load("replay.czml"))``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from power_sim.frames import ecef_from_geodetic

from ..errors import MissionError
from ..report.digest import IDLE, Digest, digest, runs
from ..report.model import Finding, ReplayReport

EARTH_M = 6_371_000.0
RINGS_MAX = 5000
"""Footprints written; a globe with more of them does not turn."""
_MODEL_RGBA = ([0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [213, 94, 0], [240, 228, 66])
"""Okabe and Ito's colours, in the order that the report uses."""
_GREY, _SUN, _NIGHT, _PASS = [138, 147, 160, 255], [240, 197, 72, 255], [90, 110, 170, 255], [86, 180, 233, 255]


@dataclass(frozen=True, slots=True)
class Moments:
    """Seconds of the flight as CZML wants them."""

    start_unix_s: float
    end_unix_s: float

    @property
    def whole(self) -> str:
        """The interval of the whole flight."""
        return interval(self.start_unix_s, self.end_unix_s)


def czml(report: ReplayReport) -> str:
    """Return the flight as a CZML document; the same flight gives the same bytes.

    Raises ``MissionError`` where the flight has no place on Earth.
    """
    flight = digest(report)
    if not flight.slots or not flight.placed:
        raise MissionError(
            f"scenario {report.scenario!r} has no place on Earth, so there is nothing for a globe. Leave --czml out."
        )
    when = Moments(flight.starts_unix_s[0], flight.end_unix_s)
    packets = [
        _document(report, when),
        _craft(flight, when),
        *_horizon(flight, when),
        *(_station(name, at) for name, at in _station_places(report).items()),
        *(_contact(flight, number) for number in range(len(report.passes))),
        *_rings(flight, report.products[:RINGS_MAX], when),
    ]
    return json.dumps(packets, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def iso(unix_s: float) -> str:
    """Return an ISO 8601 time in UTC.

    >>> iso(0.0)
    '1970-01-01T00:00:00Z'
    """
    text = datetime.fromtimestamp(unix_s, timezone.utc).isoformat(timespec="auto")
    return text.replace("+00:00", "Z")


def interval(start_unix_s: float, end_unix_s: float) -> str:
    """Return an ISO 8601 interval."""
    return f"{iso(start_unix_s)}/{iso(end_unix_s)}"


def _document(report: ReplayReport, when: Moments) -> dict[str, Any]:
    clock = {
        "interval": when.whole,
        "currentTime": iso(when.start_unix_s),
        "multiplier": 60,
        "range": "LOOP_STOP",
        "step": "SYSTEM_CLOCK_MULTIPLIER",
    }
    return {"id": "document", "name": report.title, "version": "1.0", "clock": clock}


def _positions(flight: Digest) -> tuple[list[float], list[list[float]]]:
    """Return seconds since the start and (x, y, z) metres in the rotating frame."""
    track = flight.report.track
    height = np.zeros(len(track.unix_s)) if track.altitude_m is None else track.altitude_m
    rows = [
        ecef_from_geodetic(math.radians(float(lat)), math.radians(float(lon)), float(up))
        for lat, lon, up in zip(track.latitude_deg, track.longitude_deg, height, strict=True)
    ]
    return [float(t) - flight.starts_unix_s[0] for t in track.unix_s], [np.round(row, 1).tolist() for row in rows]


def _craft(flight: Digest, when: Moments) -> dict[str, Any]:
    seconds, places = _positions(flight)
    cartesian = [number for t, place in zip(seconds, places, strict=True) for number in (t, *place)]
    return {
        "id": "craft",
        "name": flight.report.scenario,
        "availability": when.whole,
        "position": {
            "epoch": iso(when.start_unix_s),
            "referenceFrame": "FIXED",
            "interpolationAlgorithm": "LAGRANGE",
            "interpolationDegree": 5 if len(seconds) > 5 else 1,
            "cartesian": cartesian,
        },
        "point": {"pixelSize": 11, "outlineWidth": 2, "outlineColor": _rgba([0, 0, 0, 255]), "color": _models(flight)},
        "label": {
            "text": [{"interval": slot, "string": text} for slot, text in _choices(flight)],
            "font": "13px sans-serif",
            "pixelOffset": {"cartesian2": [14, 0]},
            "horizontalOrigin": "LEFT",
            "showBackground": True,
        },
        "path": {
            "leadTime": 0,
            "trailTime": 5700,
            "width": 2.5,
            "resolution": 60,
            "material": {"solidColor": {"color": _lit_colours(flight)}},
        },
        "properties": _properties(flight),
    }


def _rgba(colour: Sequence[int]) -> dict[str, Any]:
    return {"rgba": list(colour)}


def _slots(flight: Digest) -> list[str]:
    return [interval(start, start + flight.slot_s) for start in flight.starts_unix_s]


def _models(flight: Digest) -> list[dict[str, Any]]:
    def colour(model: str) -> list[int]:
        return _GREY if model == IDLE else [*_MODEL_RGBA[flight.models.index(model) % len(_MODEL_RGBA)], 255]

    return [
        {"interval": when, "rgba": colour(slot.model)} for when, slot in zip(_slots(flight), flight.slots, strict=True)
    ]


def _choices(flight: Digest) -> list[tuple[str, str]]:
    return [
        (when, f"{slot.model} · {slot.admitted_tile:,} tiles · {100 * slot.charge_frac:.0f} %")
        for when, slot in zip(_slots(flight), flight.slots, strict=True)
    ]


def _lit_colours(flight: Digest) -> list[dict[str, Any]]:
    """Return the colour of the path: one in sunlight, one in shadow."""
    track = flight.report.track
    times = [float(t) for t in track.unix_s]
    spans = [
        (first, last, colour)
        for colour, wanted in ((_SUN, True), (_NIGHT, False))
        for first, last in runs(bool(lit) is wanted for lit in track.sunlit)
    ]
    return [
        {"interval": interval(times[first], times[min(last, len(times) - 1)]), "rgba": colour}
        for first, last, colour in sorted(spans)
        if first < len(times) - 1
    ]


def _properties(flight: Digest) -> dict[str, Any]:
    """Return what each slot knew and chose, as properties that change with time."""
    texts = {"model": "model", "reason": "reason", "counterfactual": "counterfactual", "shield": "overruled"}
    numbers = {
        "charge_frac": "charge_frac", "energy_j": "energy_j", "budget_j": "budget_j", "harvest_j": "harvest_j",
        "temperature_c": "temperature_c", "admitted_tile": "admitted_tile", "queued_tile": "queued_tile",
        "backlog_product": "backlog_product", "sunlit_frac": "sunlit_frac",
    }  # fmt: skip
    whens = _slots(flight)
    table: dict[str, Any] = {}
    for kind, names in (("string", texts), ("number", numbers)):
        for name, field in names.items():
            values = [getattr(slot, field) for slot in flight.slots]
            table[name] = [
                {"interval": when, kind: str(value) if kind == "string" else float(value)}
                for when, value in zip(whens, values, strict=True)
                if kind == "string" or math.isfinite(value)
            ]
    shadow = _lit_colours(flight)
    table["eclipse"] = [{"interval": part["interval"], "boolean": part["rgba"] is _NIGHT} for part in shadow]
    return {name: rows for name, rows in table.items() if rows}


def _horizon(flight: Digest, when: Moments) -> Iterable[dict[str, Any]]:
    """Yield the circle of ground from which the craft stands above the horizon."""
    altitude = flight.report.track.altitude_m
    if altitude is None:
        return
    radius_m = EARTH_M * math.acos(EARTH_M / (EARTH_M + float(np.mean(altitude))))
    seconds, _ = _positions(flight)
    track = flight.report.track
    degrees = [
        number
        for t, lat, lon in zip(seconds, track.latitude_deg, track.longitude_deg, strict=True)
        for number in (t, round(math.radians(float(lon)), 6), round(math.radians(float(lat)), 6), 0)
    ]
    yield {
        "id": "horizon",
        "name": "horizon of the craft",
        "availability": when.whole,
        "position": {"epoch": iso(when.start_unix_s), "cartographicRadians": degrees},
        "ellipse": {
            "semiMajorAxis": round(radius_m),
            "semiMinorAxis": round(radius_m),
            "height": 0,
            "material": {"solidColor": {"color": _rgba([86, 180, 233, 40])}},
            "outline": True,
            "outlineColor": _rgba(_PASS),
        },
    }


def _station_places(report: ReplayReport) -> dict[str, tuple[float, float]]:
    return {one.name: (one.longitude_deg, one.latitude_deg) for one in report.stations}


def _station(name: str, at: tuple[float, float]) -> dict[str, Any]:
    return {
        "id": f"station/{name}",
        "name": name,
        "position": {"cartographicDegrees": [*at, 0]},
        "point": {"pixelSize": 9, "color": _rgba([213, 94, 0, 255]), "outlineWidth": 1},
        "label": {
            "text": name,
            "font": "13px sans-serif",
            "pixelOffset": {"cartesian2": [10, 0]},
            "horizontalOrigin": "LEFT",
        },
    }


def _contact(flight: Digest, number: int) -> dict[str, Any]:
    """Return the line of sight of one pass, with what went down and what stayed."""
    one = flight.report.passes[number]
    when = interval(one.start_unix_s, one.end_unix_s)
    packet: dict[str, Any] = {
        "id": f"pass/{number + 1}",
        "name": f"pass {number + 1}: {one.station}",
        "availability": when,
        "description": f"{one.sent_product} products and {one.sent_byte} bytes went down, {one.left_product} stayed.",
        "properties": {
            "station": one.station,
            "sent_product": one.sent_product,
            "sent_byte": one.sent_byte,
            "left_product": one.left_product,
        },
    }
    if one.station in _station_places(flight.report):
        packet["polyline"] = {
            "positions": {"references": [f"station/{one.station}#position", "craft#position"]},
            "arcType": "NONE",
            "width": 3,
            "material": {"solidColor": {"color": _rgba(_PASS)}},
        }
    return packet


def _rings(flight: Digest, products: Sequence[Finding], when: Moments) -> Iterable[dict[str, Any]]:
    """Yield the footprint of each answer that has a place, from its slot on."""
    start_of = {slot.slot: start for slot, start in zip(flight.slots, flight.starts_unix_s, strict=True)}
    for number, one in enumerate(products):
        if not one.ring_deg or one.slot not in start_of:
            continue
        yield {
            "id": f"answer/{number}",
            "name": one.label,
            "availability": interval(start_of[one.slot], when.end_unix_s),
            "description": f"{one.label}, score {one.score:.2f}, slot {one.slot}"
            + ("" if one.truth is None else f", in truth {one.truth}"),
            "polygon": {
                "positions": {"cartographicDegrees": [v for lon, lat in one.ring_deg[:-1] for v in (lon, lat, 0)]},
                "height": 0,
                "material": {"solidColor": {"color": _rgba([240, 228, 66, 120])}},
                "outline": True,
                "outlineColor": _rgba([0, 0, 0, 255]),
            },
            "properties": {
                "label": one.label,
                "score": one.score,
                "value": one.value,
                "slot": one.slot,
                "delivered": one.delivered,
            },
        }
