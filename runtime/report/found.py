"""What was found: the answers laid out where their tiles lie, a table by class, and a few of them to look at."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .digest import Digest, wilson95
from .model import Finding, FrameView
from .words import codes, count, esc, figure, kind_word, percent, place, soft, table

MAX_DRAWN = 2500
"""Tiles drawn per scene; beyond that the first ones stand for all, and the page says so."""
_COLOURS = 10
_WIDTH = 1000.0


Corners = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one scene's drawing covers: x to the right and y up, in pixels of the scene or in degrees."""

    left: float
    bottom: float
    right: float
    top: float
    in_px: bool

    @property
    def height(self) -> float:
        """Height in units of a drawing 1000 wide; degrees of longitude are shrunk by the cosine of the latitude."""
        shrink = 1.0 if self.in_px else math.cos(math.radians((self.bottom + self.top) / 2))
        return min(max(_WIDTH * (self.top - self.bottom) / ((self.right - self.left) * shrink), 80.0), 4000.0)

    def corners(self, one: Finding) -> Corners:
        """Return the corners of a finding in the drawing, none where it has no place in it."""
        wide, high = self.right - self.left, self.top - self.bottom
        return tuple(
            ((x - self.left) / wide * _WIDTH, (self.top - y) / high * self.height) for x, y in outline(one, self.in_px)
        )


def outline(one: Finding, in_px: bool) -> Corners:
    """Return the corners of a finding, x to the right and y up, without closing the ring."""
    if not in_px:
        return one.ring_deg[:-1] if len(one.ring_deg) > 3 else ()
    if one.box_px is None:
        return ()
    row, col, edge = one.box_px
    return ((col, -row), (col + edge, -row), (col + edge, -row - edge), (col, -row - edge))


def sheet_of(frame: FrameView, findings: Iterable[Finding]) -> Sheet | None:
    """Return the scene's sheet: the whole scene where its size is known, else what its findings cover."""
    if frame.width_px > 0 and frame.height_px > 0:
        return Sheet(0.0, -frame.height_px, frame.width_px, 0.0, in_px=True)
    corners = [corner for one in findings for corner in outline(one, in_px=False)]
    if not corners:
        return None
    left, bottom = min(x for x, _ in corners), min(y for _, y in corners)
    right, top = max(x for x, _ in corners), max(y for _, y in corners)
    return Sheet(left, bottom, max(right, left + 1e-9), max(top, bottom + 1e-9), in_px=False)


def enclosing(corners: Corners) -> tuple[float, float, float, float]:
    """Return x, y, width and height of the box around some corners."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def scene_of(one: Finding) -> str:
    """Return the scene whichever look at it the finding is from."""
    return one.frame_id.split("@", 1)[0]


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
    bare = dict.fromkeys(scene_of(one) for one in findings if scene_of(one) not in known)
    frames = (*flight.report.frames, *(FrameView(name, name) for name in bare))
    colour = {label: f"c{number % _COLOURS}" for number, label in enumerate(labels)}
    return Catalogue(findings, codes(labels), colour, frames)


def found_maps(flight: Digest, book: Catalogue) -> str:
    """Return one figure per scene that has findings with a place."""
    figures = ""
    for number, frame in enumerate(book.frames):
        mine = [one for one in book.findings if scene_of(one) == frame.frame_id]
        sheet = sheet_of(frame, mine)
        if mine and sheet is not None:
            figures += _scene(book, frame, f"scene-{number}", sheet, mine)
    if not figures:
        return ""
    picked = '<p class="picked" id="picked" role="status">Pick a tile to read its answer.</p>'
    return f'{_filters()}<div class="found">{figures}</div>{_class_key(book)}{picked}'


def _scene(book: Catalogue, frame: FrameView, name: str, sheet: Sheet, mine: list[Finding]) -> str:
    tiles: dict[Corners, list[Finding]] = {}
    for one in mine:
        tiles.setdefault(sheet.corners(one), []).append(one)
    tiles.pop((), None)
    drawn = "".join(_tile(book, corners, visits) for corners, visits in list(tiles.items())[:MAX_DRAWN])
    left_out = f", the first {count(MAX_DRAWN)} drawn" if len(tiles) > MAX_DRAWN else ""
    caption = (
        f"<b>{esc(frame.title)}</b> {count(len(mine))} answers on {count(len(tiles))} tiles{left_out}{_where(mine)}. "
        f"{esc(frame.credit)}"
    )
    box = f'viewBox="0 0 {_WIDTH:g} {sheet.height:.1f}"'
    photo = ""
    if frame.image is not None:
        fit = "none" if sheet.in_px else "xMidYMid meet"
        size = f'width="{_WIDTH:g}" height="{sheet.height:.1f}" preserveAspectRatio="{fit}"'
        picture = f'<image id="{name}" href="{data_uri(frame.image)}" {size}/>'
        photo = f'<svg class="photo" {box} role="img" aria-label="The scene as it was seen">{picture}</svg>'
    label = "The answer for each tile; the table below counts them"
    answers = f'<svg class="answers" {box} role="img" aria-label="{label}">{drawn}</svg>'
    pair = "pair" if photo else "alone"
    return f'<figure><figcaption>{caption}</figcaption><div class="{pair}">{photo}{answers}</div></figure>'


def _where(findings: Iterable[Finding]) -> str:
    """Return the middle of the findings' places in words."""
    corners = [corner for one in findings for corner in outline(one, in_px=False)]
    if not corners:
        return ""
    west, south, wide, high = enclosing(tuple(corners))
    return f", at {place(south + high / 2, west + wide / 2)}"


