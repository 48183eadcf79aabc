from __future__ import annotations

import itertools

import numpy as np
import pytest

from policies.frontier import Cell, Gain, gain_of, hull, lowest_charges, stored_worths
from policies.lookahead import cell_of, viable_floors
from policies.rules import Chance
from policies.shield import Shield
from power_sim import Simulator, load_scenario
from power_sim.timeline import timeline_of


def test_a_dominated_option_is_not_on_the_hull() -> None:
    curve = hull([(2.0, 4.0), (3.0, 4.5), (4.0, 6.0), (5.0, 5.0)])
    assert curve.length_j.tolist() == [2.0, 2.0]
    assert curve(3.0) == 5.0
    assert curve(100.0) == 6.0
    assert curve.slope_at(1.0) == 2.0
    assert curve.slope_at(4.0) == 0.0


def gains_of(cell: Cell, corners: list[list[tuple[float, float]]], net_j: list[float]) -> list[Gain]:
    return [gain_of(cell, hull(points), net) for points, net in zip(corners, net_j, strict=True)]


def test_charge_goes_to_the_slot_where_it_is_worth_most() -> None:
    gains = gains_of(Cell(5.0), [[(2.0, 2.0)], [(2.0, 8.0)]], [0.0, 0.0])
    assert stored_worths(gains, [0.0] * 3, capacity_j=5.0)[0](3.0) == 9.0


def test_harvest_beyond_the_capacity_is_lost_unless_it_is_spent_first() -> None:
    gains = gains_of(Cell(5.0), [[(4.0, 4.0)], [(9.0, 18.0)]], [3.0, 0.0])
    assert stored_worths(gains, [0.0] * 3, capacity_j=5.0)[0](5.0) == 3.0 + 10.0


def test_a_shadow_must_be_paid_for_in_advance() -> None:
    gains = gains_of(Cell(20.0), [[(10.0, 10.0)], [(10.0, 5.0)]], [0.0, -3.0])
    assert stored_worths(gains, [5.0, 5.0, 2.0], capacity_j=20.0)[0](8.0) == 3.0


def test_the_lowest_charge_follows_the_load_below_the_reserve() -> None:
    assert lowest_charges(10.0, [-3.0, -3.0, 5.0], [8.0] * 3) == [10.0, 7.0, 4.0, 8.0]


@pytest.mark.parametrize("seed", range(3))
def test_a_planner_settles_a_slot_as_the_simulator_does(seed: int) -> None:
    scenario = load_scenario("cubesat-6u")
    cell, simulator, policy = cell_of(timeline_of(scenario).plant), Simulator(scenario, seed), Chance(seed)
    while simulator.slot < simulator.slots:
        state = simulator.observe()
        admitted = Shield().admit(state, policy)
        index = admitted.decision.option_index
        outcome = simulator.advance(admitted.work, None if index is None else state.options[index])
        net_j = state.harvest_j - state.load_j - admitted.work.energy_j
        assert cell.settled_j(state.charge_j, net_j) == pytest.approx(outcome.charge_j)


@pytest.mark.parametrize("charge_j", [60.0, 80.0, 99.0, 100.0])
@pytest.mark.parametrize("net_j", [-8.0, 0.0, 6.0, 30.0])
def test_a_joule_costs_the_charge_that_settling_takes(charge_j: float, net_j: float) -> None:
    cell = Cell(100.0, 0.9, 0.8, 12.0)
    gain = gain_of(cell, hull([(1000.0, 1000.0)]), net_j)
    for spent_j in (0.0, 1.0, 5.0, 11.0, 25.0, 30.0):
        paid_j = charge_for(gain, spent_j)
        assert min(charge_j + gain.change_j - paid_j, 100.0) == pytest.approx(cell.settled_j(charge_j, net_j - spent_j))


def charge_for(gain: Gain, spent_j: float) -> float:
    """Return the charge that buys ``spent_j`` joules, where each joule is worth a point."""
    left, paid = spent_j - gain.free, 0.0
    for value_per_j, length_j in zip(gain.slopes.value_per_j, gain.slopes.length_j, strict=True):
        step = min(max(left, 0.0), value_per_j * length_j)
        left, paid = left - step, paid + step / value_per_j
    return paid


@pytest.mark.parametrize("seed", range(20))
def test_no_schedule_on_a_grid_beats_the_exact_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [
        [(float(e), float(v)) for e, v in zip(rng.integers(1, 5, 2), rng.random(2) * 5, strict=True)] for _ in range(5)
    ]
    net = [float(x) for x in rng.integers(0, 4, 5)]
    capacity, start = 6.0, 3.0
    floors = lowest_charges(start, net, [0.0] * 5)
    exact = stored_worths(gains_of(Cell(capacity), points, net), floors, capacity)[0](start)
    best = 0.0
    for plan in itertools.product(range(3), repeat=5):
        charge, value = start, 0.0
        for slot, choice in enumerate(plan):
            energy, gain = (0.0, 0.0) if choice == 2 else points[slot][choice]
            available = max(charge + net[slot], 0.0)
            done = min(1.0, available / energy) if energy else 0.0
            value += gain * done
            charge = min(max(charge + net[slot] - energy * done, 0.0), capacity)
        best = max(best, value)
    assert best <= exact + 1e-9
    assert exact <= best * 1.2 + 1.0


def test_a_floor_reaches_ahead_over_the_next_shadow() -> None:
    assert viable_floors([1.0, -2.0, -3.0, 4.0], reserve_j=10.0, capacity_j=14.0) == [14.0, 13.0, 10.0, 10.0]
