"""Numbers as a reader wants them, and text that is safe inside HTML."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

NONE = "–"
SPACE = "\N{NO-BREAK SPACE}"
KINDS = {
    "label": "label of a tile",
    "geometry": "object with its outline",
    "mask": "mask of a tile",
    "image": "restored picture",
    "filled": "picture filled under clouds",
    "position": "position of the camera",
    "anomaly": "anomaly",
    "change": "change since the reference",
    "height": "height map",
    "map": "map of values",
    "embedding": "tile in the search index",
    "answer": "answer to the ground",
    "chip": "picture",
}
"""What kinds of product are called."""
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))


def esc(text: object) -> str:
    """Return ``text`` safe as element content and as a double-quoted attribute."""
    return html.escape(str(text), quote=True)


def soft(text: str) -> str:
    """Return escaped text that may break inside long names.

    >>> soft("SeaLake_1")
    'Sea<wbr>Lake_<wbr>1'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=_)", "<wbr>", esc(text))


def count(number: float) -> str:
    """Return a whole number with thousands separators.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,.0f}" if math.isfinite(number) else NONE


def plural(number: float, one: str, many: str) -> str:
    """Return a number with its noun.

    >>> plural(1, "pass", "passes"), plural(0, "pass", "passes")
    ('1 pass', '0 passes')
    """
    return f"{count(number)} {one if number == 1 else many}"


def percent(frac: float, digits: int = 1) -> str:
    r"""Return a share as a percentage, or a dash where there is none.

    >>> percent(0.9234), percent(float("nan"))
    ('92.3\xa0%', '–')
    """
    return f"{100 * frac:.{digits}f}{SPACE}%" if math.isfinite(frac) else NONE


def figure(number: float) -> str:
    """Return a number to three significant digits without an exponent where that reads well.

    >>> figure(0.01234), figure(123.4), figure(43210.0)
    ('0.0123', '123', '43,210')
    """
    if not math.isfinite(number):
        return NONE
    if number == 0:
        return "0"
    size = abs(number)
    if size >= 100:
        return f"{number:,.0f}"
    if size < 1e-4:
        return f"{number:.2e}"
    return f"{number:.{max(0, 2 - math.floor(math.log10(size)))}f}"


def si(number: float, unit: str) -> str:
    r"""Return a quantity to three significant digits with an SI prefix.

    >>> si(12345.0, "J"), si(0.0456, "J"), si(0.0, "B")
    ('12.3\xa0kJ', '45.6\xa0mJ', '0\xa0B')
    """
    if not math.isfinite(number):
        return NONE
    size = abs(number)
    factor, prefix = next(((f, p) for f, p in _PREFIXES if size >= f * 0.9995), (1.0, ""))
    return f"{figure(number / factor)}{SPACE}{prefix}{unit}"


def tick(number: float) -> str:
    """Return an axis label of at most five characters or so.

    >>> tick(150000.0), tick(0.25), tick(1500.0), tick(0.0)
    ('150k', '0.25', '1.5k', '0')
    """
    size = abs(number)
    factor, prefix = next(((f, p) for f, p in _PREFIXES[:3] if size >= f), (1.0, ""))
    return f"{number / factor:g}{prefix}"


def clock(unix_s: float, seconds: bool = False) -> str:
    """Return the UTC time of day.

    >>> clock(0.0), clock(3661.0, seconds=True)
    ('00:00', '01:01:01')
    """
    return datetime.fromtimestamp(unix_s, timezone.utc).strftime("%H:%M:%S" if seconds else "%H:%M")


def date(unix_s: float) -> str:
    """Return the UTC date.

    >>> date(0.0)
    '1970-01-01'
    """
    return datetime.fromtimestamp(unix_s, timezone.utc).strftime("%Y-%m-%d")


def span(duration_s: float) -> str:
    """Return a duration in the two largest units.

    >>> span(42.0), span(600.0), span(17000.0), span(260000.0)
    ('42 s', '10 min', '4 h 43 min', '3 d 0 h')
    """
    if duration_s < 90:
        return f"{duration_s:.0f} s"
    minutes = round(duration_s / 60)
    if minutes >= 2880:
        return f"{minutes // 1440} d {minutes % 1440 // 60} h"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def place(latitude_deg: float, longitude_deg: float) -> str:
    """Return a position to a tenth of a degree, a dash where there is none.

    >>> place(-12.34, 181.0)
    '12.3° S 179.0° W'
    """
    if not (math.isfinite(latitude_deg) and math.isfinite(longitude_deg)):
        return NONE
    longitude_deg = (longitude_deg + 180.0) % 360.0 - 180.0
    south_north, west_east = "NS"[latitude_deg < 0], "EW"[longitude_deg < 0]
    return f"{abs(latitude_deg):.1f}° {south_north} {abs(longitude_deg):.1f}° {west_east}"


def kind_word(kind: str) -> str:
    """Return what a kind of product is called; its own name for one that a plug-in brought.

    >>> kind_word("height"), kind_word("spectrum")
    ('height map', 'spectrum')
    """
    return KINDS.get(kind, kind)


def codes(names: Iterable[str]) -> dict[str, str]:
    """Return a two- or three-character code for each name, all different.

    >>> codes(["AnnualCrop", "Forest", "Foreland"])
    {'AnnualCrop': 'AC', 'Forest': 'Fo', 'Foreland': 'F2'}
    """
    taken: dict[str, str] = {}
    for name in names:
        capitals = [letter for letter in name if letter.isupper()]
        code = "".join(capitals[:2]) if len(capitals) > 1 else name[:2].capitalize() or "?"
        number = 2
        while code in taken.values():
            code, number = f"{name[:1].upper()}{number}", number + 1
        taken[name] = code
    return taken


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: str, caption: str, css: str = "cardlike") -> str:
    """Return an HTML table. Cells are HTML already; ``kinds`` has a letter per column: ``n``, ``p`` prose, ``t``."""
    classes = [{"n": ' class="num"', "p": ' class="prose"'}.get(letter, "") for letter in kinds]
    header = "".join(f'<th scope="col"{c}>{cell}</th>' for cell, c in zip(head, classes, strict=True))
    body = "".join(
        f'<tr><th scope="row"{classes[0]}>{first}</th>'
        + "".join(
            f'<td{c} data-head="{name}">{cell}</td>' for cell, c, name in zip(rest, classes[1:], head[1:], strict=True)
        )
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll {css}" tabindex="0" role="region" aria-label="{esc(caption)}"><table>'
        f'<caption class="unseen">{esc(caption)}</caption>'
        f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )
