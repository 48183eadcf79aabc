"""Draws a mission: path, power, battery and load on one page (PNG, SVG or PDF by the file's name)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .cover import cover_map
from .episode import draw_episode
from .errors import PowerSimError
from .frames import FloatArray, utc_from_unix
from .scenario import Scenario
from .simulator import MissionTrack, Simulator
from .slot import IDLE
from .timeline import timeline_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _GREY, _SHADE = "#1d2733", "#6b7785", "#dfe4ea"
_SUN, _NIGHT, _LOAD, _CHARGE = "#d98e04", "#3d5a80", "#b23a48", "#2a7f62"
_COVERS = ("#7a1f3d", "#c8553d", "#e3a857", "#7d9d5b", "#4f7942", "#8d99ae", "#b7c4d3", "#5c677d")
_LAND = "#e9ecdf"


def plot_scenario(scenario: Scenario, seed: int, path: Path) -> None:
    """Write the picture of the mission of ``seed``; ``PowerSimError`` where matplotlib or the folder is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PowerSimError("drawing needs matplotlib. Install it: pip install 'subsolar[sim]'.") from error
    simulator = Simulator(scenario, seed)
    track, charge_j = simulator.track(), _idle_charge_j(simulator)
    hours = (track.unix_s - track.unix_s[0]) / 3600.0
    figure = Figure(figsize=(11.0, 9.5), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(4, 1, height_ratios=(2.4, 1.0, 1.0, 1.2))
    axes = [figure.add_subplot(grid[row]) for row in range(4)]
    _draw_map(axes[0], track, scenario)
    _draw_power(axes[1], track, hours)
    _draw_battery(axes[2], scenario, seed, hours, charge_j)
    _draw_load(axes[3], scenario, seed, hours)
    for axis in axes[1:]:
        _shade(axis, hours, track.sunlit_frac < 0.5)
        axis.set_xlim(0.0, float(hours[-1]) + scenario.orbit.slot_s / 3600.0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(f"hours after {utc_from_unix(float(track.unix_s[0]))}")
    figure.suptitle(f"{scenario.name}, seed {seed}: {simulator.slots} slots of {scenario.orbit.slot_s:g} s", color=_INK)
    try:
        figure.savefig(path, dpi=140)
    except (OSError, ValueError) as error:
        raise PowerSimError(
            f"{path} cannot be written: {error}. Use a .png, .svg or .pdf in a writable folder."
        ) from error


def _idle_charge_j(simulator: Simulator) -> FloatArray:
    """Charge at the end of each slot if nothing is ever inferred."""
    return np.array([simulator.advance(IDLE, None).charge_j for _ in range(simulator.slots)])


def _draw_map(axis: Axes, track: MissionTrack, scenario: Scenario) -> None:
    codes, names = cover_map()
    land = np.where(codes == names.index("sea"), np.nan, 0.0)
    axis.imshow(land, extent=(-180, 180, -90, 90), origin="lower", cmap=_one_colour(), aspect="auto", zorder=0)
    lon, lat = np.degrees(track.longitude_rad), np.degrees(track.latitude_rad)
    lit = track.sunlit_frac >= 0.5
    axis.scatter(lon[lit], lat[lit], s=9, color=_SUN, label="in sunlight", zorder=2)
    if not lit.all():
        axis.scatter(lon[~lit], lat[~lit], s=9, color=_NIGHT, label="in shadow", zorder=2)
    contact = track.pass_s > 0
    if contact.any() and scenario.link.stations:
        axis.scatter(lon[contact], lat[contact], s=46, facecolors="none", edgecolors=_CHARGE, label="in contact")
    for name, station in scenario.link.stations.items():
        axis.plot(station.longitude_deg, station.latitude_deg, "^", color=_CHARGE, markersize=6)
        axis.annotate(
            name, (station.longitude_deg, station.latitude_deg), (5, 4), textcoords="offset points", fontsize=8
        )
    if scenario.orbit.kind == "sortie":
        axis.set_xlim(lon.min() - 1, lon.max() + 1)
        axis.set_ylim(lat.min() - 0.6, lat.max() + 0.6)
    axis.set_xlabel("longitude, degrees")
    axis.set_ylabel("latitude, degrees")
    _legend(axis, ncols=3)


def _one_colour() -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([_LAND])


def _draw_power(axis: Axes, track: MissionTrack, hours: FloatArray) -> None:
    slot_s = float(track.unix_s[1] - track.unix_s[0]) if len(hours) > 1 else 1.0
    axis.step(hours, track.harvest_j / slot_s, where="post", color=_SUN, label="harvest")
    axis.step(hours, track.load_j / slot_s, where="post", color=_LOAD, label="load without inference")
    axis.set_ylabel("W")
    _legend(axis, ncols=2)


def _draw_battery(axis: Axes, scenario: Scenario, seed: int, hours: FloatArray, charge_j: FloatArray) -> None:
    line = timeline_of(scenario)
    plant, first = line.plant, draw_episode(scenario, line, seed).first
    axis.plot(hours, charge_j / plant.capacity_j, color=_CHARGE, label="charge without inference")
    if not plant.paper:
        floor = line.floor_j[first : first + len(hours)] / plant.capacity_j
        axis.plot(hours, floor, color=_LOAD, linewidth=1, label="needed until the next sunlight")
    axis.axhline(plant.reserve_j / plant.capacity_j, color=_GREY, linestyle=":", label="reserve")
    axis.set_ylim(min(0.95 * plant.reserve_j / plant.capacity_j, 0.6), 1.02)
    axis.set_ylabel("charge")
    _legend(axis, ncols=3)


def _draw_load(axis: Axes, scenario: Scenario, seed: int, hours: FloatArray) -> None:
    line = timeline_of(scenario)
    arrived = draw_episode(scenario, line, seed).arrived_tile / 1e3
    bottom = np.zeros(len(hours))
    for k, name in enumerate(line.covers):
        width = scenario.orbit.slot_s / 3600.0
        axis.bar(hours, arrived[:, k], width, bottom, align="edge", color=_COVERS[k % len(_COVERS)], label=name)
        bottom = bottom + arrived[:, k]
    axis.set_ylabel("thousand tiles")
    _legend(axis, ncols=4)


def _legend(axis: Axes, ncols: int) -> None:
    """Above the axes, where it covers nothing."""
    handles, _ = axis.get_legend_handles_labels()
    if handles:
        axis.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.2,
            fontsize=8,
            ncols=max(ncols, len(handles)),
            frameon=False,
        )


def _shade(axis: Axes, hours: FloatArray, dark: Any) -> None:
    """Grey bands where the craft is in shadow."""
    width = float(hours[1] - hours[0]) if len(hours) > 1 else 1.0
    for start in hours[dark]:
        axis.axvspan(float(start), float(start) + width, color=_SHADE, linewidth=0, zorder=-1)
