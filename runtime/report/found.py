"""What was found: the answers laid out where their tiles lie, a table by class, and a few of them to look at."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .digest import Digest, wilson95
from .model import Finding, FrameView
from .words import codes, count, esc, figure, percent, place, soft, table

MAX_DRAWN = 2500
"""Tiles drawn per scene; beyond that the first ones stand for all, and the page says so."""
_COLOURS = 10
_WIDTH = 1000.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Longitude and latitude limits of one scene, and its shape on the page."""

    west_deg: float
    south_deg: float
    east_deg: float
    north_deg: float

    @property
    def height(self) -> float:
        """Height in units of a drawing 1000 wide, degrees of longitude shrunk by the cosine of the latitude."""
        wide = (self.east_deg - self.west_deg) * math.cos(math.radians((self.south_deg + self.north_deg) / 2))
        return min(max(_WIDTH * (self.north_deg - self.south_deg) / wide, 80.0), 4000.0)

    def point(self, longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
        """Return x and y of a place in the drawing."""
        x = (longitude_deg - self.west_deg) / (self.east_deg - self.west_deg) * _WIDTH
        y = (self.north_deg - latitude_deg) / (self.north_deg - self.south_deg) * self.height
        return x, y

    def box(self, one: Finding) -> tuple[float, float, float, float]:
        """Return x, y, width, height of what encloses a finding."""
        corners = [self.point(*corner) for corner in one.ring_deg]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The findings with what their labels look like on this page."""

    findings: Sequence[Finding]
    code: dict[str, str]
    colour: dict[str, str]
    frames: tuple[FrameView, ...]


def catalogue(flight: Digest) -> Catalogue:
    """Return the findings sorted out by scene and label."""
    findings = flight.report.products
    labels = sorted({one.label for one in findings} | {one.truth for one in findings if one.truth is not None})
    known = {frame.frame_id for frame in flight.report.frames}
    bare = dict.fromkeys(one.frame_id for one in findings if one.frame_id not in known)
    frames = (*flight.report.frames, *(FrameView(name, name) for name in bare))
    colour = {label: f"c{number % _COLOURS}" for number, label in enumerate(labels)}
    return Catalogue(findings, codes(labels), colour, frames)


def found_maps(flight: Digest, book: Catalogue) -> str:
    """Return one figure per scene that has findings with a place."""
    figures = ""
    for number, frame in enumerate(book.frames):
        mine = [one for one in book.findings if one.frame_id == frame.frame_id and len(one.ring_deg) > 2]
        if mine:
            figures += _scene(book, frame, f"scene-{number}", mine)
    if not figures:
        return ""
    picked = '<p class="picked" id="picked" role="status">Pick a tile to read its answer.</p>'
    return f'{_filters()}<div class="found">{figures}</div>{_class_key(book)}{picked}'


def bounds_of(frame: FrameView, findings: Iterable[Finding]) -> Bounds:
    """Return the scene's own bounds where it states them, else what its findings cover."""
    if frame.east_deg > frame.west_deg and frame.north_deg > frame.south_deg:
        return Bounds(frame.west_deg, frame.south_deg, frame.east_deg, frame.north_deg)
    corners = [corner for one in findings for corner in one.ring_deg]
    west, south = min(x for x, _ in corners), min(y for _, y in corners)
    return Bounds(
        west, south, max(max(x for x, _ in corners), west + 1e-9), max(max(y for _, y in corners), south + 1e-9)
    )


def _scene(book: Catalogue, frame: FrameView, name: str, mine: list[Finding]) -> str:
    bounds = bounds_of(frame, mine)
    tiles: dict[tuple[tuple[float, float], ...], list[Finding]] = {}
    for one in mine:
        tiles.setdefault(one.ring_deg, []).append(one)
    drawn = "".join(_tile(book, bounds, visits) for visits in list(tiles.values())[:MAX_DRAWN])
    left_out = f", the first {count(MAX_DRAWN)} drawn" if len(tiles) > MAX_DRAWN else ""
    middle = place((bounds.south_deg + bounds.north_deg) / 2, (bounds.west_deg + bounds.east_deg) / 2)
    caption = (
        f"<b>{esc(frame.title)}</b> {count(len(mine))} answers on {count(len(tiles))} tiles{left_out}, at {middle}. "
        f"{esc(frame.credit)}"
    )
    box = f'viewBox="0 0 {_WIDTH:g} {bounds.height:.1f}"'
    photo = ""
    if frame.image is not None:
        size = f'width="{_WIDTH:g}" height="{bounds.height:.1f}" preserveAspectRatio="none"'
        picture = f'<image id="{name}" href="{data_uri(frame.image)}" {size}/>'
        photo = f'<svg class="photo" {box} role="img" aria-label="The scene as it was seen">{picture}</svg>'
    label = "The answer for each tile; the table below counts them"
    answers = f'<svg class="answers" {box} role="img" aria-label="{label}">{drawn}</svg>'
    pair = "pair" if photo else "alone"
    return f'<figure><figcaption>{caption}</figcaption><div class="{pair}">{photo}{answers}</div></figure>'


def _tile(book: Catalogue, bounds: Bounds, visits: list[Finding]) -> str:
    """Return one tile with its latest answer."""
    last = visits[-1]
    x, y, wide, high = bounds.box(last)
    corners = " ".join("{:.1f},{:.1f}".format(*bounds.point(*corner)) for corner in last.ring_deg[:-1])
    kinds = [verdict(last), *(["home"] if any(one.delivered for one in visits) else [])]
    centre = f'x="{x + wide / 2:.1f}" y="{y + high / 2:.1f}" font-size="{min(wide, high) * 0.42:.1f}"'
    code = f"<text {centre}>{esc(book.code[last.label])}</text>"
    cross = ""
    if verdict(last) == "wrong":
        inset = 0.12
        a, b, c, d = x + inset * wide, y + inset * high, x + (1 - inset) * wide, y + (1 - inset) * high
        path = f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}M{c:.1f} {b:.1f}L{a:.1f} {d:.1f}"
        cross = f'<path class="halo" d="{path}"/><path class="cross" d="{path}"/>'
    slots = " ".join(str(slot) for slot in sorted({one.slot for one in visits}))
    return (
        f'<g class="tile {book.colour[last.label]} {" ".join(kinds)}" data-slots="{slots}">'
        f'<title>{esc(_story(visits))}</title><polygon points="{corners}"/>{code}{cross}</g>'
    )


