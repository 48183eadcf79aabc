"""What was made fast says what its plain form says, to the last bit, on thousands of states."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from policies.decision import Decision
from policies.missions import random_mission
from policies.network import OneRow, filler, load_policy_file
from policies.registry import make_policy, shipped_path
from policies.shield import Shield
from policies.universal import Universal, make_desk, score, split
from policies.worth import worth_of
from power_sim import Simulator, admit, load_scenario, observe
from power_sim.observation import HORIZON_BLOCKS, WINDOWS_SLOT, horizon_net, horizon_value, numbers
from power_sim.ops import SCALAR
from power_sim.slot import IDLE, Option, SlotState, Work


@lru_cache(maxsize=1)
def states() -> tuple[SlotState, ...]:
    """Slots of many missions as they come, and the same with broken or tight figures."""
    rng, seen = random.Random(3), list[SlotState]()
    scenarios = [load_scenario(name) for name in ("paper", "cubesat-6u", "uav-survey")]
    for scenario in (*scenarios, *(random_mission(seed) for seed in (51, 52, 53, 54))):
        for seed in range(3):
            simulator = Simulator(scenario, seed)
            while not simulator.over:
                state = simulator.observe()
                seen += [state, _hurt(state, rng)]
                option = rng.choice(state.options)
                work = admit(state, option) if rng.random() < 0.5 else IDLE
                simulator.advance(work, option if work.tile else None)
    return tuple(seen)


def _hurt(state: SlotState, rng: random.Random) -> SlotState:
    options = tuple(
        replace(
            o, healthy=rng.random() < 0.9, energy_j=o.energy_j * rng.uniform(0.5, 9.0), awake_j=rng.choice((0.0, 30.0))
        )
        for o in state.options
    )
    return replace(
        state,
        budget_j=state.budget_j * rng.choice((-1.0, 0.01, 0.3)),
        heat_budget_j=rng.choice((state.heat_budget_j, 5.0)),
        ahead_net_j=state.ahead_net_j[: rng.choice((0, 1, 5, 31, 32))],
        ahead_value=state.ahead_value[: rng.choice((0, 3, 32))],
        options=options,
    )


def plain_admit(state: SlotState, option: Option) -> Work:
    room = {
        "energy": (state.budget_j - option.awake_j) / option.energy_j if option.energy_j > 0 else math.inf,
        "time": state.time_budget_s / option.time_s if option.time_s > 0 else math.inf,
        "heat": (state.heat_budget_j - option.awake_j) / option.energy_j if option.energy_j > 0 else math.inf,
    }
    limit = min(room, key=lambda name: room[name])
    if room[limit] >= state.waiting_tile:
        tile, limited_by = state.waiting_tile, "none"
    else:
        tile, limited_by = max(0, math.floor(room[limit])), limit
    return Work(tile, tile * option.energy_j + option.awake_j * (tile > 0), tile * option.time_s, limited_by)


def test_there_are_thousands_of_states() -> None:
    assert len(states()) > 2_000


def test_what_is_admitted_is_the_least_of_the_three_rooms() -> None:
    for state in states():
        for option in state.options:
            assert admit(state, option) == plain_admit(state, option)


def test_the_horizons_are_the_sums_over_each_window() -> None:
    first = len(HORIZON_BLOCKS) * len(WINDOWS_SLOT)
    for state in states():
        usable_j = max(state.capacity_j - state.reserve_j, 1.0)
        net = [sum_in_order(state.ahead_net_j[:window]) for window in WINDOWS_SLOT]
        value = [sum_in_order(state.ahead_value[:window]) for window in WINDOWS_SLOT]
        plain = [horizon_net(SCALAR, total, usable_j) for total in net]
        plain += [horizon_value(SCALAR, total, value[-1]) for total in value]
        assert observe(state)[-first:].tolist() == np.array(plain, np.float32).tolist()


def sum_in_order(values: tuple[float, ...]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def test_scores_at_the_desk_are_those_of_the_batch_to_the_last_bit() -> None:
    network = load_policy_file(shipped_path("universal", load_scenario("paper"))).network
    desks = {count: make_desk(network, count) for count in range(1, 6)}
    for state in states():
        live, blocks, steady = numbers(state)
        row, options = observe(state), len(state.options)
        assert desks[options].scores(live + steady + blocks) == score(network, *split(row, options)).tolist()


def test_a_network_run_row_by_row_says_what_it_says_for_a_new_array_to_the_last_bit() -> None:
    network = load_policy_file(shipped_path("policy-gradient", load_scenario("cubesat-6u"))).network
    by_row = OneRow.of(network)
    rows = [observe(state) for state in states() if len(state.options) == 3]
    assert len(rows) > 500
    for row in rows:
        assert by_row(row.tolist()) == network(row).tolist()


def test_a_row_is_rounded_as_numpy_rounds_it() -> None:
    rng, row = np.random.default_rng(0), np.zeros(4, np.float32)
    fill = filler(row)
    drawn = rng.normal(size=(2_000, 4)) * 10.0 ** rng.integers(-48, 38, size=(2_000, 1))
    with np.errstate(over="ignore"):
        for given in (*drawn, np.array([np.nan, np.inf, -1e39, 0.0])):
            fill(*given.tolist())
            np.testing.assert_array_equal(row, given.astype(np.float32))


def test_a_whole_decision_passes_the_shield_as_it_is_and_a_loose_one_is_made_whole() -> None:
    scenario = load_scenario("cubesat-6u")
    policy, shield = make_policy("universal", scenario, seed=0), Shield(worth_of(scenario))
    assert isinstance(policy, Universal)
    busy = next(s for s in states() if s.waiting_tile > 0 and policy.decide(s).option_index is not None)
    said = policy.decide(busy)
    assert shield.judge(busy, said).decision == said
    loose = Decision(said.option_index, "another name", said.mode, said.reason)
    assert shield.judge(busy, loose).decision == said
    assert shield.judge(busy, said.option_index).decision.model == said.model


def test_an_option_that_costs_nothing_does_not_stop_the_shield() -> None:
    scenario = load_scenario("paper")
    state = Simulator(scenario, 0).observe()
    free = replace(state, options=tuple(replace(option, energy_j=0.0) for option in state.options))
    admitted = Shield(worth_of(scenario)).judge(free, "nonsense")
    assert admitted.decision.option_index is not None
    assert admitted.work.energy_j == pytest.approx(0.0)
