from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from policies.evaluate import fly
from policies.rules import Barrier, Chance, Fixed, Greedy, Threshold
from policies.shield import Shield
from policies.words import charge, joules, points
from policies.worth import PaperWorth, worth_of
from power_sim import load_scenario
from power_sim.slot import SlotState

MakeState = Callable[..., SlotState]


def test_greedy_takes_the_most_right_answers_that_the_budget_allows(make_state: MakeState) -> None:
    assert Greedy().decide(make_state(arrived_tile=100)).model == "mobilenet_v3"
    short = make_state(arrived_tile=10_000, budget_j=500.0, time_budget_s=1e6)
    assert Greedy().decide(short).model == "resnet18"


def test_the_reason_names_the_gain_the_cost_and_the_charge(make_state: MakeState) -> None:
    reason = Greedy().decide(make_state(arrived_tile=100)).reason
    assert reason == "mobilenet_v3: +7 points for 20 J more than mobilenet_v2, charge 60 %"


def test_a_choice_that_costs_less_is_said_to_cost_less(make_state: MakeState) -> None:
    reason = Barrier(0.1).decide(make_state(arrived_tile=100, charge_j=26_000.0)).reason
    assert reason == "resnet18: -7 points for 30 J less than mobilenet_v2, charge 26 %"


def test_threshold_idles_on_an_empty_battery_and_saves_on_a_half_full_one(make_state: MakeState) -> None:
    rule = Threshold()
    assert rule.decide(make_state(charge_j=24_000.0)).option_index is None
    assert rule.decide(make_state(charge_j=40_000.0, arrived_tile=100)).model == "resnet18"
    assert rule.decide(make_state(charge_j=90_000.0, arrived_tile=100)).model == "mobilenet_v3"


def test_the_barrier_saves_as_the_battery_drains(make_state: MakeState) -> None:
    rule = Barrier(points_per_j=1.5)
    chosen = [
        rule.decide(make_state(charge_j=charge_j, arrived_tile=100)).model for charge_j in (1e5, 45_000.0, 21_000.0)
    ]
    assert chosen == ["mobilenet_v3", "resnet18", "idle"]


def test_chance_is_the_same_for_the_same_slot_and_seed(make_state: MakeState) -> None:
    states = [make_state(slot=slot) for slot in range(200)]
    first = [Chance(1).decide(state).option_index for state in states]
    assert first == [Chance(1).decide(state).option_index for state in states]
    assert first != [Chance(2).decide(state).option_index for state in states]
    assert set(first) == {None, 0, 1, 2}
    assert Chance(1).decide(make_state(options=())).option_index is None


def test_a_fixed_network_takes_its_first_healthy_mode(make_state: MakeState) -> None:
    pool = make_state().options
    slow = replace(pool[0], mode="slow")
    sick = replace(pool[0], healthy=False)
    assert Fixed("mobilenet_v3").decide(make_state(options=(sick, slow))).mode == "slow"
    assert Fixed("vgg").decide(make_state()).option_index is None


def test_the_papers_worth_is_its_reward_with_unprocessed_tiles_as_wrong(make_state: MakeState) -> None:
    state = make_state(accuracy_floor_frac=0.8)
    option = replace(state.options[0], accuracy_frac=0.9, energy_j=0.9)
    half = replace(Shield().admit(state, Fixed("mobilenet_v3")).work, tile=state.waiting_tile // 2)
    assert PaperWorth(1.5, 10.0)(state, option, half) == pytest.approx(1.5 * 0.45 / 0.9 + 10 * (0.45 - 0.8))


def test_energies_charges_and_points_are_written_for_people(make_state: MakeState) -> None:
    assert [joules(x) for x in (0.5, 11.2, 4.5e5, -3.2e6)] == ["0.5 J", "11 J", "450 kJ", "-3.2 MJ"]
    assert points(2.123) == "2.12 points"
    assert charge(make_state()) == "charge 60 %"
    assert charge(make_state(capacity_j=0.0)) == "no battery"


def test_where_energy_is_scarce_the_rules_that_save_beat_greed() -> None:
    from policies.registry import make_policy

    scenario = load_scenario("cubesat-6u")
    shield = Shield(worth_of(scenario))
    value = {
        name: np.mean([fly(scenario, seed, make_policy(name, scenario, seed=0), shield).value for seed in range(8)])
        for name in ("greedy", "barrier", "lookahead")
    }
    assert value["barrier"] > value["greedy"]
    assert value["lookahead"] > value["greedy"]
