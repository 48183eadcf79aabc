"""Everything about a mission that no choice can change: computed once per scenario, cut and drawn from per seed."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from . import leo_iisat
from .constants import EARTH_MEAN_RADIUS_M
from .contacts import Pass
from .dynamics import Plant
from .errors import ScenarioError
from .frames import FloatArray
from .orbit import orbit_period_s
from .scenario import Scenario, read_scenario
from .sections import PowerSection
from .swath import swath_m, tile_rate_per_s
from .track import Track, fly, fly_span

ZERO_C_K = 273.15


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Per-slot arrays over the whole window of a scenario, the same for every seed. Shapes: (slots,) unless said."""

    plant: Plant
    episode_slots: int
    starts: int
    """How many slots an episode may start in."""
    start_unix_s: FloatArray
    latitude_rad: FloatArray
    """At mid-slot."""
    longitude_rad: FloatArray
    sunlit_frac: FloatArray
    eclipse_in_s: FloatArray
    sunrise_in_s: FloatArray
    harvest_j: FloatArray
    load_j: FloatArray
    """``paper``: the charging share instead, zero in shadow."""
    bus_j: FloatArray
    """The load that the craft carries whatever is chosen; zero in ``paper``."""
    floor_j: FloatArray
    """Charge needed at the end of each slot; ``paper``: slots left of this shadow, zero in sunlight."""
    sink_k: FloatArray
    pass_s: FloatArray
    pass_in_s: FloatArray
    downlink_byte: FloatArray
    radio_j: FloatArray
    covers: tuple[str, ...]
    """Most valuable first."""
    mean_tile: FloatArray
    """(slots, covers): expected tiles before cloud."""
    value: FloatArray
    """(covers,)."""
    queued: FloatArray
    """(covers,): 1 where leftovers wait, else 0."""
    accuracy: FloatArray
    """(options, covers)."""
    models: FloatArray
    """(2, 3, options): mean and width of the ranges of accuracy, joules and seconds."""
    expected_value: FloatArray
    net_sum_j: FloatArray
    """(slots + 1,): running sum of harvest less load."""
    value_sum: FloatArray
    """(slots + 1,): running sum of ``expected_value``."""
    passes: tuple[Pass, ...]
    track: Track | None


def timeline_of(scenario: Scenario, orbits: float | None = None) -> Timeline:
    """Return the scenario's timeline, computed once per process and number of orbits."""
    return _cached(
        json.dumps(scenario.to_table(), sort_keys=True), scenario.orbit.orbits if orbits is None else float(orbits)
    )


@lru_cache(maxsize=128)
def _cached(table_json: str, orbits: float) -> Timeline:
    table = json.loads(table_json)
    return build_timeline(read_scenario(table, table["name"]), orbits)


def build_plant(scenario: Scenario) -> Plant:
    """Return the constants of a mission, in SI units and joules per slot."""
    power, heat, limits, work = scenario.power, scenario.thermal, scenario.limits, scenario.workload
    slot_s = scenario.orbit.slot_s
    capacity_j = power.battery_wh * 3600.0 * power.battery_health_frac
    keep = math.exp(-heat.conductance_w_k * slot_s / heat.heat_capacity_j_k)
    return Plant(
        paper=power.kind == "paper",
        slot_s=slot_s,
        capacity_j=capacity_j,
        reserve_j=capacity_j * power.reserve_frac,
        charge_eff_frac=power.charge_eff_frac,
        discharge_eff_frac=power.discharge_eff_frac,
        max_charge_j=power.max_charge_w * slot_s,
        max_discharge_j=power.max_discharge_w * slot_s,
        idle_j=power.idle_compute_w * slot_s,
        busy_s=slot_s * limits.busy_max_frac if limits.time_limited else math.inf,
        thermal=heat.enabled,
        keep_frac=keep,
        rise_k_per_j=(1 - keep) / (heat.conductance_w_k * slot_s),
        throttle_k=heat.throttle_c + ZERO_C_K,
        limit_k=heat.limit_c + ZERO_C_K if heat.enabled else math.inf,
        queue_max_tile=float(work.queue_max_tile),
        product_byte=work.product_byte,
    )


def build_timeline(scenario: Scenario, orbits: float) -> Timeline:
    """Compute the seed-independent part of a scenario. Cost is linear in the slots of its window."""
    return timeline_along(scenario, fly(scenario, orbits))


def timeline_from(scenario: Scenario, start_unix_s: float, slots: int) -> Timeline:
    """Return the timeline of ``slots`` slots from any moment on, as a flight needs it; no window, no cache."""
    return timeline_along(scenario, fly_span(scenario, start_unix_s, slots))


