"""Battery, heat, panels and admission: numbers worked out by hand, and one text for numbers and arrays."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from power_sim import admit, dynamics, load_scenario
from power_sim.constants import EARTH_RADIUS_M
from power_sim.dynamics import Plant
from power_sim.ops import SCALAR, VECTOR, on_numbers
from power_sim.panels import panel_area_m2
from power_sim.sections import PowerSection
from power_sim.simulator import Simulator
from power_sim.timeline import build_plant, charge_floor_j

PLANT = replace(
    build_plant(load_scenario("cubesat-6u")),
    slot_s=100.0,
    capacity_j=1000.0,
    reserve_j=200.0,
    charge_eff_frac=0.9,
    discharge_eff_frac=0.8,
    max_charge_j=90.0,
    max_discharge_j=400.0,
)


@pytest.mark.parametrize(
    ("charge", "harvest", "load", "energy", "after", "unserved"),
    [
        (500.0, 100.0, 50.0, 0.0, 545.0, 0.0),  # 50 J over, 90 % stored
        (500.0, 300.0, 50.0, 0.0, 590.0, 0.0),  # no more than 90 J a slot go in
        (980.0, 100.0, 50.0, 0.0, 1000.0, 0.0),  # no more than there is room for
        (500.0, 0.0, 60.0, 20.0, 400.0, 0.0),  # 80 J cost 100 J of charge
        (50.0, 0.0, 60.0, 0.0, 0.0, 20.0),  # 50 J of charge give 40 J
    ],
)
def test_a_slot_moves_the_charge_as_worked_out_by_hand(
    charge: float, harvest: float, load: float, energy: float, after: float, unserved: float
) -> None:
    got = dynamics.next_charge_j(SCALAR, PLANT, charge, harvest, load, energy)
    assert got == pytest.approx((after, unserved))


def test_what_is_lost_and_spilled_closes_the_balance_by_hand() -> None:
    # 250 J over: 100 J go towards the battery, 90 J arrive, 150 J find no taker
    assert dynamics.spilled_and_lost_j(PLANT, 500.0, 590.0, 300.0, 50.0, 0.0, 0.0) == pytest.approx((150.0, 10.0))
    # 80 J drawn from 100 J of charge
    assert dynamics.spilled_and_lost_j(PLANT, 500.0, 400.0, 0.0, 60.0, 20.0, 0.0) == pytest.approx((0.0, 20.0))


def test_the_budget_is_what_ends_the_slot_on_its_floor() -> None:
    # 100 J above the floor give 80 J; harvest less load adds 20 J
    budget = dynamics.budget_j(SCALAR, PLANT, 400.0, 70.0, 50.0, 300.0)
    assert budget == pytest.approx(100.0)
    assert dynamics.next_charge_j(SCALAR, PLANT, 400.0, 70.0, 50.0, budget)[0] == pytest.approx(300.0)
    # below the floor the slot must first fill it: 27 J need 30 J of sunlight
    assert dynamics.budget_j(SCALAR, PLANT, 273.0, 70.0, 50.0, 300.0) == pytest.approx(20.0 - 30.0)


def test_the_floor_looks_ahead_to_the_end_of_the_night() -> None:
    harvest, load = np.array([100.0, 0.0, 0.0, 100.0, 100.0]), np.full(5, 40.0)
    # two dark slots cost 50 J of charge each, then sunlight needs nothing in hand
    assert charge_floor_j(PLANT, harvest, load).tolist() == pytest.approx([300.0, 250.0, 200.0, 200.0, 200.0])


def test_the_thermal_node_follows_its_exact_solution() -> None:
    scenario = load_scenario("cubesat-6u")
    plant, heat = build_plant(scenario), scenario.thermal
    temperature, sink, power_w = 300.0, 290.0, 12.0
    end = dynamics.next_temperature_k(SCALAR, plant, temperature, sink, power_w * 180.0 - plant.idle_j)
    for _ in range(18_000):
        rate = (power_w - heat.conductance_w_k * (temperature - sink)) / heat.heat_capacity_j_k
        temperature += rate * 0.01
    assert end == pytest.approx(temperature, abs=1e-3)


def test_the_heat_budget_ends_the_slot_at_the_limit_and_the_clock_falls_above_the_throttle() -> None:
    plant = build_plant(load_scenario("cubesat-6u"))
    budget = dynamics.heat_budget_j(SCALAR, plant, 330.0, 290.0)
    assert dynamics.next_temperature_k(SCALAR, plant, 330.0, 290.0, budget) == pytest.approx(plant.limit_k)
    middle = 0.5 * (plant.throttle_k + plant.limit_k)
    assert dynamics.time_budget_s(SCALAR, plant, middle) == pytest.approx(plant.busy_s / 2)
    assert dynamics.time_budget_s(SCALAR, plant, plant.limit_k + 1) == 0.0
    assert dynamics.time_budget_s(SCALAR, plant, 280.0) == plant.busy_s


def test_the_compiled_form_writes_each_operation_out_and_the_plain_one_agrees() -> None:
    compiled = on_numbers(dynamics.admitted_tile)
    for room in (0.0, 10.0, 99.5, 1e9, math.inf, -4.0):
        plain = dynamics.admitted_tile(SCALAR, 40.0, room, 1e3, 2.0, 0.1)
        assert (
            compiled(40.0, room, 1e3, 2.0, 0.1) == plain == min(max(room // 2.0 if room < 1e300 else 40.0, 0.0), 40.0)
        )


FINITE = st.floats(0.0, 1e6)


@given(charge=st.floats(0.0, 1000.0), harvest=FINITE, load=FINITE, energy=FINITE, floor=st.floats(200.0, 1000.0))
def test_numbers_and_arrays_obey_the_same_lines(
    charge: float, harvest: float, load: float, energy: float, floor: float
) -> None:
    arrays = [np.array([value]) for value in (charge, harvest, load, energy, floor)]
    next_charge, budget = on_numbers(dynamics.next_charge_j), on_numbers(dynamics.budget_j)
    for paper in (False, True):
        plant: Plant = replace(PLANT, paper=paper)
        one = next_charge(plant, charge, harvest, load, energy)
        many = dynamics.next_charge_j(VECTOR, plant, *arrays[:4])
        assert [float(a[0]) for a in many] == list(one)
        assert dynamics.next_charge_j(SCALAR, plant, charge, harvest, load, energy) == one
        assert budget(plant, charge, harvest, load, floor) == float(
            dynamics.budget_j(VECTOR, plant, arrays[0], arrays[1], arrays[2], arrays[4])[0]
        )


@pytest.mark.parametrize("name", ["cubesat-6u", "paper"])
def test_admit_and_the_simulators_own_count_agree(name: str) -> None:
    simulator = Simulator(load_scenario(name), 3)
    for slot in range(simulator.slots):
        state = simulator.observe()
        works = [admit(state, option) for option in state.options]
        assert [work.tile for work in works] == simulator._craft.tile
        for work in works:
            assert work.limited_by in ("none", "energy", "time", "heat")
            assert (work.tile == state.waiting_tile) == (work.limited_by == "none")
        simulator.advance(works[slot % len(works)], state.options[slot % len(works)])


X, Y, Z = np.eye(3) * (EARTH_RADIUS_M + 500e3)


@pytest.mark.parametrize(
    ("mount", "sun", "area"),
    [
        ("tracking", (1.0, 1.0, 0.0), 2.0),
        ("none", (1.0, 0.0, 0.0), 0.0),
        ("fixed", (1.0, 0.0, 0.0), 2.0),
        ("fixed", (math.cos(math.radians(60)), math.sin(math.radians(60)), 0.0), 1.0),
        ("fixed", (-1.0, 0.0, 0.0), 0.0),
        ("one-axis", (0.0, 1.0, 0.0), 2.0),
        ("one-axis", (0.0, 1.0, 1.0), 2.0 / math.sqrt(2)),  # the Sun stands 45 degrees out of the plane
        ("body", (1.0, 0.0, 0.0), 0.5),  # zenith
        ("body", (-1.0, 0.0, 0.0), 0.1),  # nadir
        ("body", (0.0, 1.0, 0.0), 0.2),  # ram: the craft moves along y
        ("body", (0.0, -1.0, 0.0), 0.3),  # wake
        ("body", (0.0, 0.0, 1.0), 0.4),  # north
        ("body", (1.0, 1.0, 0.0), 0.7 / math.sqrt(2)),
    ],
)
def test_panels_see_the_sun_by_the_cosine_law(mount: str, sun: tuple[float, float, float], area: float) -> None:
    faces = {"zenith": 0.5, "nadir": 0.1, "ram": 0.2, "wake": 0.3, "north": 0.4}
    power = PowerSection(panel_mount=mount, panel_m2=2.0, faces_m2=faces)
    got = panel_area_m2(power, X[None, :], Y[None, :] * 1e-3, np.array([sun]) * 1.5e11)
    assert float(got[0]) == pytest.approx(area, abs=1e-12)
