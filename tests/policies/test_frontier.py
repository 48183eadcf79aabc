from __future__ import annotations

import itertools

import numpy as np
import pytest

from policies.frontier import hull, lowest_charges, stored_worths


def test_a_dominated_option_is_not_on_the_hull() -> None:
    curve = hull([(2.0, 4.0), (3.0, 4.5), (4.0, 6.0), (5.0, 5.0)])
    assert curve.length_j.tolist() == [2.0, 2.0]
    assert curve(3.0) == 5.0
    assert curve(100.0) == 6.0
    assert curve.slope_at(1.0) == 2.0
    assert curve.slope_at(4.0) == 0.0


def test_charge_goes_to_the_slot_where_it_is_worth_most() -> None:
    gains = [hull([(2.0, 2.0)]), hull([(2.0, 8.0)])]
    assert stored_worths(gains, [0.0, 0.0], [0.0] * 3, capacity_j=5.0)[0](3.0) == 9.0


def test_harvest_beyond_the_capacity_is_lost_unless_it_is_spent_first() -> None:
    gains = [hull([(4.0, 4.0)]), hull([(9.0, 18.0)])]
    worths = stored_worths(gains, [3.0, 0.0], [0.0] * 3, capacity_j=5.0)
    assert worths[0](5.0) == 3.0 + 10.0


def test_a_shadow_must_be_paid_for_in_advance() -> None:
    gains = [hull([(10.0, 10.0)]), hull([(10.0, 5.0)])]
    floors = [5.0, 5.0, 2.0]
    assert stored_worths(gains, [0.0, -3.0], floors, capacity_j=20.0)[0](8.0) == 3.0


def test_the_lowest_charge_follows_the_load_below_the_reserve() -> None:
    assert lowest_charges(10.0, [-3.0, -3.0, 5.0], reserve_j=8.0) == [10.0, 7.0, 4.0, 8.0]


@pytest.mark.parametrize("seed", range(20))
def test_no_schedule_on_a_grid_beats_the_exact_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [
        [(float(e), float(v)) for e, v in zip(rng.integers(1, 5, 2), rng.random(2) * 5, strict=True)] for _ in range(5)
    ]
    net = [float(x) for x in rng.integers(0, 4, 5)]
    capacity, start = 6.0, 3.0
    floors = lowest_charges(start, net, 0.0)
    exact = stored_worths([hull(p) for p in points], net, floors, capacity)[0](start)
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
