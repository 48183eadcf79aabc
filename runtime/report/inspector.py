"""The slot inspector: an empty form here, filled by the script from words that are formatted here too."""

from __future__ import annotations

import json
import math

from .digest import Digest
from .words import clock, count, figure, percent, place, si, span

_GROUPS = (
    (
        "What it knew",
        (
            ("below", "Below"), ("sun", "Sunlight"), ("battery", "Battery"), ("budget", "Budget"),
            ("harvest", "Harvest"), ("load", "Bus, idle, radio"), ("heat", "Temperature"), ("waiting", "Tiles waiting"),
        ),
    ),
    (
        "What came of it",
        (
            ("done", "Worked on"), ("shed", "Shed"), ("limited", "Limited by"), ("accuracy", "Accuracy"),
            ("expected", "Expected"), ("energy", "Inference"), ("reward", "Reward"), ("contact", "Contact"),
            ("sent", "Sent"), ("backlog", "Waiting aboard"),
        ),
    ),
)  # fmt: skip


def inspector(flight: Digest) -> str:
    """Return the form. It stays hidden where scripts do not run; the table of decisions says the same."""
    last = len(flight.slots) - 1
    groups = "".join(
        f"<h3>{title}</h3><dl>"
        + "".join(f'<div><dt>{name}</dt><dd data-field="{key}"></dd></div>' for key, name in fields)
        + "</dl>"
        for title, fields in _GROUPS
    )
    return (
        '<aside class="inspector scripted" id="inspector" aria-label="One slot in detail">'
        '<div class="stepper"><button type="button" id="before" aria-label="Slot before">◀</button>'
        f'<input type="range" id="slider" min="0" max="{last}" value="0" aria-label="Slot" aria-describedby="which">'
        '<button type="button" id="after" aria-label="Slot after">▶</button></div>'
        '<p class="which" id="which" aria-live="polite"><b data-field="slot"></b> '
        '<span data-field="time" class="quiet"></span></p>'
        '<p class="chosen"><svg width="14" height="12" aria-hidden="true"><use id="chosen-mark" x="7" y="6"/></svg> '
        '<b data-field="model"></b> <span data-field="gist" class="quiet"></span></p>'
        '<button type="button" id="more" aria-expanded="false" aria-controls="detail">Details</button>'
        '<div id="detail"><p data-field="reason" class="reason"></p>'
        '<p class="overruled" data-field="overruled" data-lead="▼ Shield: "></p>'
        '<p class="quiet" data-field="otherwise" data-lead="Otherwise: "></p>'
        f'{groups}<p class="quiet keys">← → step through the slots; click any drawing.</p></div></aside>'
    )


def slot_words(flight: Digest) -> str:
    """Return the JSON that the script reads: per slot a number, the look of its model, and its words by field."""
    slots = [
        {
            "n": slot.slot,
            "left": round(100 * flight.time.frac(flight.starts_unix_s[index]), 3),
            "right": round(100 * flight.time.frac(flight.starts_unix_s[index] + flight.slot_s), 3),
            "css": flight.look(slot.model).css,
            "shape": flight.look(slot.model).shape,
            "words": _words(flight, index),
        }
        for index, slot in enumerate(flight.slots)
    ]
    text = json.dumps({"slots": slots}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _words(flight: Digest, index: int) -> dict[str, str]:
    slot, start = flight.slots[index], flight.starts_unix_s[index]
    scored = f" ({slot.correct_sampled} of {slot.scored_sampled})" if slot.scored_sampled else ""
    accuracy = percent(slot.accuracy_frac)
    waiting = slot.arrived_tile + slot.queued_tile
    before = f" ({count(slot.queued_tile)} from before)" if slot.queued_tile else ""
    where = place(slot.latitude_deg, slot.longitude_deg)
    fine = start % 60 != 0 or flight.slot_s % 60 != 0
    return {
        "slot": f"Slot {slot.slot}",
        "time": f"{clock(start, fine)}–{clock(start + flight.slot_s, fine)} UTC",
        "model": slot.model,
        "gist": f"{count(slot.admitted_tile)} tiles, {si(slot.energy_j, 'J')}",
        "reason": slot.reason,
        "overruled": slot.overruled,
        "otherwise": slot.counterfactual,
        "below": f"{slot.cover}, {where}" if flight.placed else slot.cover,
        "sun": percent(slot.sunlit_frac, 0),
        "battery": percent(slot.charge_frac),
        "budget": si(slot.budget_j, "J"),
        "harvest": si(slot.harvest_j, "J"),
        "load": si(slot.load_j, "J"),
        "heat": f"{slot.temperature_c:.1f} °C" if math.isfinite(slot.temperature_c) else "–",
        "waiting": count(waiting) + before,
        "done": f"{count(slot.admitted_tile)} ({count(slot.sampled_tile)} inferred)",
        "shed": count(slot.shed_tile),
        "limited": slot.limited_by,
        "accuracy": accuracy + scored,
        "expected": percent(slot.expected_accuracy_frac),
        "energy": f"{si(slot.energy_j, 'J')} {slot.energy_kind}",
        "reward": figure(slot.reward),
        "contact": span(slot.pass_s) if slot.pass_s > 0 else "none",
        "sent": f"{count(slot.sent_product)} products, {si(slot.sent_byte, 'B')}",
        "backlog": f"{count(slot.backlog_product)} products",
    }
