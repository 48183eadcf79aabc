"""What a bench found, as a table, as rows for JSON, and as a plot of accuracy against joules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from xml.sax.saxutils import escape

from .package import ModelPackage
from .records import Profile

_WIDTH, _HEIGHT, _MARGIN = 720.0, 420.0, 60.0


def aee_per_j(accuracy_frac: float, energy_j_per_tile: float) -> float:
    """Accuracy per energy: right answers a joule.

    >>> aee_per_j(0.9, 0.01)
    90.0
    """
    return accuracy_frac / energy_j_per_tile


def edp_per_accuracy(accuracy_frac: float, energy_j: float, delay_s: float) -> float:
    """EDP/A: energy times delay by accuracy, J ms per percent; lower is better (LEO-IISat, section on metrics).

    >>> round(edp_per_accuracy(0.924, 0.87, 0.0035), 5)
    0.03295
    """
    return energy_j * delay_s * 1e3 / (100.0 * accuracy_frac)


def rows(packages: Sequence[tuple[ModelPackage, Profile]]) -> list[dict[str, object]]:
    """One row a measurement, with the figures that follow from it."""
    return [
        {
            "package": package.info.id,
            "accuracy": profile.accuracy.value,
            **asdict(entry),
            "aee_per_j": aee_per_j(profile.accuracy.value, entry.energy_j_per_tile),
            "edp_per_accuracy_j_ms": edp_per_accuracy(
                profile.accuracy.value, entry.energy_j_per_tile, entry.latency_p50_s
            ),
        }
        for package, profile in packages
        for entry in profile.measurements
    ]


def table(found: Sequence[dict[str, object]]) -> str:
    """The rows for a person."""
    head = "package                          mode          batch  ms/tile   p50 ms   p99 ms  tiles/s   mJ/tile  "
    lines = [head + "right/J  EDP/A     roofline  top-1"]
    for row in found:
        share = row["roofline_frac"]
        throughput = row["throughput_hz"]
        lines.append(
            f"{row['package']:<32} {row['mode']:<13} {row['batch']:>5} {_milli(row['tile_s'])} "
            f"{_milli(row['latency_p50_s'])} {_milli(row['latency_p99_s'])} "
            f"{throughput:>8.0f} {_milli(row['energy_j_per_tile'])} {row['energy_kind']:<9} "
            f"{row['aee_per_j']:>6.0f}  {row['edp_per_accuracy_j_ms']:<8.2g}  "
            f"{'     -' if share is None else f'{100 * _number(share):5.0f} %'}  {100 * _number(row['accuracy']):.1f} %"
        )
    return "\n".join(lines)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _milli(value: object) -> str:
    return f"{1e3 * _number(value):8.3f}"


def plot_svg(found: Sequence[dict[str, object]]) -> str:
    """Accuracy against joules a tile as an SVG: one point a row, joules on a logarithmic axis."""
    joules = [_number(row["energy_j_per_tile"]) for row in found]
    top = [_number(row["accuracy"]) for row in found]
    across = _Axis(math.log(min(joules) / 1.5), math.log(max(joules) * 1.5), _MARGIN, _WIDTH - _MARGIN)
    up = _Axis(min(top) - 0.01, min(max(top) + 0.01, 1.0), _HEIGHT - _MARGIN, _MARGIN)
    kinds = " and ".join(sorted({str(row["energy_kind"]) for row in found}))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" '
        'font-family="sans-serif" font-size="12">',
        f'<path d="M{_MARGIN} {_MARGIN} V{_HEIGHT - _MARGIN} H{_WIDTH - _MARGIN}" fill="none" stroke="#444"/>',
        _text(_WIDTH / 2, _HEIGHT - 12, f"millijoule a tile, {kinds}, logarithmic", "middle"),
        _text(_MARGIN, _MARGIN - 20, "top-1 accuracy", "middle"),
        *(_text(_MARGIN - 6, up.at(value), f"{100 * value:.1f} %", "end") for value in up.ticks()),
        *(
            _text(across.at(value), _HEIGHT - _MARGIN + 18, f"{1e3 * math.exp(value):.3g}", "middle")
            for value in across.ticks()
        ),
    ]
    for row, joule, accuracy in zip(found, joules, top, strict=True):
        label = escape(f"{row['package']}, {row['mode']}, batch {row['batch']}")
        x, y = across.at(math.log(joule)), up.at(accuracy)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#1f6f8b"><title>{label}</title></circle>')
        parts.append(_text(x + 8, y - 6, label, "start"))
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    begin_px: float
    end_px: float

    def at(self, value: float) -> float:
        return self.begin_px + (self.end_px - self.begin_px) * (value - self.low) / (self.high - self.low)

    def ticks(self) -> tuple[float, float, float]:
        return self.low, (self.low + self.high) / 2, self.high


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
