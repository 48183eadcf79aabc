"""The shield against the true simulated craft: whatever a policy says, no limit breaks."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from policies.evaluate import fly, violated
from policies.registry import make_policy
from policies.shield import Shield
from policies.worth import worth_of
from power_sim import Scenario, Simulator, load_scenario
from power_sim.slot import SlotState

MISSIONS_EACH = 1000
SHORT = {"orbit.window_days": "1.0", "orbit.orbits": "1.0"}
VARIANTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("cubesat-6u", {}),
    ("cubesat-6u", {"power.battery_wh": "12.0", "power.panel_health_frac": "0.6"}),
    ("cubesat-6u", {"limits.accuracy_floor_frac": "0.93", "limits.busy_max_frac": "0.3"}),
    ("cubesat-6u", {"thermal.limit_c": "40.0", "thermal.throttle_c": "39.9", "thermal.heat_capacity_j_k": "150.0"}),
    ("cubesat-6u", {"power.reserve_frac": "0.9", "power.initial_charge_min_frac": "0.2", "power.bus_w": "9.0"}),
    ("cubesat-6u", {"limits.may_idle": "false", "limits.accuracy_floor_frac": "0.94"}),
    ("cubesat-6u", {"workload.queue_max_tile": "2000000", "workload.cloud_mean_frac": "0.0"}),
    ("paper", {}),
)


@cache
def variant(index: int) -> Scenario:
    name, changes = VARIANTS[index]
    return load_scenario(name, {**(SHORT if name == "cubesat-6u" else {}), **changes})


@dataclass
class Answers:
    """Any answer at all, as a policy."""

    answer: Callable[[SlotState], Any]
    name: str = "answers"

    def decide(self, state: SlotState) -> Any:
        return self.answer(state)


def constant(rng: random.Random, scenario: Scenario) -> Answers:
    drawn = rng.choice([None, 0, 1, 2, 3, -1, 10**6])
    return Answers(lambda state: drawn)


def chance(rng: random.Random, scenario: Scenario) -> Answers:
    return Answers(lambda state: rng.choice([None, 0, 1, 2, "x", math.inf, rng.randrange(-9, 9)]))


def adversarial(rng: random.Random, scenario: Scenario) -> Answers:
    """Always what costs most, the sick first."""
    return Answers(lambda state: max(range(3), key=lambda i: (not state.options[i].healthy, state.options[i].energy_j)))


def not_a_number(rng: random.Random, scenario: Scenario) -> Answers:
    def answer(state: SlotState) -> Any:
        if rng.random() < 0.5:
            raise FloatingPointError("NaN")
        return math.nan

    return Answers(answer)


@pytest.mark.parametrize("kind", [constant, chance, adversarial, not_a_number], ids=lambda kind: kind.__name__)
def test_no_policy_breaks_a_limit_in_random_missions(kind: Callable[[random.Random, Scenario], Answers]) -> None:
    stopped_by: Counter[str] = Counter()
    for mission in range(MISSIONS_EACH):
        rng = random.Random(mission)
        scenario = variant(mission % len(VARIANTS))
        stopped_by += fly_and_check(scenario, mission, kind(rng, scenario), rng)
    assert min(stopped_by[limit] for limit in ("energy", "time", "heat", "overruled")) > 0


def fly_and_check(scenario: Scenario, seed: int, policy: Answers, rng: random.Random) -> Counter[str]:
    """Return what limited the slots of a mission, after checking that nothing broke."""
    stopped_by: Counter[str] = Counter()
    simulator, shield = Simulator(scenario, seed), Shield(worth_of(scenario))
    sick = rng.randrange(-2, 3)
    over = False
    while not over:
        state = simulator.observe()
        options = tuple(replace(o, healthy=o.healthy and i != sick) for i, o in enumerate(state.options))
        state = replace(state, options=options)
        admitted = shield.admit(state, policy)
        index = admitted.decision.option_index
        outcome = simulator.advance(admitted.work, None if index is None else state.options[index])
        assert violated(state, admitted, outcome) == []
        if admitted.work.energy_j > 0:
            assert outcome.charge_j >= state.reserve_j * (1 - 1e-9)
        assert admitted.work.time_s <= state.time_budget_s * (1 + 1e-9)
        stopped_by[admitted.work.limited_by] += 1
        stopped_by["overruled"] += bool(admitted.overruled)
        over = outcome.truncated or outcome.terminated
    return stopped_by


def test_what_the_shield_puts_in_the_place_of_nonsense_earns_more_than_the_costliest_network() -> None:
    scenario = variant(0)
    policies = (Answers(lambda state: math.nan), make_policy("fixed:eurosat-resnet18", scenario, seed=0))
    nonsense, costliest = (
        sum(fly(scenario, seed, policy, Shield(worth_of(scenario))).value for seed in range(20)) for policy in policies
    )
    assert nonsense >= costliest