def _story(visits: list[Finding]) -> str:
    last = visits[-1]
    truth = "" if last.truth is None else " (right)" if last.truth == last.label else f", in truth {last.truth}"
    sent = "not sent yet" if last.sent_in_slot is None else f"sent in slot {last.sent_in_slot}"
    home = ", received" if last.delivered else ""
    seen = f"slot {last.slot}" if len(visits) == 1 else f"slot {last.slot}, seen {len(visits)} times"
    return f"{last.label}, score {last.score:.2f}{truth} · {seen} · {sent}{home}"


def verdict(one: Finding) -> str:
    """Return ``right``, ``wrong`` or ``unknown``."""
    return "unknown" if one.truth is None else "right" if one.truth == one.label else "wrong"


def _filters() -> str:
    choices = (("all", "every tile"), ("wrong", "wrong answers"), ("home", "sent home"), ("slot", "the slot in view"))
    buttons = "".join(
        f'<label><input type="radio" name="show" value="{value}"{" checked" if value == "all" else ""}>{words}</label>'
        for value, words in choices
    )
    return f'<fieldset class="filter scripted"><legend>Show</legend>{buttons}</fieldset>'


def _class_key(book: Catalogue) -> str:
    entries = "".join(
        f'<span><svg width="22" height="16" class="tile {book.colour[label]}" aria-hidden="true">'
        f'<rect width="22" height="16"/><text x="11" y="8" font-size="10">{esc(code)}</text></svg>{esc(label)}</span>'
        for label, code in book.code.items()
    )
    return f'<p class="key">{entries}<span>✕ answer is wrong</span></p>'


