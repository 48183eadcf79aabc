"""The course of a training as a table and, where matplotlib is installed, as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

Rows = Sequence[Mapping[str, float]]


def write_curve(path: Path, rows: Rows) -> None:
    """One line an epoch, every figure that any epoch has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def draw_curve(path: Path, rows: Rows, metric: str) -> bool:
    """The loss and the metric that chooses over the epochs; False where matplotlib is not installed."""
    if not rows or find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    for place, name in enumerate(("loss", f"val_{metric}"), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], marker=".")
        axes.set_xlabel("epoch")
        axes.set_title(name.replace("_", " "))
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    return True
