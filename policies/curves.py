"""Learning curves: what a training earned as it went on, as a table and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One line of a learning curve."""

    step: int
    """Slots flown in training so far."""
    episodes: int
    reward_mean: float
    """Per mission: over the missions since the last line, exploration included, or over fixed validation missions."""
    exploration_frac: float


def write_curve(path: Path, points: Sequence[CurvePoint]) -> None:
    """Write a learning curve as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(CurvePoint)])
        writer.writerows(astuple(point) for point in points)


def read_curve(path: Path) -> list[CurvePoint]:
    """Return a learning curve that ``write_curve`` wrote."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            CurvePoint(
                int(row["step"]), int(row["episodes"]), float(row["reward_mean"]), float(row["exploration_frac"])
            )
            for row in csv.DictReader(stream)
        ]


def draw_curve(path: Path, points: Sequence[CurvePoint], title: str) -> None:
    """Draw a learning curve as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([point.step for point in points], [point.reward_mean for point in points])
    axes.set_xlabel("slots flown in training")
    axes.set_ylabel("reward per mission")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    canvas.print_figure(path, format="png")
