"""Puts the page together: one file, no network, and a policy that lets nothing else in."""

from __future__ import annotations

from .assets import assets, land
from .columns import in_script, stage_data
from .digest import Digest, digest
from .figures import DEFINITIONS
from .found import Catalogue, catalogue, class_table, found_maps, gallery
from .ground import ground_map
from .inspector import inspector
from .model import ReplayReport
from .sections import decisions, headline, lead, models, notes, provenance, sent
from .stage import stage
from .timeline import timeline
from .words import clock, date, esc


def render_report(report: ReplayReport, live: bool = False) -> str:
    """Return the report as one HTML page that fetches nothing: the same input gives the same bytes.

    ``live`` adds what `subsolar watch` needs: the page then asks its own server, and nobody else, for what is new.
    A replay that stopped before its first slot still gives a page. A slot whose start is no ISO 8601 time raises
    `runtime.errors.MissionError`.
    """
    flight, parts = digest(report), assets(live)
    body = _flown(flight) if flight.slots else _grounded(flight)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{parts.policy(live)}">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{esc(report.title)}</title><style>{parts.style}</style></head>\n"
        f"<body>{DEFINITIONS}{body}<script>{parts.libraries}</script><script>{parts.script}</script></body></html>\n"
    )


def _flown(flight: Digest) -> str:
    book = catalogue(flight)
    parts = (
        ("flight", "The flight, slot by slot", timeline(flight)),
        ("models", "Accuracy and joules", models(flight)),
        ("track", "Where it flew", ground_map(flight)),
        ("found-at", "What was found", _found(flight, book)),
        ("sent", "What was sent, and when", sent(flight)),
        ("decisions", "Every decision", decisions(flight)),
        ("provenance", "Where the numbers come from", provenance(flight)),
    )
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in parts)
    sections = "".join(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{body}</section>'
        for name, title, body in parts
    )
    data = f'<script type="application/json" id="stage-data">{stage_data(flight, book)}</script>'
    coast = f'<script type="application/json" id="land-data">{in_script(land())}</script>' if flight.placed else ""
    return (
        f'<a class="skip" href="#flight">To the flight</a>{_header(flight)}'
        f"{lead(flight)}{notes(flight)}"
        f'<div class="desk"><main>{stage(flight)}{headline(flight)}'
        f'<nav aria-label="Parts of this page">{links}</nav>{sections}</main>{inspector(flight)}</div>{data}{coast}'
    )


def _found(flight: Digest, book: Catalogue) -> str:
    if not book.findings:
        return "<p>Nothing was found: no slot left a product.</p>"
    return found_maps(flight, book) + class_table(book) + gallery(flight, book)


def _grounded(flight: Digest) -> str:
    """Return the page of a replay that ended before its first slot."""
    return (
        f'{_header(flight)}<main><p class="lead">No slot was finished, so there is nothing to show yet.</p>'
        f"{notes(flight)}"
        f'<section id="provenance"><h2>Where the numbers come from</h2>{provenance(flight)}</section></main>'
    )


def _names(report: ReplayReport) -> dict[str, object]:
    """Return what the flight is called by, as far as that is known."""
    table = {"scenario": report.scenario, "policy": report.policy, "seed": report.seed}
    return {name: value for name, value in table.items() if value not in ("", None)}


def _header(flight: Digest) -> str:
    report = flight.report
    when, known = "", [f"{name} {esc(value)}" for name, value in _names(report).items()]
    if flight.slots:
        start = flight.starts_unix_s[0]
        end = flight.end_unix_s
        last = clock(end) if date(end) == date(start) else f"{date(end)} {clock(end)}"
        when = f" · {date(start)} {clock(start)} – {last} UTC{' (simulated)' if report.simulated else ''}"
    return f'<header><h1>{esc(report.title)}</h1><p class="quiet">{" · ".join(known)}{when}</p></header>'
