"""The built-in scenarios are what they say they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from power_sim import IDLE, ModelProfile, Scenario, ScenarioError, Simulator, admit, load_scenario, scenario_names
from power_sim.facts import facts_of
from power_sim.sun import beta_angle_rad, sun_eci_m
from power_sim.swath import swath_m, tile_rate_per_s
from power_sim.timeline import timeline_of
from power_sim.track import state_at

ENERGY_LIMITED = ("cubesat-6u", "eclipse-heavy", "iss-orbit", "uav-survey")
REAL = (*ENERGY_LIMITED, "sentinel-like")


def test_the_seven_scenarios_are_built_in() -> None:
    assert set(scenario_names()) == {*REAL, "paper", "paper-hidden"}


@pytest.mark.parametrize("name", ENERGY_LIMITED)
def test_in_an_energy_limited_scenario_demand_is_between_half_and_three_times_the_supply(name: str) -> None:
    assert 0.5 <= facts_of(load_scenario(name)).demand_to_supply <= 3.0


def test_power_is_roomy_in_sentinel_like() -> None:
    assert facts_of(load_scenario("sentinel-like")).demand_to_supply < 0.1


@pytest.mark.parametrize("name", REAL)
def test_an_idle_craft_keeps_its_reserve_wherever_it_starts(name: str) -> None:
    scenario = load_scenario(name)
    line = timeline_of(scenario)
    initial_j = line.plant.capacity_j * scenario.power.initial_charge_min_frac
    needed_j = line.floor_j[0] - (line.harvest_j[0] - line.load_j[0])
    assert line.floor_j.max() <= initial_j
    assert needed_j <= initial_j


@pytest.mark.parametrize("name", REAL)
def test_a_busy_slot_has_ten_thousand_to_half_a_million_tiles(name: str) -> None:
    facts = facts_of(load_scenario(name), seeds=6)
    assert 1e4 <= facts.busiest_tile <= 6e5


def net(name: str, accuracy: float, energy_j: float, time_s: float) -> ModelProfile:
    return ModelProfile(
        name=name,
        accuracy_min_frac=accuracy,
        accuracy_max_frac=accuracy,
        energy_min_j=energy_j,
        energy_max_j=energy_j,
        time_min_s=time_s,
        time_max_s=time_s,
    )


def total_reward(scenario: Scenario, choice: int) -> float:
    total = 0.0
    for seed in range(4):
        simulator = Simulator(scenario, seed)
        while simulator.slot < simulator.slots:
            option = simulator.observe().options[choice]
            total += simulator.advance(admit(simulator.observe(), option), option).reward
    return total


@pytest.mark.parametrize("name", ENERGY_LIMITED)
def test_taking_the_most_accurate_network_always_loses_where_it_costs_four_times_as_much(name: str) -> None:
    pool = [net("frugal", 0.91, 0.005, 0.00034), net("accurate", 0.94, 0.02, 0.0013)]
    scenario = load_scenario(name).with_pool(pool)
    assert total_reward(scenario, 1) < 0.75 * total_reward(scenario, 0)


def test_the_sentinel_like_orbit_crosses_the_equator_southward_at_half_past_ten() -> None:
    orbit = load_scenario("sentinel-like").orbit
    line = timeline_of(load_scenario("sentinel-like"))
    south = (line.latitude_rad[:-1] > 0) & (line.latitude_rad[1:] <= 0)
    local_h = (line.start_unix_s[:-1] / 3600 + np.degrees(line.longitude_rad[:-1]) / 15) % 24
    assert south.sum() > 100
    assert abs(float(np.median(local_h[south])) - 10.5) < 0.35
    r, _ = state_at(orbit, line.start_unix_s[:30])
    assert np.linalg.norm(r, axis=1).mean() == pytest.approx(6378.137e3 + 786e3, abs=15e3)


def test_the_beta_angle_of_the_iss_orbit_swings_widely_and_the_equatorial_one_stays_in_shadow() -> None:
    orbit = load_scenario("iss-orbit").orbit
    times = timeline_of(load_scenario("iss-orbit")).start_unix_s[::100]
    beta = np.degrees(beta_angle_rad(*state_at(orbit, times), sun_eci_m(times)))
    assert np.ptp(beta) > 70
    eclipse = timeline_of(load_scenario("eclipse-heavy"))
    assert 0.60 < eclipse.sunlit_frac.mean() < 0.64


def test_a_sortie_has_neither_sun_nor_shadow_and_sweeps_what_its_camera_sees() -> None:
    scenario = load_scenario("uav-survey")
    line = timeline_of(scenario)
    assert line.harvest_j.sum() == 0.0
    assert line.sunlit_frac.min() == 1.0
    width = swath_m(120.0, math.radians(62.0))
    assert width == pytest.approx(144.2, abs=0.1)
    assert line.mean_tile.sum(axis=1) == pytest.approx(tile_rate_per_s(18.0, width, 1.6) * 30.0)
    state = Simulator(scenario, 0).observe()
    assert state.pass_s == 30.0
    assert state.eclipse_in_s > 1e6


def test_night_brings_no_pictures_to_an_optical_sensor() -> None:
    simulator = Simulator(load_scenario("cubesat-6u"), 3)
    track = simulator.track()
    sun = sun_eci_m(track.unix_s + 90.0)
    r, _ = state_at(load_scenario("cubesat-6u").orbit, track.unix_s + 90.0)
    elevation = np.degrees(np.arcsin(np.sum(r * sun, axis=1) / np.linalg.norm(r, axis=1) / np.linalg.norm(sun, axis=1)))
    assert track.arrived_tile[elevation < 0].sum() == 0
    assert track.arrived_tile[elevation > 20].sum() > 0


def test_a_trace_that_is_not_the_one_named_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("slot,cover,tile\n")
    changes = {"workload.kind": "trace", "workload.trace": f'"{path}"', "workload.trace_sha256": '"00"'}
    with pytest.raises(ScenarioError, match="trace_sha256"):
        load_scenario("paper", changes)
    with pytest.raises(ScenarioError, match="No such file"):
        load_scenario("paper", {**changes, "workload.trace": "elsewhere.csv"})


def test_a_recorded_trace_is_flown_as_written_and_a_gap_is_refused(tmp_path: Path) -> None:

    path = tmp_path / "load.csv"
    rows = [f"{slot},scene,{slot * 10}" for slot in range(30)]
    path.write_text("slot,cover,tile\n" + "\n".join(rows) + "\n")
    changes = {"workload.kind": "trace", "workload.trace": f'"{path}"'}
    simulator = Simulator(load_scenario("paper", changes), 0)
    seen = []
    for _ in range(simulator.slots):
        seen.append(simulator.observe().arrived_tile)
        simulator.advance(IDLE, None)
    assert seen == [slot * 10 for slot in range(30)]

    for broken, words in (
        (rows[:-1], "slot 29 of 30 is missing"),
        ([*rows, rows[3]], "repeats"),
        ([*rows[:-1], "29,moon,5"], "line 31"),
        ([*rows[:-1], "29,scene,nan"], "line 31"),
        ([*rows[:-1], "29,scene,-1"], "line 31"),
    ):
        path.write_text("slot,cover,tile\n" + "\n".join(broken) + "\n")
        with pytest.raises(ScenarioError, match=words):
            Simulator(load_scenario("paper", changes), 0)