def class_table(book: Catalogue) -> str:
    """Return one row per label that was answered or missed."""
    rows = []
    for label, code in book.code.items():
        mine = [one for one in book.findings if one.label == label]
        verdicts = Counter(verdict(one) for one in mine)
        right, known = verdicts["right"], verdicts["right"] + verdicts["wrong"]
        present = sum(one.truth == label for one in book.findings)
        taken = Counter(one.truth for one in mine if one.truth not in (None, label)).most_common(1)
        low, high = wilson95(right, known)
        badge = f'<span class="code {book.colour[label]}">{esc(code)}</span> {soft(label)}'
        rows.append(
            (
                badge,
                count(len(mine)),
                f"{percent(right / known)}<small>{100 * low:.0f}–{100 * high:.0f}</small>" if known else "–",
                percent(right / present) if present else "–",
                f"{soft(str(taken[0][0]))} <small>×{taken[0][1]}</small>" if taken else "–",
                figure(sum(one.score for one in mine) / len(mine)) if mine else "–",
                count(sum(one.delivered for one in mine)),
            )
        )
    head = ("Class", "Answers", "Right, 95 % CI", "Recall", "Most often really", "Mean score", "Received")
    return table(head, rows, "tnnntnn", "Answers by class")


def gallery(flight: Digest, book: Catalogue, most: int = 8) -> str:
    """Return the most certain errors and the most valuable answers, as pictures where there are any."""
    by_score = sorted(book.findings, key=lambda one: (-one.score, one.slot, one.ring_deg))
    by_value = sorted(book.findings, key=lambda one: (-one.value, -one.score, one.slot, one.ring_deg))
    wrong = _distinct((one for one in by_score if verdict(one) == "wrong"), most)
    best = _distinct((one for one in by_value if one.delivered), most)
    return _strip(book, "Wrong, and most certain of it", wrong) + _strip(book, "Most valuable received", best)


def _distinct(findings: Iterable[Finding], most: int) -> list[Finding]:
    """Return the first findings that each show another tile."""
    seen: dict[object, Finding] = {}
    for one in findings:
        seen.setdefault((one.frame_id, one.ring_deg), one)
        if len(seen) == most:
            break
    return list(seen.values())


def _strip(book: Catalogue, title: str, findings: list[Finding]) -> str:
    pictures = [(one, _picture(book, one)) for one in findings]
    items = "".join(
        f"<li>{picture}<span>{soft(one.label)} <small>{one.score:.2f}</small></span>"
        f'<span class="quiet">{"truth unknown" if one.truth is None else "truly " + soft(one.truth)}, '
        f"slot {one.slot}</span></li>"
        for one, picture in pictures
        if picture
    )
    return f'<h3>{title}</h3><ul class="chips">{items}</ul>' if items else ""


def _picture(book: Catalogue, one: Finding) -> str:
    if one.chip_png is not None:
        return f'<img src="{data_uri(one.chip_png)}" alt="" width="84" height="84">'
    for number, frame in enumerate(book.frames):
        if frame.frame_id == one.frame_id and frame.image is not None and len(one.ring_deg) > 2:
            mine = [other for other in book.findings if other.frame_id == frame.frame_id and len(other.ring_deg) > 2]
            box = " ".join(f"{edge:.1f}" for edge in bounds_of(frame, mine).box(one))
            return f'<svg viewBox="{box}" width="84" height="84" aria-hidden="true"><use href="#scene-{number}"/></svg>'
    return ""


def data_uri(picture: bytes) -> str:
    """Return a PNG or JPEG as text that an offline page can hold."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
