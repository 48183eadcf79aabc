"""The slot inspector: an empty form here, filled by the script."""

from __future__ import annotations

from .digest import Digest

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
        '<div class="stepper"><button type="button" id="play" aria-label="Play">▶</button>'
        '<button type="button" id="before" aria-label="Slot before">‹</button>'
        f'<input type="range" id="slider" min="0" max="{last}" value="0" aria-label="Slot" aria-describedby="which">'
        '<button type="button" id="after" aria-label="Slot after">›</button></div>'
        '<p class="which" id="which" aria-live="polite"><b data-field="slot"></b> '
        '<span data-field="time" class="quiet"></span></p>'
        '<p class="chosen"><svg width="14" height="12" aria-hidden="true"><use id="chosen-mark" x="7" y="6"/></svg> '
        '<b data-field="model"></b> <span data-field="gist" class="quiet"></span></p>'
        '<button type="button" id="more" aria-expanded="false" aria-controls="detail">Details</button>'
        '<div id="detail"><p data-field="reason" class="reason"></p>'
        '<p class="overruled" data-field="overruled" data-lead="▼ Shield: "></p>'
        '<p class="quiet" data-field="otherwise" data-lead="Otherwise: "></p>'
        f'{groups}<p class="quiet keys"><kbd>←</kbd> <kbd>→</kbd> a slot, <kbd>space</kbd> play, '
        "<kbd>n</kbd> <kbd>p</kbd> next and previous pass, <kbd>m</kbd> map, "
        "<kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd> zoom; click or drag in any chart.</p></div></aside>"
    )
