"""What the script gets: the flight as columns of plain numbers, from which it draws globe, charts and words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from power_sim.frames import ecef_from_eci, geodetic_from_ecef
from power_sim.sun import sun_eci_m

from ..records import SlotRecord
from .digest import Digest
from .found import Catalogue, outline, scene_of
from .timeline import nights
from .words import kind_word

SUN_STEP_S = 6 * 3600.0
_TEXT = {"start_utc"}
"""Fields that the script finds elsewhere."""


def stage_data(flight: Digest, book: Catalogue) -> str:
    """Return the JSON of the whole flight, safe inside a ``<script>`` element."""
    report = flight.report
    table = {
        "t": [_number(start, 1) for start in flight.starts_unix_s],
        "slot_s": flight.slot_s,
        "looks": {model: [flight.look(model).css, flight.look(model).shape] for model in flight.models},
        "slots": {item.name: _column(flight, item.name) for item in fields(SlotRecord) if item.name not in _TEXT},
        "reserve": report.reserve_frac,
        "limit_c": report.temperature_limit_c,
        "nights": [[_number(a, 1), _number(b, 1)] for a, b in nights(flight)],
        "passes": [
            [one.station, one.start_unix_s, one.end_unix_s, one.sent_product, one.sent_byte, one.left_product]
            for one in report.passes
        ],
        "track": _track(flight),
        "sun": _sun(flight),
        "stations": [[one.name, one.latitude_deg, one.longitude_deg, one.mask_deg] for one in report.stations],
        **_findings(book),
    }
    return in_script(table)


def in_script(table: object) -> str:
    """Return strict JSON that cannot end the script element it stands in."""
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _column(flight: Digest, name: str) -> list[Any]:
    values = [getattr(slot, name) for slot in flight.slots]
    kind = type(values[0])
    if kind is str:
        return values if len(set(values)) > 1 else values[:1]
    return [_number(float(value), 5) for value in values]


def _number(value: float, digits: int) -> float | int | None:
    """Return a number to so many decimals and six significant digits or more, null where it is not finite."""
    if not math.isfinite(value):
        return None
    if value == round(value):
        return int(value)
    return round(value, digits if abs(value) > 0.01 else 9)


def _track(flight: Digest) -> dict[str, Any] | None:
    track = flight.report.track
    if not flight.placed:
        return None
    altitude = track.altitude_m
    return {
        "t": [_number(float(t), 1) for t in track.unix_s],
        "lat": np.round(track.latitude_deg, 3).tolist(),
        "lon": np.round((track.longitude_deg + 180.0) % 360.0 - 180.0, 3).tolist(),
        "lit": "".join("1" if lit else "0" for lit in track.sunlit),
        "altitude_m": None if altitude is None else np.round(altitude).tolist(),
    }


def _sun(flight: Digest) -> list[list[float]]:
    """Return time, latitude and unwrapped longitude of the point under the Sun, from before the flight to after it."""
    times = np.arange(flight.time.low - SUN_STEP_S, flight.time.high + 2 * SUN_STEP_S, SUN_STEP_S)
    latitude, longitude, _ = geodetic_from_ecef(ecef_from_eci(sun_eci_m(times), times))
    rows = np.column_stack([times, np.degrees(latitude), np.degrees(np.unwrap(longitude))])
    return [[round(float(value), 3) for value in row] for row in rows]


def _findings(book: Catalogue) -> dict[str, Any]:
    """Return the answers as columns, with what their scenes and labels are called."""
    label = {name: number for number, name in enumerate(book.code)}
    kinds = sorted({item.kind for item in book.findings})
    scene = {frame.frame_id: number for number, frame in enumerate(book.frames)}
    one = book.findings
    return {
        "labels": [[name, code, book.colour[name]] for name, code in book.code.items()],
        "kinds": [kind_word(kind) for kind in kinds],
        "scenes": [[frame.title, frame.width_px, frame.height_px, frame.image is not None] for frame in book.frames],
        "found": {
            "slot": [item.slot for item in one],
            "kind": [kinds.index(item.kind) for item in one],
            "label": [label[item.label] for item in one],
            "truth": [-1 if item.truth is None else label[item.truth] for item in one],
            "score": [_number(item.score, 3) for item in one],
            "value": [_number(item.value, 3) for item in one],
            "scene": [scene[scene_of(item)] for item in one],
            "box": [list(item.box_px) if item.box_px else None for item in one],
            "at": [_middle(outline(item, in_px=False)) for item in one],
            "sent": [item.sent_in_slot for item in one],
            "home": "".join("1" if item.delivered else "0" for item in one),
        },
    }


def _middle(corners: Iterable[tuple[float, float]]) -> list[float] | None:
    points = list(corners)
    if not points:
        return None
    return [round(sum(point[axis] for point in points) / len(points), 3) for axis in (0, 1)]
