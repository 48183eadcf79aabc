"""The frontier of an evaluation: what each policy is worth against the joules that it spends, and the bound."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import EvaluationError, NotInstalledError
from .registry import LEARNED as LEARNED_KINDS

INK, BOUND = "#1d2733", "#2a7f62"
DRAWN = (".png", ".svg", ".pdf")
PER_UNIT = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"))


def refuse_undrawable(path: Path) -> None:
    """Raise ``EvaluationError`` before anything flies where ``path`` takes no picture or matplotlib is missing."""
    if path.suffix.lower() not in DRAWN:
        raise EvaluationError(f"{path} cannot be drawn. Use a name that ends in {', '.join(DRAWN)}.")
    if not path.parent.is_dir():
        raise EvaluationError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    if find_spec("matplotlib") is None:
        raise NotInstalledError("The plot needs matplotlib. Install it: pip install 'subsolar[sim]'.")


def draw_frontier(report: Mapping[str, Any], path: Path) -> None:
    """Draw the report of ``evaluate`` as PNG, SVG or PDF by the file's name; bars are 95 % intervals over missions.

    Raises ``EvaluationError`` where matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NotInstalledError("The plot needs matplotlib. Install it: pip install 'subsolar[sim]'.") from error
    figure = Figure(figsize=(9.0, 5.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    grades = report["policies"]
    most_j = max(grade["energy_j_mean"] for grade in grades.values())
    scale, unit = next(((s, u) for s, u in PER_UNIT if most_j >= s), PER_UNIT[-1])
    for number, (name, grade) in enumerate(sorted(grades.items(), key=lambda item: -item[1]["value_mean"])):
        _point(axes, name, grade, scale, f"C{number % 10}")
    bound = report.get("bound", {})
    if bound.get("value_mean") is not None:
        low, high = bound["feasible_mean"], bound["value_mean"]
        axes.axhspan(low, high, color=BOUND, alpha=0.15, linewidth=0, label=f"reached by perfect foresight: {low:.4g}")
        axes.axhline(high, color=BOUND, linewidth=1.4, label=f"no policy exceeds {high:.4g}")
    axes.set_xlabel(f"inference per mission, {unit}")
    axes.set_ylabel("value per mission")
    axes.set_title(f"{report['scenario']}: {report['seeds']} missions, 95 % intervals", color=INK, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.margins(0.08)
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    axes.set_xlim(left=max(left, 0.0))  # intervals of few missions reach below no joules at all
    axes.set_ylim(bottom=max(bottom, min([0.0, *(grade["value_mean"] for grade in grades.values())])))
    figure.legend(loc="outside right upper", frameon=False, fontsize=8.5)
    try:
        figure.savefig(path, dpi=140)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be written: {error}. Use a .png, .svg or .pdf in a folder.") from error


def _point(axes: Any, name: str, grade: Mapping[str, Any], scale: float, colour: str) -> None:
    kind = name.removeprefix("raw:").partition(":")[0]
    fixed, learned = kind == "fixed", kind in LEARNED_KINDS
    x, y = grade["energy_j_mean"] / scale, grade["value_mean"]
    x_low, x_high = (bound / scale for bound in grade["energy_j_ci95"])
    y_low, y_high = grade["value_ci95"]
    axes.errorbar(
        x,
        y,
        xerr=[[x - x_low], [x_high - x]],
        yerr=[[y - y_low], [y_high - y]],
        fmt="s" if fixed else "o" if learned else "^",
        color=colour,
        markerfacecolor="white" if name.startswith("raw:") else None,
        markersize=6,
        elinewidth=0.8,
        capsize=2,
        alpha=0.9,
        label=f"{name}: {y:.4g}",
    )