def timeline_along(scenario: Scenario, track: Track) -> Timeline:
    """Return the timeline of a craft that follows ``track``."""
    plant = build_plant(scenario)
    slots, episode = track.slots, track.episode_slots
    names, value, queued, mean_tile = _workload(scenario, track)
    power = scenario.power
    if plant.paper:
        harvest, load, floor = _paper_power(scenario, plant, slots)
    else:
        harvest = track.irradiation_j_m2 * power.cell_eff_frac * power.panel_health_frac
        harvest = harvest * power.panel_temperature_frac * power.conversion_eff_frac
        constant_w = bus_w(power, track) + power.idle_compute_w
        heater_w = power.eclipse_heater_w * (1 - track.sunlit_frac)
        load = (constant_w + heater_w) * plant.slot_s + power.radio_w * track.pass_s
        if power.payload_w or power.payload_standby_w:
            load = load + payload_j(power, track)
        floor = charge_floor_j(plant, harvest, load)
    expected = mean_tile @ value * (1 - scenario.workload.cloud_mean_frac)
    bus = np.zeros(slots) if plant.paper else load
    net = harvest - bus
    heat = scenario.thermal
    sink_c = heat.eclipse_sink_c + (heat.sunlit_sink_c - heat.eclipse_sink_c) * track.sunlit_frac
    classes = scenario.workload.covers
    accuracy = np.array([[m.accuracy_on_frac(n, classes[n].classes) for n in names] for m in scenario.pool.models])
    pool = scenario.pool.models
    low = np.array([[m.accuracy_min_frac, m.energy_min_j, m.time_min_s] for m in pool]).T
    high = np.array([[m.accuracy_max_frac, m.energy_max_j, m.time_max_s] for m in pool]).T
    mean = np.array([[spread.mean for spread in m.spreads()] for m in pool]).T
    return Timeline(
        plant=plant,
        episode_slots=episode,
        starts=slots - episode + 1 if scenario.orbit.window_days > 0 else 1,
        start_unix_s=track.start_unix_s,
        latitude_rad=track.latitude_rad,
        longitude_rad=track.longitude_rad,
        sunlit_frac=track.sunlit_frac,
        eclipse_in_s=track.eclipse_in_s,
        sunrise_in_s=track.sunrise_in_s,
        harvest_j=harvest,
        load_j=load,
        bus_j=bus,
        floor_j=floor,
        sink_k=sink_c + ZERO_C_K,
        pass_s=track.pass_s,
        pass_in_s=track.pass_in_s,
        downlink_byte=np.floor(track.downlink_byte),
        radio_j=power.radio_w * track.pass_s,
        covers=names,
        mean_tile=mean_tile,
        value=value,
        queued=queued,
        accuracy=accuracy,
        models=np.stack([mean, high - low]),
        expected_value=expected,
        net_sum_j=np.concatenate([[0.0], np.cumsum(net)]),
        value_sum=np.concatenate([[0.0], np.cumsum(expected)]),
        passes=track.passes,
        track=track,
    )


def bus_w(power: PowerSection, track: Track) -> FloatArray | float:
    """Return the bus's draw by its mode: the one that the scenario sets, else nominal, in shadow and in contact."""
    if power.bus_mode != "nominal":
        return power.bus_by_mode_w[power.bus_mode]
    nominal_w = power.bus_w
    draw_w: FloatArray | float = nominal_w
    for mode, share in (("eclipse", 1 - track.sunlit_frac), ("contact", track.pass_s / track.slot_s)):
        if mode in power.bus_by_mode_w:
            draw_w = draw_w + (power.bus_by_mode_w[mode] - nominal_w) * share
    return draw_w


def payload_j(power: PowerSection, track: Track) -> FloatArray:
    """Return what the payload draws in each slot: on while the ground below is bright enough, else in standby. A
    bus mode that is set keeps it in standby."""
    imaging_s = np.sum(track.step_s, axis=1) if power.bus_mode == "nominal" else np.zeros(track.slots)
    return np.asarray(power.payload_w * imaging_s + power.payload_standby_w * (track.slot_s - imaging_s))


def awake_j(scenario: Scenario) -> list[float]:
    """Return what a slot in each option's power mode draws beside its tiles: the mode's idle draw above
    ``idle_compute_w``."""
    power, slot_s = scenario.power, scenario.orbit.slot_s
    by_mode, lowest_w = power.idle_compute_by_mode_w, power.idle_compute_w
    return [(by_mode.get(model.mode, lowest_w) - lowest_w) * slot_s for model in scenario.pool.models]


def charge_floor_j(plant: Plant, harvest_j: FloatArray, load_j: FloatArray) -> FloatArray:
    """Return the charge needed at the end of each slot so that idling from there never goes below the reserve.

    Computed backwards; the end of the window needs the reserve alone. Where even a full battery would not do, it is
    the capacity.
    """
    net = harvest_j - load_j
    gain = np.minimum(np.maximum(net, 0.0) * plant.charge_eff_frac, plant.max_charge_j)
    change = (gain - np.maximum(-net, 0.0) / plant.discharge_eff_frac).tolist()
    floor = [plant.reserve_j] * len(change)
    for i in range(len(change) - 2, -1, -1):
        floor[i] = min(max(plant.reserve_j, floor[i + 1] - change[i + 1]), plant.capacity_j)
    return np.array(floor)


