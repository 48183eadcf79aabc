from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.decision import Decision
from policies.errors import PolicyError
from policies.rules import Fixed, Greedy
from policies.shield import Shield
from policies.survey import option_fault
from power_sim.slot import Option, SlotState, admit

MakeState = Callable[..., SlotState]


@dataclass
class Says:
    """A policy that answers with anything at all."""

    answer: Any
    name: str = "says"

    def decide(self, state: SlotState) -> Any:
        return self.answer


@dataclass
class Breaks:
    fault: Exception
    name: str = "breaks"

    def decide(self, state: SlotState) -> Decision:
        raise self.fault


def option(model: str, accuracy_frac: float = 0.9, energy_j: float = 1.0, *, healthy: bool = True) -> Option:
    return Option(model, "full", accuracy_frac, energy_j, 0.004, healthy)


def test_an_allowed_choice_passes_with_its_counterfactual(make_state: MakeState) -> None:
    state = make_state(arrived_tile=100)
    admitted = Shield().admit(state, Greedy())
    assert admitted.overruled == ""
    assert admitted.decision.option_index == 0
    assert admitted.work == admit(state, state.options[0])
    assert admitted.counterfactual == "mobilenet_v2: 20 J less, 7 points less"


@pytest.mark.parametrize(
    "answer",
    [7, -1, 10**5000, math.nan, math.inf, "resnet18", [0, 1], b"\x00", object(), {"option_index": 0}, 1.0],
    ids=lambda answer: type(answer).__name__,
)
def test_an_answer_that_names_no_option_is_overruled(make_state: MakeState, answer: Any) -> None:
    for said in (answer, Decision(answer, "x", "y", "z")):
        admitted = Shield().admit(make_state(), Says(said))
        assert admitted.overruled
        assert admitted.decision.option_index in (0, 1, 2)


@pytest.mark.parametrize("fault", [PolicyError("no"), ValueError("nan"), ZeroDivisionError(), IndexError("7")])
def test_a_policy_that_fails_is_replaced_for_the_slot(make_state: MakeState, fault: Exception) -> None:
    admitted = Shield().admit(make_state(), Breaks(fault))
    assert "the policy failed" in admitted.overruled
    assert admitted.work.tile > 0


def test_a_decision_names_the_option_that_really_runs(make_state: MakeState) -> None:
    admitted = Shield().admit(make_state(), Says(Decision(1, "a lie", "turbo", "because")))
    assert (admitted.decision.model, admitted.decision.mode) == ("mobilenet_v2", "full")
    assert admitted.decision.reason == "because"


def test_an_unhealthy_package_never_runs(make_state: MakeState) -> None:
    state = make_state(options=(option("sick", 0.99, healthy=False), option("well", 0.7)))
    admitted = Shield().admit(state, Fixed("sick"))
    assert admitted.decision.model == "well"
    assert admitted.overruled == "sick is unhealthy; well instead"


@pytest.mark.parametrize("energy_j", [math.nan, math.inf, -1.0])
def test_a_package_with_impossible_figures_never_runs(make_state: MakeState, energy_j: float) -> None:
    state = make_state(options=(option("odd", 0.99, energy_j), option("well", 0.7)))
    assert Shield().admit(state, Fixed("odd")).decision.model == "well"


def test_a_network_below_the_accuracy_floor_is_barred(make_state: MakeState) -> None:
    admitted = Shield().admit(make_state(accuracy_floor_frac=0.8), Fixed("resnet18"))
    assert admitted.decision.model != "resnet18"
    assert "below the floor of 80.0%" in admitted.overruled


def test_the_floor_can_be_lifted_for_grading_alone(make_state: MakeState) -> None:
    admitted = Shield(keep_floor=False).admit(make_state(accuracy_floor_frac=0.8), Fixed("resnet18"))
    assert admitted.decision.model == "resnet18"
    assert admitted.overruled == ""


