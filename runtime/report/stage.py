"""The replay itself: globe, gauges, passes and the answers of one moment. Empty forms here, filled by the script."""

from __future__ import annotations

from .digest import Digest
from .figures import swatch
from .words import clock, count, date, esc, plural

PLAY_S = (30, 60, 120, 300)
"""How long the whole flight may take on the screen."""
PASSES_MAX = 2000
"""Passes that the page can show; the script shows those around the moment."""


def stage(flight: Digest) -> str:
    """Return the stage. It stays hidden where scripts do not run; drawings and tables below say the same."""
    globe = _globe(flight) if flight.placed else ""
    bar = _bar(flight)
    side = f'<div class="side">{_gauges(flight)}{_downlink(flight)}</div>'
    css = "stage scripted" if flight.placed else "stage scripted placeless"
    return (
        f'<section id="replay" class="moving scripted" aria-labelledby="replay-title">'
        f'<h2 id="replay-title">The flight, moment by moment</h2>'
        f'<div class="{css}" id="stage"><div class="world-view">{bar}{globe}</div>{side}</div>{_reels()}</section>'
    )


def _bar(flight: Digest) -> str:
    """Return what steers the drawing, and the time that it shows."""
    options = "".join(
        f'<option value="{seconds}"{" selected" if seconds == 60 else ""}>'
        f"{seconds if seconds < 60 else seconds // 60} {'s' if seconds < 60 else 'min'}</option>"
        for seconds in PLAY_S
    )
    views = (
        '<span role="radiogroup" aria-label="Kind of map">'
        '<label><input type="radio" name="view" value="globe" checked>Globe</label>'
        '<label><input type="radio" name="view" value="map">Map</label></span>'
        '<label><input type="checkbox" id="follow" checked>follow</label>'
    )
    return (
        f'<div class="bar">{views if flight.placed else ""}'
        f'<label>plays in <select id="speed">{options}</select></label>'
        '<output id="moment"></output></div>'
    )


def _globe(flight: Digest) -> str:
    label = "Globe with the ground track, night, the craft's horizon, ground stations and the network of each slot"
    return f'<canvas id="globe" role="img" aria-label="{label}"></canvas><p class="key">{_key(flight)}</p>'


def _key(flight: Digest) -> str:
    flown = [model for model in flight.models if flight.totals(model).slots]
    marks = "".join(swatch(flight.look(model).shape, f"{flight.look(model).css} mark", model) for model in flown)
    answers = swatch("s-open", "scene-mark", "where this slot's answers lie") if flight.report.products else ""
    stations = swatch("s-triangle", "station", "ground station and its reach") if flight.report.stations else ""
    return (
        marks
        + swatch("line", "track lit", "track in sunlight")
        + swatch("line", "track dark", "in shadow")
        + (swatch("line", "horizon", "the craft's horizon") if flight.report.track.altitude_m is not None else "")
        + stations
        + answers
    )


def _gauges(flight: Digest) -> str:
    reserve = flight.report.reserve_frac
    limit = flight.report.temperature_limit_c
    tick = '<i id="reserve-tick"></i>' if reserve is not None else ""
    rows = (
        ("battery", "Battery", "battery", tick, f"reserve {100 * reserve:g} %" if reserve is not None else ""),
        ("joules", "Inference", "drawn", "", '<span data-field="budget" data-lead="budget "></span>'),
        ("heat", "Heat", "heat", "", f"limit {limit:g} °C" if limit is not None else ""),
        ("queue", "Tiles waiting", "tiles", "", ""),
    )
    items = "".join(
        f'<div><dt>{title}</dt><dd data-field="{field}"></dd>'
        f'<div class="gauge {name}"><b id="gauge-{name}"></b>{mark}</div><small>{note}</small></div>'
        for name, title, field, mark, note in rows
    )
    return f'<dl class="gauges">{items}</dl>'


def _downlink(flight: Digest) -> str:
    passes = flight.report.passes
    most = max([one.sent_product + one.left_product for one in passes], default=1) or 1
    several = flight.end_unix_s - flight.starts_unix_s[0] > 86_400
    items = ""
    for number, one in enumerate(passes[:PASSES_MAX]):
        sent, left = (f"{70 * value / most:.1f}" for value in (one.sent_product, one.left_product))
        when = f"{date(one.start_unix_s)[5:]} {clock(one.start_unix_s)}" if several else clock(one.start_unix_s)
        bars = (
            f'<svg width="74" height="12" aria-hidden="true"><rect class="sent" y="1" width="{sent}" height="10"/>'
            f'<rect class="stayed" x="{sent}" y="1" width="{left}" height="10"/></svg>'
        )
        items += (
            f'<li data-pass="{number}"><button type="button"><b>{number + 1}</b> {esc(one.station)} '
            f'<span class="quiet">{when}</span></button>{bars}'
            f"<small>{count(one.sent_product)} down, {count(one.left_product)} stayed</small></li>"
        )
    more = len(passes) - PASSES_MAX
    rest = f'<p class="quiet">and {plural(more, "pass", "passes")} more, in the table below</p>' if more > 0 else ""
    return (
        '<div class="downlink"><h3>Downlink</h3><p id="contact" class="contact-now"></p>'
        '<p class="tally"><b id="home-count"></b> sent down <span class="balance"><i id="home-bar"></i></span> '
        '<b id="aboard-count"></b> aboard</p>'
        f'<ol id="passes">{items}</ol>{rest}</div>'
    )


def _reels() -> str:
    reels = (
        ("reel", "Found in this slot", "reel-large"),
        ("down", "Went down in this slot", ""),
        ("left", "Stayed aboard", ""),
    )
    return (
        '<div class="reels">'
        + "".join(
            f'<div class="{css or "reel-small"}"><h3>{title} <small id="{name}-count"></small></h3>'
            f'<ul class="reel" id="{name}" tabindex="0" aria-label="{title}"></ul></div>'
            for name, title, css in reels
        )
        + "</div>"
    )


def coarse_note(slots: int, per_mark: int) -> str:
    """Return what stands over drawings in which a mark stands for several slots."""
    if per_mark == 1:
        return ""
    return f'<p class="quiet still">Each mark stands for {per_mark} of the {count(slots)} slots.</p>'
