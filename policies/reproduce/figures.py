"""Figures 8 to 13 as PNG, each with its numbers as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ..confidence import Interval
from ..curves import CurvePoint
from .flights import Orbits
from .page import write_csv

COLOURS = {"bound": "#2a7f62", "dqn": "#b23a48", "q-learning": "#3d5a80", "policy-gradient": "#d98e04"}
OTHER = "#6b7785"
MODELS = ("MobileNetV3", "MobileNetV2", "ResNet18")
WINDOW = 40
"""Points of a training curve."""


def figure_8(folder: Path, flown: Mapping[str, Mapping[str, Orbits]]) -> None:
    """Budget, choice and index in each slot of the first orbit."""
    rows: list[Sequence[object]] = []
    figure, panels = _panels(3, len(flown), (11, 8))
    for column, (preset, orbits) in enumerate(flown.items()):
        ours, best = orbits["dqn"][0], orbits["bound"][0]
        slots = range(1, len(ours) + 1)
        panels[0][column].plot(slots, [line.budget_j / 1e6 for line in ours], color=OTHER)
        panels[1][column].scatter(slots, [MODELS.index(line.model) for line in ours], color=COLOURS["dqn"], s=14)
        panels[1][column].set_yticks(range(3), MODELS)
        for name, orbit in (("bound", best), ("dqn", ours)):
            panels[2][column].plot(slots, [line.index for line in orbit], color=COLOURS[name], label=name)
        panels[0][column].set_title(f"{preset}, seed 0", loc="left")
        panels[2][column].set_xlabel("slot")
        rows += [
            (preset, slot, a.budget_j, a.model, a.index, a.aee, b.model, b.index)
            for slot, a, b in zip(slots, ours, best, strict=True)
        ]
    panels[0][0].set_ylabel("budget, MJ")
    panels[2][0].set_ylabel("index (19)")
    panels[2][0].legend(frameon=False)
    header = ("preset", "slot", "budget_j", "dqn_model", "dqn_index", "dqn_aee", "bound_model", "bound_index")
    _write(folder, "figure-08", figure, header, rows)


def figure_9(folder: Path, by_load: Mapping[str, Mapping[str, Mapping[float, Interval]]]) -> None:
    """Mean index against the images per slot."""
    rows: list[Sequence[object]] = []
    figure, panels = _panels(1, len(by_load), (11, 4.2))
    for axes, (preset, methods) in zip(panels[0], by_load.items(), strict=True):
        for name, loads in methods.items():
            means = [interval.mean for interval in loads.values()]
            half = [interval.high - interval.mean for interval in loads.values()]
            axes.errorbar(list(loads), means, yerr=half, label=name, capsize=2, color=COLOURS.get(name, OTHER))
            rows += [(preset, name, load, i.mean, i.low, i.high) for load, i in loads.items()]
        axes.set_title(preset, loc="left")
        axes.set_xlabel("images per slot")
    panels[0][0].set_ylabel("index (19), 95 %")
    panels[0][0].legend(frameon=False)
    _write(folder, "figure-09", figure, ("preset", "policy", "images", "index", "low", "high"), rows)


def figure_10(folder: Path, flown: Mapping[str, Mapping[str, Orbits]], fixed: str) -> None:
    """Cumulative index over one orbit, mean over seeds."""
    rows: list[Sequence[object]] = []
    figure, panels = _panels(1, len(flown), (11, 4.2))
    for axes, (preset, orbits) in zip(panels[0], flown.items(), strict=True):
        for name in ("bound", "dqn", fixed):
            heap = np.mean([list(accumulate(line.index for line in orbit)) for orbit in orbits[name]], axis=0)
            axes.plot(range(1, len(heap) + 1), heap, label=f"{name}: {heap[-1]:.1f}", color=COLOURS.get(name, OTHER))
            rows += [(preset, name, slot, value) for slot, value in enumerate(heap.tolist(), start=1)]
        axes.set_title(preset, loc="left")
        axes.set_xlabel("slot")
        axes.legend(frameon=False)
    panels[0][0].set_ylabel("cumulative index (19)")
    _write(folder, "figure-10", figure, ("preset", "policy", "slot", "cumulative_index"), rows)


def figure_11(
    folder: Path,
    curves: Mapping[str, Mapping[str, Sequence[CurvePoint]]],
    bound: Mapping[str, float],
    slots: int,
) -> None:
    """Index against training episode, exploration included."""
    rows: list[Sequence[object]] = []
    figure, panels = _panels(1, len(curves), (11, 4.2))
    for axes, (preset, methods) in zip(panels[0], curves.items(), strict=True):
        for name, points in methods.items():
            episodes, index = sampled(points, slots)
            axes.plot(episodes, index, label=name, color=COLOURS[name])
            rows += [(preset, name, episode, value) for episode, value in zip(episodes, index, strict=True)]
        axes.axhline(bound[preset], color=COLOURS["bound"], label="bound")
        axes.set_xscale("log")
        axes.set_title(preset, loc="left")
        axes.set_xlabel("training episodes")
    panels[0][0].set_ylabel("index (19)")
    panels[0][0].legend(frameon=False)
    _write(folder, "figure-11", figure, ("preset", "policy", "episode", "index"), rows)


def figure_12(folder: Path, sweeps: Mapping[str, Mapping[str, Mapping[float, Interval | None]]], bound: float) -> None:
    """Index against learning rate and discount."""
    rows: list[Sequence[object]] = []
    figure, panels = _panels(1, 2, (11, 4.2))
    for axes, (what, methods) in zip(panels[0], sweeps.items(), strict=True):
        for name, values in methods.items():
            kept = {value: interval for value, interval in values.items() if interval is not None}
            half = [interval.high - interval.mean for interval in kept.values()]
            means = [interval.mean for interval in kept.values()]
            axes.errorbar(list(kept), means, yerr=half, label=name, capsize=2, marker="o", color=COLOURS[name])
            rows += [(what, name, value, i.mean, i.low, i.high) for value, i in kept.items()]
        axes.axhline(bound, color=COLOURS["bound"], label="bound")
        axes.set_xlabel(what)
    panels[0][0].set_xscale("log")
    panels[0][0].set_ylabel("index (19), 95 %")
    panels[0][0].legend(frameon=False)
    _write(folder, "figure-12", figure, ("swept", "policy", "value", "index", "low", "high"), rows)


def figure_13(folder: Path, measures: Mapping[str, Mapping[str, float]]) -> None:
    """Index, stability, memory and training time, each as a share of the best method (1 is best)."""
    figure, panels = _panels(1, 1, (8, 4.2))
    names = list(next(iter(measures.values())))
    for shift, (method, values) in enumerate(measures.items()):
        shares = []
        for name in names:
            every = [other[name] for other in measures.values()]
            better = max(every) if name == "index" else min(every)
            worse, ours = (better, values[name]) if name == "index" else (values[name], better)
            shares.append(ours / worse if worse > 0 else 1.0)
        panels[0][0].bar(np.arange(len(names)) + 0.26 * shift, shares, 0.24, label=method, color=COLOURS[method])
    panels[0][0].set_xticks(np.arange(len(names)) + 0.26, [name.replace("_", " ") for name in names])
    panels[0][0].set_ylabel("share of the best (1 is best)")
    panels[0][0].legend(frameon=False)
    rows = [(method, *values.values()) for method, values in measures.items()]
    _write(folder, "figure-13", figure, ("policy", *names), rows)


def sampled(points: Sequence[CurvePoint], slots: int) -> tuple[list[int], list[float]]:
    """Return a training curve as at most ``WINDOW`` means: the episode at their end and the index per slot."""
    parts = np.array_split(np.arange(len(points)), min(WINDOW, len(points))) if points else []
    episodes = [points[part[-1]].step // slots for part in parts]
    return episodes, [float(np.mean([points[i].reward_mean for i in part])) / slots for part in parts]


def curve_variance(points: Sequence[CurvePoint], slots: int) -> float:
    """Return Table 5's variance: mean squared distance of a sampling point from the mean of its two neighbours."""
    _, index = sampled(points, slots)
    if len(index) < 3:
        return 0.0
    values = np.array(index)
    return float(np.mean((values[1:-1] - 0.5 * (values[:-2] + values[2:])) ** 2))


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _write(folder: Path, name: str, figure: Any, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
    write_csv(folder / f"{name}.csv", header, rows)
