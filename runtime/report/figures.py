"""Scales and SVG pieces. Horizontal places are percentages, so that one drawing fits phone and desk; heights in pixels.

Lines live in a nested, stretched ``<svg>`` with strokes that do not scale; text and symbols sit beside it, unstretched.
Colours, dashes and patterns are CSS classes: nothing here knows what it draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .words import esc, tick

PAD_PX = 5
_UNITS = 1000.0
"""Width of the nested drawing in its own units."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps ``low..high`` to 0..1, linearly or by logarithm; what lies outside is drawn at the edge."""

    low: float
    high: float
    log: bool = False

    def frac(self, value: float) -> float:
        """Return where ``value`` lies, 0..1."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def percent(self, value: float) -> str:
        """Return where ``value`` lies as an SVG percentage."""
        return f"{100 * self.frac(value):.2f}%"

    def ticks(self, most: int) -> tuple[float, ...]:
        """Return at most about ``most`` round values, evenly spread."""
        if self.log:
            lowest, highest = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            every = max(1, math.ceil((highest - lowest + 1) / most))
            return tuple(10.0**power for power in range(lowest, highest + 1, every))
        step = round_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(round(number * step, 12) for number in range(first, last + 1))


def round_step(rough: float) -> float:
    """Return the next larger 1, 2 or 5 times a power of ten.

    >>> round_step(0.3), round_step(11.0)
    (0.5, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= rough * (1 - 1e-9))


def scale_over(values: Iterable[float], *, zero: bool = False, log: bool = False, most: int = 4) -> Scale:
    """Return a scale with round ends that holds every finite value (by logarithm: every positive one)."""
    real = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    if not real:
        return Scale(1.0, 10.0, log) if log else Scale(0.0, 1.0)
    low, high = min(real), max(real)
    if log:
        return Scale(10.0 ** math.floor(math.log10(low)), 10.0 ** (math.floor(math.log10(high) + 1e-9) + 1), log)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = (0.0, high * 2 or 1.0) if zero and high >= 0 else (low - 1.0, high + 1.0)
    step = round_step((high - low) / most)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


@dataclass(frozen=True, slots=True)
class Panel:
    """A drawing area over a shared horizontal scale."""

    x: Scale
    y: Scale
    height_px: int

    def y_px(self, value: float) -> float:
        """Return the height of ``value``, in pixels from the top."""
        return PAD_PX + (1 - self.y.frac(value)) * (self.height_px - 2 * PAD_PX)

    def line(self, xs: Sequence[float], ys: Sequence[float], css: str) -> str:
        """Return a polyline, broken wherever a value is NaN."""
        path, pen_down = [], False
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(y):
                path.append(f"{'L' if pen_down else 'M'}{self.x.frac(x) * _UNITS:.1f} {self.y_px(y):.1f}")
            pen_down = math.isfinite(y)
        return stretched(f'<path class="{css}" d="{"".join(path)}"/>', _UNITS, self.height_px)

    def steps(self, starts: Sequence[float], width: float, ys: Sequence[float], css: str) -> str:
        """Return a line that holds each value for ``width``."""
        xs = [x for start in starts for x in (start, start + width)]
        return self.line(xs, [y for y in ys for _ in range(2)], css)

    def bars(
        self, starts: Sequence[float], width: float, lows: Sequence[float], highs: Sequence[float], css: str
    ) -> str:
        """Return one rectangle per slot, from ``lows`` to ``highs``; empty ones are left out."""
        gap, parts = 0.08 * width, []
        for start, low, high in zip(starts, lows, highs, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and high > low):
                continue
            top, bottom = self.y_px(high), self.y_px(low)
            left, right = self.x.frac(start + gap), self.x.frac(start + width - gap)
            parts.append(rect(left, right, top, max(bottom - top, 1.0)))
        return f'<g class="{css}">{"".join(parts)}</g>'

    def band(self, start: float, end: float, css: str, title: str = "") -> str:
        """Return a band over the full height."""
        return rect(self.x.frac(start), self.x.frac(end), 0, self.height_px, css, title)

    def rule(self, value: float, css: str) -> str:
        """Return a level line over the full width."""
        y = f"{self.y_px(value):.1f}"
        return f'<line class="{css}" x1="0" x2="100%" y1="{y}" y2="{y}"/>'

    def mark(self, shape: str, x: float, y: float, css: str, title: str = "") -> str:
        """Return a symbol at a point of both scales."""
        return symbol(shape, self.x.percent(x), f"{self.y_px(y):.1f}", css, title)

    def grid(self, most: int) -> str:
        """Return a level line at each tick of the vertical axis."""
        return "".join(self.rule(value, "grid") for value in self.y.ticks(most))

    def gutter(self, most: int, unit: str = "") -> str:
        """Return the labels of the vertical axis as a drawing of its own, to stand left of the panel."""
        labels = "".join(
            f'<text x="100%" dx="-6" y="{self.y_px(value):.1f}" dy=".35em" class="end">{tick(value)}{esc(unit)}</text>'
            for value in self.y.ticks(most)
        )
        return f'<svg class="gutter" height="{self.height_px}" aria-hidden="true">{labels}</svg>'


