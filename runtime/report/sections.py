"""The parts of the page that are words and tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..reserve_words import reserve_note
from .assets import licences
from .digest import IDLE, Digest, ModelTotals, wilson95
from .figures import Panel, Scale, scale_over, swatch, symbol, words_at
from .words import NONE, clock, count, date, esc, figure, percent, plural, si, soft, span, table, tick

LISTED_MAX = 1500
"""Slots in the table of decisions; each takes a kilobyte."""
DOTS_MAX = 2000
"""Slots in the drawing of accuracy against joules."""


def number(summary: Mapping[str, object], key: str, otherwise: float = math.nan) -> float:
    """Return a figure of the summary, ``otherwise`` where it is missing or no number."""
    value = summary.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def sampled(flight: Digest) -> tuple[int, int]:
    """Return right answers and scored answers over all slots."""
    return sum(slot.correct_sampled for slot in flight.slots), sum(slot.scored_sampled for slot in flight.slots)


def lead(flight: Digest) -> str:
    """Return the flight in one paragraph."""
    report, summary = flight.report, flight.report.summary
    right, scored = sampled(flight)
    tiles = number(summary, "tiles", sum(slot.admitted_tile for slot in flight.slots))
    energy = number(summary, "energy_j", sum(slot.energy_j for slot in flight.slots))
    kind = esc(str(summary.get("energy_kind", "kind unknown")))
    products = number(summary, "products", len(report.products))
    delivered = number(summary, "delivered", sum(one.delivered for one in report.products))
    violations = number(summary, "reserve_violations", sum(slot.reserve_violated for slot in flight.slots))
    answered = f", {percent(right / scored)} of the {count(scored)} scored answers right" if scored else ""
    passes = len(report.passes)
    brought = (
        f"{count(delivered)} of {count(products)} products reached the ground in {plural(passes, 'pass', 'passes')}."
        if products
        else "It made no product."
    )
    if math.isnan(products):
        brought = f"{count(sum(slot.sent_product for slot in flight.slots))} products were sent."
    kept = "" if math.isnan(violations) else _reserve_words(violations, reserve_note(flight.slots, report.reserve_frac))
    return (
        f'<p class="lead">In {plural(len(flight.slots), "slot", "slots")} over '
        f"{span(flight.end_unix_s - flight.starts_unix_s[0])}, "
        f"<b>{esc(report.policy or 'the craft')}</b> worked on <b>{count(tiles)} tiles</b> for "
        f"<b>{si(energy, 'J')}</b> ({kind}) of inference{answered}. {brought} {kept}</p>"
    )


def _reserve_words(violations: float, note: str) -> str:
    if violations == 0:
        return f"Inference never took the battery below its reserve{f'; {note}' if note else ''}."
    return f"Inference took the battery below its reserve in {plural(violations, 'slot', 'slots')}."


def headline(flight: Digest) -> str:
    """Return the numbers that the issue asks for first, each with what it stands on."""
    report, summary, slots = flight.report, flight.report.summary, flight.slots
    right, scored = sampled(flight)
    low, high = _given_interval(summary) or wilson95(right, scored)
    accuracy = number(summary, "accuracy", right / scored if scored else math.nan)
    tiles = number(summary, "tiles", sum(slot.admitted_tile for slot in slots))
    arrived, shed = sum(slot.arrived_tile for slot in slots), sum(slot.shed_tile for slot in slots)
    energy = number(summary, "energy_j", sum(slot.energy_j for slot in slots))
    harvest = sum(slot.harvest_j for slot in slots)
    overrides = number(summary, "shield_overrides", sum(bool(slot.overruled) for slot in slots))
    violations = number(summary, "reserve_violations", sum(slot.reserve_violated for slot in slots))
    products = number(summary, "products", len(report.products))
    delivered = number(summary, "delivered", sum(one.delivered for one in report.products))
    interval = f"95 % CI {100 * low:.1f}–{100 * high:.1f}, n = {count(scored)}" if scored else "no answer was scored"
    note = reserve_note(slots, report.reserve_frac)
    lowest = percent(min(slot.charge_frac for slot in slots))
    reward = number(summary, "reward", sum(slot.reward for slot in slots))
    cards = (
        ("Tiles worked on", count(tiles), f"of {count(arrived)} arrived; {count(shed)} shed"),
        ("Accuracy", percent(accuracy), interval + _weighted(summary)),
        ("Inference energy", si(energy, "J"), f"{esc(summary.get('energy_kind', ''))}; {si(harvest, 'J')} harvested"),
        ("Right answers per joule", figure(number(summary, "aee_per_j")), _aee_note(summary)),
        ("Reward", figure(reward), f"{figure(reward / len(slots))} per slot"),
        ("Shield overruled", count(overrides), f"of {len(slots)} decisions"),
        ("Reserve broken", count(violations), f"slots; lowest charge {lowest}{f'; {note}' if note else ''}"),
        (
            "Products received",
            count(delivered),
            f"of {count(products)} made ({percent(delivered / products if products else math.nan, 0)})"
            if math.isfinite(products)
            else "not known here",
        ),
    )
    items = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in cards)
    return f'<dl class="cards">{items}</dl>'


def _weighted(summary: Mapping[str, object]) -> str:
    """Return the accuracy with slots weighed by their tiles, which a sample of equal size per slot hides."""
    load = number(summary, "accuracy_of_load")
    return "" if math.isnan(load) else f"; {percent(load)} with slots weighed by their tiles"


def _given_interval(summary: Mapping[str, object]) -> tuple[float, float] | None:
    given = summary.get("accuracy_ci95")
    if isinstance(given, list | tuple) and len(given) == 2:
        return float(given[0]), float(given[1])
    return None


def _aee_note(summary: Mapping[str, object]) -> str:
    whole = number(summary, "aee_total_per_j")
    return "aee_per_j" if math.isnan(whole) else f"aee_per_j; {figure(whole)} with idle and downlink"


def notes(flight: Digest) -> str:
    """Return the statements that a reader needs before the numbers."""
    stopped = flight.report.summary.get("complete") is False
    why = f": {flight.report.summary['ended']}" if flight.report.summary.get("ended") else ""
    cut = [f"The flight was cut short after {plural(len(flight.slots), 'slot', 'slots')}{why}."] if stopped else []
    items = "".join(f"<li>{esc(note)}</li>" for note in (*cut, *flight.report.notes))
    return f'<aside class="notes"><h2>Before you read the numbers</h2><ul>{items}</ul></aside>' if items else ""


def models(flight: Digest) -> str:
    """Return accuracy against joules: a row per model, and a dot per slot."""
    totals = [flight.totals(model) for model in flight.models if model != IDLE]
    return _model_table(flight, totals) + _scatter(flight)


def _model_table(flight: Digest, totals: list[ModelTotals]) -> str:
    profile = {package.model: package for package in flight.report.packages}
    intervals = [wilson95(one.correct_sampled, one.scored_sampled) for one in totals]
    scale = Scale(min(0.9, *(math.floor(10 * low) / 10 for low, _ in intervals if math.isfinite(low)), 0.9), 1.0)
    rows = []
    for one, (low, high) in zip(totals, intervals, strict=True):
        package = profile.get(one.model)
        look = flight.look(one.model)
        badge = (
            f'<svg width="14" height="12" aria-hidden="true">{symbol(look.shape, "7", "6", f"{look.css} mark")}</svg> '
        )
        rows.append(
            (
                badge + soft(one.model),
                count(one.slots),
                count(one.tiles),
                percent(one.accuracy_frac),
                _interval(scale, low, high, one.accuracy_frac) if one.scored_sampled else "–",
                NONE if package is None else percent(package.accuracy_frac),
                si(one.energy_per_tile_j, "J"),
                figure(one.aee_per_j),
            )
        )
    head = ("Model", "Slots", "Tiles", "Accuracy", "95 % CI", "In profile", "Per tile", "Right per joule")
    return table(head, rows, "tnnntnnn", "Accuracy and energy by model")


def _interval(scale: Scale, low: float, high: float, value: float) -> str:
    """Return a small bar up to 100 % with the interval and the measured value."""
    left, right, middle = (scale.percent(edge) for edge in (low, high, value))
    return (
        f'<svg class="interval" height="14" role="img" aria-label="{100 * low:.1f} to {100 * high:.1f} percent">'
        '<line class="grid" x1="0" x2="100%" y1="7" y2="7"/>'
        f'<line class="whisker" x1="{left}" x2="{right}" y1="7" y2="7"/>'
        f'<line class="middle" x1="{middle}" x2="{middle}" y1="1" y2="13"/></svg>'
        f'<small class="interval-words">{100 * low:.1f}–{100 * high:.1f}</small>'
    )


def _scatter(flight: Digest) -> str:
    ran = [
        (index, slot)
        for index, slot in enumerate(flight.slots)
        if slot.model != IDLE and math.isfinite(slot.accuracy_frac)
    ]
    ran = ran[:: -(-len(ran) // DOTS_MAX) or 1]
    if not ran:
        return ""
    x = scale_over((slot.energy_j for _, slot in ran), zero=True, most=5)
    y = scale_over([*(slot.accuracy_frac for _, slot in ran), 1.0])
    panel = Panel(x, Scale(100 * y.low, 100 * min(y.high, 1.0)), 240)
    dots = "".join(
        panel.mark(
            flight.look(slot.model).shape,
            slot.energy_j,
            100 * slot.accuracy_frac,
            f"{flight.look(slot.model).css} mark faint",
            f"slot {slot.slot}: {slot.model}, {percent(slot.accuracy_frac)}, {si(slot.energy_j, 'J')}",
        ).replace("<use ", f'<use data-slot="{index}" ')
        for index, slot in ran
    )
    marks = "".join(
        words_at(x.percent(value), "12", tick(value), "end" if x.frac(value) > 0.97 else "middle" if value else "start")
        for value in x.ticks(5)
    )
    key = "".join(
        swatch(flight.look(model).shape, f"{flight.look(model).css} mark", model)
        for model in flight.models
        if model in {slot.model for _, slot in ran}
    )
    size = max(slot.scored_sampled for _, slot in ran)
    return (
        f'<figure class="row"><figcaption><b>Accuracy of each slot against its joules</b>{key}</figcaption>'
        f"{panel.gutter(4, '%')}"
        f'<svg class="plot" height="240" role="img" aria-label="One symbol for each of {len(ran)} slots">'
        f"{panel.grid(4)}{dots}</svg></figure>"
        f'<div class="row axis" aria-hidden="true"><span>J</span><svg class="plot" height="16">{marks}</svg></div>'
        f'<p class="quiet">One symbol per slot, each of at most {size} scored tiles: single slots scatter.</p>'
    )


def sent(flight: Digest) -> str:
    """Return one row per pass."""
    if not flight.report.passes:
        return "<p>No ground station was passed, so nothing was sent.</p>"
    rows = [
        (
            str(index),
            esc(one.station),
            f"{clock(one.start_unix_s, True)}–{clock(one.end_unix_s, True)}",
            span(one.end_unix_s - one.start_unix_s),
            count(one.sent_product),
            si(one.sent_byte, "B"),
            count(one.left_product),
        )
        for index, one in enumerate(flight.report.passes, 1)
    ]
    head = ("Pass", "Station", "UTC", "Length", "Products sent", "Bytes", "Left waiting")
    return table(head, rows, "nttnnnn", "What was sent in each pass")


def decisions(flight: Digest) -> str:
    """Return every slot with its reason, folded away; of a long flight the first ``LISTED_MAX``."""
    head = (
        "Slot", "UTC", "Below", "Sun", "Battery", "Budget", "Model", "Reason", "Tiles", "Shed", "Limited by",
        "Accuracy", "Energy", "Reward", "Shield", "Otherwise",
    )  # fmt: skip
    rows = [
        (
            f'<a href="#flight" data-slot="{index}">{slot.slot}</a>',
            clock(flight.starts_unix_s[index], True),
            esc(slot.cover),
            percent(slot.sunlit_frac, 0),
            percent(slot.charge_frac),
            si(slot.budget_j, "J"),
            esc(slot.model if slot.mode in ("", slot.model) else f"{slot.model} · {slot.mode}"),
            esc(slot.reason),
            count(slot.admitted_tile),
            count(slot.shed_tile),
            esc(slot.limited_by),
            percent(slot.accuracy_frac),
            si(slot.energy_j, "J"),
            figure(slot.reward),
            f"▼ {esc(slot.overruled)}" if slot.overruled else "",
            esc(slot.counterfactual),
        )
        for index, slot in enumerate(flight.slots[:LISTED_MAX])
    ]
    body = table(head, rows, "nttnnntpnntnnnpp", "Every decision", "decisions")
    total = len(flight.slots)
    which = f"All {total}" if total <= LISTED_MAX else f"The first {count(LISTED_MAX)} of {count(total)}"
    rest = "" if total <= LISTED_MAX else "; the slider reaches all, and so does slots.csv"
    return f"<details><summary>{which} slots with state, choice and reason{rest}</summary>{body}</details>"


def provenance(flight: Digest) -> str:
    """Return what is needed to get this page again, and to check what it was made with."""
    report = flight.report
    start = flight.starts_unix_s[0] if flight.slots else math.nan
    facts = {
        "Scenario": report.scenario,
        "Policy": report.policy,
        "Seed": NONE if report.seed is None else str(report.seed),
        "Simulated time" if report.simulated else "Time": f"{date(start)} {clock(start, True)} UTC"
        if flight.slots
        else NONE,
        "Energy figures": str(report.summary.get("energy_kind", "kind unknown")),
        **report.versions,
    }
    rows = "".join(_fact(name, value) for name, value in facts.items() if len(value) <= 32)
    long = "".join(_fact(name, value) for name, value in facts.items() if len(value) > 32)
    command = f"<p>To fly it again:</p><pre>{esc(report.command)}</pre>" if report.command else ""
    packages = [
        (
            esc(one.model),
            esc(one.package_id),
            f"<code>{esc(one.sha256[:16])}…</code>" if len(one.sha256) > 16 else f"<code>{esc(one.sha256)}</code>",
            percent(one.accuracy_frac),
            si(one.energy_per_tile_j, "J"),
            si(one.time_per_tile_s, "s"),
            esc(one.energy_kind),
        )
        for one in report.packages
    ]
    head = ("Model", "Package", "SHA-256", "Accuracy", "Energy per tile", "Time per tile", "Energy is")
    shown = table(head, packages, "tttnnnt", "Model packages") if packages else ""
    carried = "".join(f"<h3>{esc(name)}</h3><pre>{esc(text)}</pre>" for name, text in licences().items())
    title = "Libraries inside this page, and their licences"
    inside = f'<details class="licences"><summary>{title}</summary>{carried}</details>'
    return f'{command}<dl class="facts">{rows}</dl>{shown}<dl class="hashes">{long}</dl>{inside}'


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>"