def test_where_nothing_reaches_the_floor_a_slot_idles_if_it_may(make_state: MakeState) -> None:
    admitted = Shield().admit(make_state(accuracy_floor_frac=0.99), Fixed("resnet18"))
    assert admitted.decision.option_index is None
    assert admitted.work.tile == 0
    assert admitted.overruled.endswith("idle instead")


def test_where_nothing_reaches_the_floor_and_no_slot_may_idle_the_most_accurate_runs(make_state: MakeState) -> None:
    state = make_state(accuracy_floor_frac=0.99, may_idle=False)
    admitted = Shield().admit(state, Fixed("resnet18"))
    assert admitted.decision.model == "mobilenet_v3"
    assert "no option reaches the floor" in admitted.decision.reason
    agreed = Shield().admit(state, Fixed("mobilenet_v3"))
    assert agreed.overruled == ""
    assert "no option reaches the floor" in agreed.decision.reason


def test_a_slot_that_may_not_idle_runs_something(make_state: MakeState) -> None:
    admitted = Shield().admit(make_state(may_idle=False), Says(None))
    assert admitted.decision.option_index is not None
    assert "lets no slot idle" in admitted.overruled


@pytest.mark.parametrize("budget", ["budget_j", "time_budget_s", "heat_budget_j"])
@pytest.mark.parametrize("value", [math.nan, 0.0, -5.0, -math.inf])
def test_without_budget_nothing_runs(make_state: MakeState, budget: str, value: float) -> None:
    for may_idle in (True, False):
        admitted = Shield().admit(make_state(may_idle=may_idle, **{budget: value}), Fixed("mobilenet_v3"))
        assert admitted.work.tile == 0
        assert admitted.work.energy_j == 0.0


anything = st.one_of(st.none(), st.integers(), st.floats(allow_nan=True), st.text(max_size=3), st.booleans())
budgets = st.floats(allow_nan=True, allow_infinity=True)
options_drawn = st.lists(
    st.builds(
        Option,
        st.sampled_from(["a", "b", "c"]),
        st.just("full"),
        st.floats(allow_nan=True),
        st.floats(-1, 10) | st.floats(allow_nan=True),
        st.floats(-1, 10) | st.floats(allow_nan=True),
        st.booleans(),
    ),
    max_size=4,
).map(tuple)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    anything,
    budgets,
    budgets,
    budgets,
    st.integers(-5, 10**6),
    st.floats(0, 1),
    st.booleans(),
    options_drawn,
    st.floats(0, 1e5),
)
def test_no_answer_breaks_a_limit(
    make_state: MakeState,
    answer: Any,
    budget_j: float,
    time_budget_s: float,
    heat_budget_j: float,
    arrived: int,
    floor: float,
    may_idle: bool,
    options: tuple[Option, ...],
    charge_j: float,
) -> None:
    state = make_state(
        budget_j=budget_j,
        time_budget_s=time_budget_s,
        heat_budget_j=heat_budget_j,
        arrived_tile=arrived,
        accuracy_floor_frac=floor,
        may_idle=may_idle,
        options=options,
        charge_j=charge_j,
    )
    admitted = Shield().admit(state, Says(answer))
    work = admitted.work
    assert 0 <= work.tile <= max(state.waiting_tile, 0)
    if work.tile == 0:
        assert work.energy_j == 0.0
        return
    assert admitted.decision.option_index is not None
    chosen = options[admitted.decision.option_index]
    assert work == admit(state, chosen)
    assert work.energy_j <= max(min(budget_j, heat_budget_j), 0.0) * (1 + 1e-12)
    assert work.time_s <= max(time_budget_s, 0.0) * (1 + 1e-12)
    assert chosen.healthy
    if chosen.accuracy_frac < floor:
        assert not may_idle
        assert not any(
            o.healthy and o.accuracy_frac >= floor and not option_fault(o) and admit(state, o).tile for o in options
        )