def stretched(body: str, width: float, height: float) -> str:
    """Return a nested drawing that fills its parent whatever the parent's shape."""
    return f'<svg width="100%" height="100%" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none">{body}</svg>'


def rect(left: float, right: float, y_px: float, height_px: float, css: str = "", title: str = "") -> str:
    """Return a rectangle between two shares of the width."""
    name = f' class="{css}"' if css else ""
    words = f"<title>{esc(title)}</title>" if title else ""
    return (
        f'<rect{name} x="{100 * left:.2f}%" width="{100 * max(right - left, 0.0):.2f}%" y="{y_px:.1f}" '
        f'height="{height_px:.1f}">{words}</rect>'
    )


def symbol(shape: str, x: str, y: str, css: str, title: str = "") -> str:
    """Return a symbol of fixed size at a place given in any unit."""
    words = f"<title>{esc(title)}</title>" if title else ""
    return f'<use href="#{shape}" x="{x}" y="{y}" class="{css}">{words}</use>'


def words_at(x: str, y: str, text: str, css: str = "") -> str:
    """Return a piece of text at a place given in any unit."""
    name = f' class="{css}"' if css else ""
    return f'<text x="{x}" y="{y}"{name}>{esc(text)}</text>'


def swatch(kind: str, css: str, words: str) -> str:
    """Return one entry of a key: ``kind`` is ``line``, ``box`` or the name of a symbol."""
    drawing = {
        "line": f'<line class="{css}" x1="0" x2="22" y1="6" y2="6"/>',
        "box": f'<rect class="{css}" x="2" y="1" width="18" height="10"/>',
    }.get(kind) or f'<use href="#{kind}" x="11" y="6" class="{css}"/>'
    return f'<span><svg width="22" height="12" aria-hidden="true">{drawing}</svg>{esc(words)}</span>'


SHAPES = ("s-circle", "s-square", "s-triangle", "s-diamond", "s-down", "s-plus")

DEFINITIONS = """<svg class="defs" width="0" height="0" aria-hidden="true"><defs>
<g id="s-circle"><circle class="shape" r="4.6"/></g>
<g id="s-square"><rect class="shape" x="-4.2" y="-4.2" width="8.4" height="8.4"/></g>
<g id="s-triangle"><path class="shape" d="M0-5.4L5.2 4H-5.2z"/></g>
<g id="s-diamond"><path class="shape" d="M0-5.8L5.8 0 0 5.8-5.8 0z"/></g>
<g id="s-down"><path class="shape" d="M0 5.4L5.2-4H-5.2z"/></g>
<g id="s-plus"><path class="shape" d="M-1.8-5.4h3.6v3.6h3.6v3.6H1.8v3.6h-3.6V1.8h-3.6v-3.6h3.6z"/></g>
<g id="s-open"><rect class="shape" x="-4.5" y="-4.5" width="9" height="9"/></g>
<g id="s-ring"><circle class="shape" r="3.2"/></g>
<g id="s-station"><path class="shape" d="M0-7L6 6H-6z"/><circle r="2" cy="2" class="hole"/></g>
<pattern id="p-pass" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="6" height="6" class="pass-ground"/><rect width="2.2" height="6" class="pass-ink"/></pattern>
<pattern id="p-shed" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">
<rect width="5" height="5" class="shed-ground"/><rect width="1.8" height="5" class="shed-ink"/></pattern>
</defs></svg>"""