def _tile(book: Catalogue, corners: Corners, visits: list[Finding]) -> str:
    """Return one tile with its latest answer."""
    last = visits[-1]
    x, y, wide, high = enclosing(corners)
    points = " ".join(f"{right:.1f},{down:.1f}" for right, down in corners)
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
        f'<title>{esc(_story(visits))}</title><polygon points="{points}"/>{code}{cross}</g>'
    )


def _story(visits: list[Finding]) -> str:
    last = visits[-1]
    truth = "" if last.truth is None else " (right)" if last.truth == last.label else f", in truth {last.truth}"
    sent = "not sent yet" if last.sent_in_slot is None else f"sent in slot {last.sent_in_slot}"
    home = ", received" if last.delivered else ""
    seen = f"slot {last.slot}" if len(visits) == 1 else f"slot {last.slot}, seen {len(visits)} times"
    what = "" if last.kind in ("label", last.label) else f"{kind_word(last.kind)}: "
    return f"{what}{last.label}, score {last.score:.2f}{truth} · {seen} · {sent}{home}"


def verdict(one: Finding) -> str:
    """Return ``right``, ``wrong`` or ``unknown``."""
    return "unknown" if one.truth is None else "right" if one.truth == one.label else "wrong"


def _filters() -> str:
    choices = (("all", "every tile"), ("wrong", "wrong answers"), ("home", "sent home"), ("slot", "the slot in view"))
    buttons = "".join(
        f'<label><input type="radio" name="show" value="{value}"{" checked" if value == "all" else ""}>{words}</label>'
        for value, words in choices
    )
    return (
        '<div class="filter scripted" role="radiogroup" aria-labelledby="show">'
        f'<span id="show" class="quiet">Show</span>{buttons}</div>'
    )


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
                ", ".join(esc(kind_word(kind)) for kind in sorted({one.kind for one in mine})) or "–",
                count(len(mine)),
                f"{percent(right / known)}<small>of {count(known)}, {100 * low:.0f}–{100 * high:.0f}</small>"
                if known
                else "–",
                percent(right / present) if present else "–",
                f"{soft(str(taken[0][0]))} <small>×{taken[0][1]}</small>" if taken else "–",
                figure(sum(one.score for one in mine) / len(mine)) if mine else "–",
                count(sum(one.delivered for one in mine)),
            )
        )
    head = (
        "Class",
        "What",
        "Answers",
        "Right of known, 95 % CI",
        "Recall",
        "If wrong, mostly",
        "Mean score",
        "Received",
    )
    return table(head, rows, "ttnnntnn", "Answers by class")


def gallery(flight: Digest, book: Catalogue, most: int = 8) -> str:
    """Return the most certain errors and the most valuable answers, as pictures where there are any."""
    by_score = sorted(book.findings, key=lambda one: (-one.score, one.slot))
    by_value = sorted(book.findings, key=lambda one: (-one.value, -one.score, one.slot))
    wrong = _distinct((one for one in by_score if verdict(one) == "wrong"), most)
    best = _distinct((one for one in by_value if one.delivered), most)
    return _strip(book, "Wrong, and most certain of it", wrong) + _strip(book, "Most valuable received", best)


def _distinct(findings: Iterable[Finding], most: int) -> list[Finding]:
    """Return the first findings that each show another tile."""
    seen: dict[object, Finding] = {}
    for one in findings:
        seen.setdefault((scene_of(one), one.box_px, one.ring_deg), one)
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
        sheet = sheet_of(frame, ())
        if frame.frame_id == scene_of(one) and frame.image is not None and sheet is not None and sheet.corners(one):
            box = " ".join(f"{edge:.1f}" for edge in enclosing(sheet.corners(one)))
            return f'<svg viewBox="{box}" width="84" height="84" aria-hidden="true"><use href="#scene-{number}"/></svg>'
    return ""


def data_uri(picture: bytes) -> str:
    """Return a PNG or JPEG as text that an offline page can hold."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
