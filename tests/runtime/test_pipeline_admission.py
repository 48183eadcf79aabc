"""Slot admission: near the knapsack's optimum under overload, and never over a limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.pipeline.admission import Deadline, admit_tiles


def upper_bound(value: np.ndarray, part_j: np.ndarray, part_s: np.ndarray) -> float:
    """No choice is worth more: the surrogate relaxation, fractional, at the best of many multipliers."""
    best = np.inf
    for weight in np.linspace(0, 1, 101):
        cost = weight * part_j + (1 - weight) * part_s
        order = np.argsort(-value / np.maximum(cost, 1e-300))
        total = np.cumsum(cost[order])
        whole = int(np.searchsorted(total, 1.0, side="right"))
        rest = 0.0
        if whole < len(order):
            left = 1.0 - (total[whole - 1] if whole else 0.0)
            rest = value[order[whole]] * left / cost[order[whole]]
        best = min(best, value[order[:whole]].sum() + rest)
    return float(best)


@pytest.mark.parametrize("seed", range(30))
def test_ten_times_too_many_tiles_give_at_least_95_percent_of_the_optimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(300, 3000))
    value, energy_j, time_s = rng.gamma(1.0, 1.0, count), rng.uniform(0.2, 2.0, count), rng.uniform(0.01, 0.1, count)
    budget_j, budget_s = energy_j.sum() / 10, time_s.sum() / rng.uniform(8, 12)
    chosen = admit_tiles(value, energy_j, time_s, budget_j=budget_j, budget_s=budget_s)
    assert energy_j[chosen.do].sum() <= budget_j * (1 + 1e-9)
    assert time_s[chosen.do].sum() <= budget_s * (1 + 1e-9)
    assert value[chosen.do].sum() >= 0.95 * upper_bound(value, energy_j / budget_j, time_s / budget_s)


def test_a_small_slot_is_solved_as_well_as_brute_force_within_a_tile() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        value, energy_j, time_s = rng.uniform(0.5, 1.5, (3, 12))
        subsets = (np.arange(2**12)[:, None] >> np.arange(12)) & 1
        fits = (subsets @ energy_j <= 4.0) & (subsets @ time_s <= 4.0)
        optimum = float((subsets @ value)[fits].max())
        chosen = admit_tiles(value, energy_j, time_s, budget_j=4.0, budget_s=4.0)
        assert value[chosen.do].sum() >= optimum - value.max()


@settings(max_examples=100, deadline=None)
@given(
    tiles=st.lists(st.tuples(st.floats(), st.floats(), st.floats()), max_size=40),
    budget_j=st.floats(-1, 100),
    budget_s=st.floats(-1, 100),
)
def test_any_tiles_at_all_keep_within_both_limits_and_end_once(
    tiles: list[tuple[float, float, float]], budget_j: float, budget_s: float
) -> None:
    value, energy_j, time_s = np.array(tiles, dtype=np.float64).reshape(-1, 3).T
    with np.errstate(all="ignore"):
        chosen = admit_tiles(value, energy_j, time_s, budget_j=budget_j, budget_s=budget_s)
    assert sorted([*chosen.do.tolist(), *chosen.shed.tolist()]) == list(range(len(tiles)))
    assert energy_j[chosen.do].sum() <= max(budget_j, 0) * (1 + 1e-9)
    assert time_s[chosen.do].sum() <= max(budget_s, 0) * (1 + 1e-9)
    assert (value[chosen.do] > 0).all()


def test_with_room_for_all_the_most_valuable_tiles_come_first() -> None:
    chosen = admit_tiles(np.array([1.0, 3.0, 0.0, 2.0]), np.ones(4), np.ones(4), budget_j=9, budget_s=9)
    assert (chosen.do.tolist(), chosen.shed.tolist(), chosen.limited_by) == ([1, 3, 0], [2], "none")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("seed", range(20))
def test_no_slot_overruns_its_deadline_while_tiles_take_no_longer_than_a_fifth_more_than_seen(seed: int) -> None:
    rng, clock = np.random.default_rng(seed), Clock()
    deadline = Deadline(clock, end_s=110.0, expected_s=0.012)
    waiting, done = 5000, 0
    while (batch := deadline.most(min(32, waiting))) > 0:
        assert deadline.fits(batch)
        time_s = batch * 0.012 * rng.uniform(0.8, 1.2)
        clock.now_s += time_s
        deadline.took(batch, time_s)
        waiting, done = waiting - batch, done + batch
    assert clock.now_s <= 110.0
    assert done * 0.012 > 0.6 * 10.0