def _paper_power(scenario: Scenario, plant: Plant, slots: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    power, orbit = scenario.power, scenario.orbit
    n = orbit.slots_per_orbit
    lit = round(power.sunlit_frac * n)
    at = np.arange(slots) % n
    harvest = [
        leo_iisat.harvest_j(
            i / n,
            (i + 1) / n,
            orbit.slot_s * n,
            panel_m2=power.panel_m2,
            efficiency_frac=power.cell_eff_frac,
            sunlit_frac=power.sunlit_frac,
            sigma_frac=power.sigma_frac,
            peak_w_m2=power.peak_irradiance_w_m2,
        )
        for i in range(lit)
    ] + [0.0] * (n - lit)
    start_j = plant.capacity_j * power.initial_charge_max_frac
    share = leo_iisat.charging_share_j(plant.capacity_j, start_j, power.sunlit_frac, n)
    return np.array(harvest)[at], np.where(at < lit, share, 0.0), np.where(at < lit, 0.0, n - at)


def _workload(scenario: Scenario, track: Track) -> tuple[tuple[str, ...], FloatArray, FloatArray, FloatArray]:
    work = scenario.workload
    names = tuple(sorted(work.covers, key=lambda name: (-work.covers[name].value, name)))
    value = np.array([work.covers[name].value for name in names])
    queued = np.array([float(work.covers[name].queue) for name in names])
    if work.kind == "uniform":
        mean = np.zeros((track.slots, len(names)))
        mean[:, 0] = 0.5 * (work.tile_min + work.tile_max)
    elif work.kind == "trace":
        mean = read_trace(Path(work.trace), names, track.slots)
    else:
        swept = swept_tile_per_s(scenario)
        rate = np.array([work.covers[name].tile_per_s + work.covers[name].swath_frac * swept for name in names])
        if work.kind == "patches":
            share = np.array([work.covers[name].share for name in names])
            mean = np.ones((track.slots, 1)) * (rate * share / share.sum() * scenario.orbit.slot_s)
        else:
            mean = track.cover_s(names) * rate
    return names, value, queued, mean


def swept_tile_per_s(scenario: Scenario) -> float:
    """Return the tiles per second under the scenario's camera; 0 without one."""
    orbit, work = scenario.orbit, scenario.workload
    if work.field_of_view_deg == 0:
        return 0.0
    height_m = orbit.altitude_km * 1e3
    width_m = swath_m(height_m, math.radians(work.field_of_view_deg), math.radians(work.roll_deg))
    if not math.isfinite(width_m):
        raise ScenarioError(
            f"{scenario.name}: workload.roll_deg = {work.roll_deg:g} with field_of_view_deg = "
            f"{work.field_of_view_deg:g} looks past the horizon. Keep roll plus half the field of view below 90."
        )
    speed_m_s = orbit.speed_m_s
    if orbit.kind != "sortie":
        speed_m_s = 2 * math.pi * EARTH_MEAN_RADIUS_M / orbit_period_s(height_m, EARTH_MEAN_RADIUS_M)
    return tile_rate_per_s(speed_m_s, width_m, work.tile_edge_m)


def read_trace(path: Path, covers: tuple[str, ...], slots: int) -> FloatArray:
    """Return recorded arrivals (slots, covers) from a CSV with the columns slot, cover, tile; gaps and repeats are
    refused."""
    where = f"workload.trace = {str(path)!r}"
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{where} cannot be read: {error}. Check the path.") from error
    tiles = np.full((slots, len(covers)), np.nan)
    for number, row in enumerate(rows, start=2):
        try:
            slot, cover, tile = int(row["slot"]), covers.index(row["cover"]), float(row["tile"])
        except (KeyError, TypeError, ValueError) as error:
            raise ScenarioError(
                f"{where}: line {number}: {row} is not slot, cover, tile with a cover of {covers}."
            ) from error
        if slot >= slots:
            continue
        if slot < 0 or not math.isfinite(tile) or tile < 0 or not np.isnan(tiles[slot, cover]):
            raise ScenarioError(
                f"{where}: line {number}: {row} repeats a slot or is negative. Give each slot and cover once."
            )
        tiles[slot, cover] = tile
    missing = np.flatnonzero(np.all(np.isnan(tiles), axis=1))
    if missing.size:
        raise ScenarioError(
            f"{where}: slot {missing[0]} of {slots} is missing. Give every slot, 0 tiles where nothing arrived."
        )
    return np.asarray(np.nan_to_num(tiles))
