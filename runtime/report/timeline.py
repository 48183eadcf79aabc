"""The flight over time: who ran when, and battery, energy, load, heat and downlink under it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .digest import IDLE, Digest, coarse, runs
from .figures import Panel, Scale, rect, scale_over, swatch, symbol, words_at
from .words import clock, count, esc, percent, plural, span

MARKS_MAX = 720
"""Slots drawn one by one on paper; of a longer flight, several share a mark."""
_TOOLS = (
    '<p class="tools moving"><button type="button" id="nearer" aria-label="Show less time">+</button>'
    '<button type="button" id="farther" aria-label="Show more time">−</button>'
    '<button type="button" id="whole" hidden>Whole flight</button> '
    '<span class="quiet">drag across a chart to zoom in, click to go there</span></p>'
)
_LANE_PX = 33
_CELL_PX = 14


@dataclass(frozen=True, slots=True)
class Row:
    """One drawing of the timeline with its heading and key."""

    title: str
    key: str
    gutter: str
    height_px: int
    body: str
    label: str
    """What someone who cannot see the drawing is told."""
    chart: str
    """What the script draws in its stead."""
    field: str = ""
    """What stands beside the heading for the moment shown."""


def timeline(flight: Digest) -> str:
    """Return every row of the timeline, one under the other on one time axis.

    Each row is drawn twice: as SVG for paper and where scripts do not run, and by the script, which can zoom.
    """
    rows = (_lanes, _battery, _energy, _load, _temperature, _downlink)
    drawn, per_mark = coarse(flight, MARKS_MAX)
    axis = _axis(drawn)
    note = f'<p class="quiet still">Each mark stands for {per_mark} slots.</p>' if per_mark > 1 else ""
    return f"{_TOOLS}{note}{axis}" + "".join(_row(drawn, build(drawn)) for build in rows) + axis


def _row(flight: Digest, row: Row) -> str:
    behind = _night(flight, row.height_px) + _contacts(flight, row.height_px)
    value = f'<output class="moving" data-field="{row.field}"></output>' if row.field else ""
    return (
        f'<figure class="row"><figcaption><b>{esc(row.title)}</b>{row.key}{value}</figcaption>'
        f'<div class="gutter still">{row.gutter}</div>'
        f'<svg class="plot still" height="{row.height_px}" role="img" aria-label="{esc(row.label)}">'
        f"{behind}{row.body}</svg>"
        f'<div class="chart moving" data-chart="{row.chart}" data-height="{row.height_px}" role="img" '
        f'aria-label="{esc(row.label)}"></div></figure>'
    )


def _axis(flight: Digest) -> str:
    """Return the hours under the rows; whole minutes that divide an hour."""
    time = flight.time
    steps_s = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
    step_s = next((step for step in steps_s if (time.high - time.low) / step <= 7), 86400)
    first = -(-time.low // step_s)
    marks = ""
    for number in range(int((time.high - first * step_s) // step_s) + 1):
        moment = (first + number) * step_s
        share = time.frac(moment)
        side = "start" if share < 0.03 else "end" if share > 0.96 else "middle"
        marks += words_at(f"{100 * share:.2f}%", "12", clock(moment), side)
    ruler = f'<svg class="plot" height="16">{marks}</svg>'
    return f'<div class="row axis still" aria-hidden="true"><span>UTC</span>{ruler}</div>'


def nights(flight: Digest) -> list[tuple[float, float]]:
    """Return start and end of each shadow within the flight, to the grain of the ground track."""
    track, time = flight.report.track, flight.time
    if flight.placed:
        times = [float(moment) for moment in track.unix_s]
        dark = [not bool(lit) for lit in track.sunlit]
    else:
        times = [*flight.starts_unix_s, time.high]
        dark = [slot.sunlit_frac < 0.5 for slot in flight.slots]
    spans = [(times[first], times[min(last, len(times) - 1)]) for first, last in runs(dark)]
    return [(max(a, time.low), min(b, time.high)) for a, b in spans if b > time.low and a < time.high]


def _night(flight: Digest, height_px: int) -> str:
    time = flight.time
    return "".join(rect(time.frac(a), time.frac(b), 0, height_px, "night") for a, b in nights(flight))


def _contacts(flight: Digest, height_px: int) -> str:
    time = flight.time
    return "".join(
        rect(time.frac(one.start_unix_s), time.frac(one.end_unix_s), 0, height_px, "contact")
        for one in flight.report.passes
    )


def _lanes(flight: Digest) -> Row:
    lanes = [_sun_lane(flight), _pass_lane(flight), *(_model_lane(flight, model) for model in flight.models)]
    lanes.append(_shield_lane(flight))
    body = "".join(
        f'<svg y="{number * _LANE_PX}" height="{_LANE_PX}">{lane}</svg>' for number, lane in enumerate(lanes)
    )
    ran = ", ".join(f"{model} in {flight.whole.totals(model).slots}" for model in flight.models)
    return Row(
        title="Choice in each slot",
        key="",
        gutter="",
        height_px=_LANE_PX * len(lanes) + 2,
        body=body,
        label=f"Sunlight, ground contacts and the model of each of {len(flight.whole.slots)} slots: {ran}.",
        chart="lanes",
        field="model",
    )


def _lane(name: str, note: str, cells: str, more: str = "", badge: str = "") -> str:
    """Return one lane. ``more`` is left out on a narrow screen; ``badge`` stands before the name."""
    ground = f'<rect class="lane" x="0" width="100%" y="17" height="{_CELL_PX}"/>'
    words = (
        f'<text class="lane-name" x="{17 if badge else 0}" y="12">{esc(name)}'
        f'<tspan class="quiet" dx="8">{esc(note)}</tspan>'
        f'<tspan class="quiet wide">{esc(more)}</tspan></text>'
    )
    return f"{ground}{cells}{words}{badge}"


def _sun_lane(flight: Digest) -> str:
    time = flight.time
    dark = nights(flight)
    cells = rect(0.0, 1.0, 17, _CELL_PX, "sun")
    cells += "".join(rect(time.frac(a), time.frac(b), 17, _CELL_PX, "shadow", "in shadow") for a, b in dark)
    total_s = sum(b - a for a, b in dark)
    return _lane("Sunlight", f"dark = in shadow, {percent(total_s / (time.high - time.low), 0)} of the time", cells)


def _pass_lane(flight: Digest) -> str:
    time, passes = flight.time, flight.report.passes
    cells, numbers = "", ""
    for number, one in enumerate(passes, 1):
        left, right = time.frac(one.start_unix_s), time.frac(one.end_unix_s)
        cells += rect(left, right, 17, _CELL_PX, "pass", f"{one.station} {clock(one.start_unix_s)}")
        numbers += words_at(f"{50 * (left + right):.2f}%", "28.5", str(number), "pass-number middle")
    total_s = sum(one.end_unix_s - one.start_unix_s for one in passes)
    note = f"{plural(len(passes), 'pass', 'passes')}, {span(total_s)}" if passes else "no pass"
    return _lane("Ground contact", note, cells + numbers)


def _model_lane(flight: Digest, model: str) -> str:
    time, look, totals = flight.time, flight.look(model), flight.whole.totals(model)
    mine = [slot.model == model for slot in flight.slots]
    cells = ""
    for first, last in runs(mine):
        for index in range(first, last):
            start = flight.starts_unix_s[index]
            left, right = time.frac(start + 0.04 * flight.slot_s), time.frac(start + 0.96 * flight.slot_s)
            cells += rect(left, right, 17, _CELL_PX)
    share = percent(totals.slots / len(flight.whole.slots), 0)
    done = "" if model == IDLE else f", {count(totals.tiles)} tiles"
    note = f"{plural(totals.slots, 'slot', 'slots')}, {share}"
    badge = symbol(look.shape, "6", "8", f"{look.css} mark")
    return _lane(model, note, f'<g class="{look.css}">{cells}</g>', done, badge)


def _shield_lane(flight: Digest) -> str:
    time = flight.time
    cells, total = "", sum(bool(slot.overruled) for slot in flight.whole.slots)
    for start, slot in zip(flight.starts_unix_s, flight.slots, strict=True):
        if slot.overruled:
            x = time.percent(start + flight.slot_s / 2)
            cells += symbol("s-down", x, "24", "alarm", f"slot {slot.slot}: {slot.overruled}")
    return _lane("Shield", f"overruled the policy {plural(total, 'time', 'times')}", cells)


def _battery(flight: Digest) -> Row:
    charge = [100 * value for value in flight.column(lambda slot: slot.charge_frac)]
    reserve = flight.report.reserve_frac
    limit = [] if reserve is None else [100 * reserve]
    panel = Panel(flight.time, _within(scale_over([*charge, *limit]), 0.0, 100.0), 104)
    body = panel.grid(4) + panel.line(flight.starts_unix_s, charge, "charge")
    key = swatch("line", "charge", "charge at slot start")
    if reserve is not None:
        body += panel.rule(100 * reserve, "limit")
        key += swatch("line", "limit", f"reserve {100 * reserve:g} %")
    broken = [
        panel.mark(
            "s-down", start + flight.slot_s / 2, 100 * slot.charge_frac, "alarm", f"slot {slot.slot}: reserve broken"
        )
        for start, slot in zip(flight.starts_unix_s, flight.slots, strict=True)
        if slot.reserve_violated
    ]
    if broken:
        body += "".join(broken)
        key += swatch("s-down", "alarm", "reserve broken")
    lowest = min(charge)
    label = f"Battery charge, lowest {lowest:.1f} percent."
    return Row("Battery", key, panel.gutter(4, "%"), 104, body, label, "battery", "battery")


def _energy(flight: Digest) -> Row:
    drawn = flight.column(lambda slot: slot.energy_j)
    load = flight.column(lambda slot: slot.load_j)
    harvest = flight.column(lambda slot: slot.harvest_j)
    budget = [max(value, 0.0) for value in flight.column(lambda slot: slot.budget_j)]
    given = [*harvest, *budget]
    log = max(filter(math.isfinite, given), default=0.0) > 20 * max(filter(math.isfinite, drawn), default=0.0) > 0
    draw = _joules_by_logarithm if log else _joules_stacked
    panel, body = draw(flight, drawn, load, given)
    starts, wide = flight.starts_unix_s, flight.slot_s
    shown = _positive if log else list
    body += panel.steps(starts, wide, shown(harvest), "harvest") + panel.steps(starts, wide, shown(budget), "budget")
    shape, suffix = ("line", "-line") if log else ("box", "")
    key = (
        swatch(shape, f"drawn{suffix}", f"inference ({_kinds(flight)})")
        + swatch(shape, f"bus{suffix}", "bus, idle, radio")
        + swatch("line", "harvest", "harvest")
        + swatch("line", "budget", "budget for inference")
    )
    title = "Joules per slot" + (" (logarithmic)" if log else "")
    label = f"Energy of each slot: {sum(drawn):.0f} J for inference in all, {sum(harvest):.0f} J harvested."
    return Row(title, key, panel.gutter(4), panel.height_px, body, label, "joules", "drawn")


def _joules_stacked(flight: Digest, drawn: list[float], load: list[float], given: list[float]) -> tuple[Panel, str]:
    """Return inference at the bottom, where its budget can be read against it, and the other loads upon it."""
    both = [a + b for a, b in zip(drawn, load, strict=True)]
    panel = Panel(flight.time, scale_over([*both, *given], zero=True), 132)
    starts, wide = flight.starts_unix_s, flight.slot_s
    bars = panel.bars(starts, wide, [0.0] * len(drawn), drawn, "drawn") + panel.bars(starts, wide, drawn, both, "bus")
    return panel, panel.grid(4) + bars


def _joules_by_logarithm(
    flight: Digest, drawn: list[float], load: list[float], given: list[float]
) -> tuple[Panel, str]:
    """Return lines only, as a bar means nothing on a logarithmic axis; it ends two decades below the peak."""
    floor = 0.01 * max(filter(math.isfinite, drawn))
    panel = Panel(flight.time, scale_over([value for value in (*drawn, *given) if value >= floor], log=True), 132)
    starts, wide = flight.starts_unix_s, flight.slot_s
    lines = panel.steps(starts, wide, _positive(load), "bus-line")
    return panel, panel.grid(4) + lines + panel.steps(starts, wide, _positive(drawn), "drawn-line")


def _positive(values: list[float]) -> list[float]:
    return [value if value > 0 else math.nan for value in values]


def _load(flight: Digest) -> Row:
    done = flight.column(lambda slot: slot.admitted_tile)
    shed = flight.column(lambda slot: slot.shed_tile)
    both = [a + b for a, b in zip(done, shed, strict=True)]
    arrived = flight.column(lambda slot: slot.arrived_tile)
    queued = flight.column(lambda slot: slot.queued_tile)
    panel = Panel(flight.time, scale_over([*both, *arrived, *queued], zero=True), 112)
    starts, wide, zeros = flight.starts_unix_s, flight.slot_s, [0.0] * len(done)
    body = panel.grid(4) + panel.bars(starts, wide, zeros, done, "done") + panel.bars(starts, wide, done, both, "shed")
    body += panel.steps(starts, wide, arrived, "arrived") + panel.steps(starts, wide, queued, "queued")
    key = (
        swatch("box", "done", "worked on")
        + swatch("box", "shed", "shed")
        + swatch("line", "arrived", "arrived")
        + swatch("line", "queued", "left from before")
    )
    label = f"Tiles of each slot: {sum(done):.0f} worked on and {sum(shed):.0f} shed of {sum(arrived):.0f} arrived."
    return Row("Tiles per slot", key, panel.gutter(4), 112, body, label, "tiles", "tiles")


def _temperature(flight: Digest) -> Row:
    heat = flight.column(lambda slot: slot.temperature_c)
    limit = flight.report.temperature_limit_c
    scale = scale_over([*heat, *([] if limit is None else [limit])], most=3)
    panel = Panel(flight.time, scale, 84)
    body = panel.grid(3) + panel.line(flight.starts_unix_s, heat, "heat")
    key = swatch("line", "heat", "compute module")
    if limit is not None:
        body += panel.rule(limit, "limit")
        key += swatch("line", "limit", f"limit {limit:g} °C")
    label = f"Temperature, highest {max(heat):.1f} °C."
    return Row("Temperature", key, panel.gutter(3, "°C"), 84, body, label, "heat", "heat")


def _downlink(flight: Digest) -> Row:
    sent = flight.column(lambda slot: slot.sent_product)
    waiting = flight.column(lambda slot: slot.backlog_product)
    panel = Panel(flight.time, scale_over([*sent, *waiting], zero=True, most=3), 92)
    starts, wide = flight.starts_unix_s, flight.slot_s
    body = panel.grid(3) + panel.bars(starts, wide, [0.0] * len(sent), sent, "sent")
    body += panel.steps(starts, wide, waiting, "waiting")
    key = swatch("box", "sent", "sent in the slot") + swatch("line", "waiting", "waiting aboard")
    label = f"Products sent: {sum(sent):.0f} in all."
    return Row("Products", key, panel.gutter(3), 92, body, label, "products", "sent")


def _kinds(flight: Digest) -> str:
    return " and ".join(sorted({slot.energy_kind for slot in flight.slots if slot.energy_kind})) or "kind unknown"


def _within(scale: Scale, low: float, high: float) -> Scale:
    return Scale(max(scale.low, low), min(scale.high, high))
