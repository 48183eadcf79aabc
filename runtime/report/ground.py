"""The ground track on a map that draws longitude and latitude at one scale, with slots, shadow and stations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from .assets import land
from .digest import Digest, Look, runs
from .figures import Scale, swatch, symbol, words_at
from .words import clock, place

LONGITUDE = Scale(-180.0, 180.0)
LATITUDE = Scale(-90.0, 90.0)
SYMBOLS_MAX = 1000
"""Slots on the map; beyond that it would be black."""


def ground_map(flight: Digest) -> str:
    """Return the map of the whole flight, for paper and where scripts do not run."""
    if not flight.placed:
        return "<p>This scenario has no place on Earth, so there is no map.</p>"
    view = (
        '<svg width="100%" height="100%" viewBox="-180 -90 360 180" preserveAspectRatio="none">'
        f"{_land()}{_graticule()}{_track(flight)}</svg>"
    )
    label = f"Ground track of {len(flight.slots)} slots, each with the symbol of its model, and the ground stations."
    return (
        f'<figure class="world"><svg class="map" role="img" aria-label="{label}">{view}{_names()}{_slots(flight)}'
        f"{_stations(flight)}</svg><figcaption>{_key(flight)}</figcaption></figure>"
    )


@lru_cache(maxsize=1)
def _land() -> str:
    """Return the coastlines in degrees east and south, to a fifth of a degree; what leaves the map comes back in."""
    path = ""
    for ring in (ring for polygon in land()["coordinates"] for ring in polygon if len(ring) > 8):
        points = _unwrapped(ring)
        xs = [x for x, _ in points]
        for shift in (-360.0, 0.0, 360.0):
            if min(xs) + shift < 180.0 and max(xs) + shift > -180.0:
                path += "M" + "L".join(_corners(points, shift)) + "z"
    return f'<path class="land" d="{path}"/>'


def _unwrapped(ring: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Return a ring without jumps of 360 degrees; one around a pole, Antarctica's, is closed along the map's edge."""
    x, y = ring[0]
    points = [(x, y)]
    for lon, lat in ring[1:]:
        x += (lon - x + 180.0) % 360.0 - 180.0
        points.append((x, lat))
    if abs(x - points[0][0]) > 180.0:
        pole = math.copysign(90.0, y)
        points += [(x, pole), (points[0][0], pole)]
    return points


def _corners(points: Sequence[tuple[float, float]], shift: float) -> list[str]:
    """Return the corners that differ once rounded."""
    return list(dict.fromkeys(f"{round(5 * (x + shift)) / 5:g} {-round(5 * y) / 5:g}" for x, y in points))


def _graticule() -> str:
    lines = "".join(f"M{lon} -90V90" for lon in range(-150, 180, 30))
    lines += "".join(f"M-180 {lat}H180" for lat in range(-60, 90, 30))
    return f'<path class="graticule" d="{lines}"/><path class="equator" d="M-180 0H180"/>'


def _names() -> str:
    """Return the degrees at the margins."""
    south = "".join(
        words_at(LONGITUDE.percent(lon), "99%", f"{abs(lon)}°{'WE'[lon > 0] if lon else ''}", "middle degree")
        for lon in (-120, -60, 0, 60, 120)
    )
    west = "".join(
        words_at(
            "3", f"{100 - 100 * LATITUDE.frac(lat):.2f}%", f"{abs(lat)}°{'SN'[lat > 0] if lat else ''}", "degree up"
        )
        for lat in (-60, -30, 0, 30, 60)
    )
    return south + west


def _track(flight: Digest) -> str:
    """Return the track in two strokes, lit and dark, cut where it leaves the map's edge."""
    track = flight.report.track
    longitudes = (track.longitude_deg + 180.0) % 360.0 - 180.0
    points = [(float(x), -float(y)) for x, y in zip(longitudes, track.latitude_deg, strict=True)]
    drawn = ""
    for css, wanted in (("lit", True), ("dark", False)):
        path = ""
        for first, last in runs(bool(lit) is wanted for lit in track.sunlit):
            path += _stroke(points[first : last + 1])
        drawn += f'<path class="track {css}" d="{path}"/>'
    return drawn


def _stroke(points: Sequence[tuple[float, float]]) -> str:
    """Return one stroke, lifted where two points lie on opposite edges of the map."""
    pen = ["M"] + ["L" if abs(x - before) < 180.0 else "M" for (before, _), (x, _) in pairwise(points)]
    return "".join(f"{move}{x:.2f} {y:.2f}" for move, (x, y) in zip(pen, points, strict=True))


def _slots(flight: Digest) -> str:
    parts = []
    for index, slot in enumerate(flight.slots[:SYMBOLS_MAX]):
        look: Look = flight.look(slot.model)
        words = f"slot {slot.slot}, {clock(flight.starts_unix_s[index])} UTC, {slot.model}, over {slot.cover}"
        x, y = _at(slot.latitude_deg, slot.longitude_deg)
        parts.append(symbol(look.shape, x, y, f"{look.css} mark", words).replace("<use ", f'<use data-slot="{index}" '))
    return "".join(parts)


def _stations(flight: Digest) -> str:
    parts = []
    for station in flight.report.stations:
        x, y = _at(station.latitude_deg, station.longitude_deg)
        east = LONGITUDE.frac((station.longitude_deg + 180.0) % 360.0 - 180.0) > 0.75
        parts.append(symbol("s-station", x, y, "station", place(station.latitude_deg, station.longitude_deg)))
        parts.append(words_at(x, y, station.name, "station-name left" if east else "station-name"))
    return "".join(parts)


def _at(latitude_deg: float, longitude_deg: float) -> tuple[str, str]:
    x = LONGITUDE.percent((longitude_deg + 180.0) % 360.0 - 180.0)
    return x, f"{100 - 100 * LATITUDE.frac(latitude_deg):.2f}%"


def _key(flight: Digest) -> str:
    models = "".join(
        swatch(flight.look(model).shape, f"{flight.look(model).css} mark", model)
        for model in flight.models
        if flight.totals(model).slots
    )
    station = swatch("s-station", "station", "ground station") if flight.report.stations else ""
    return (
        models + swatch("line", "track lit", "track in sunlight") + swatch("line", "track dark", "in shadow") + station
    )
