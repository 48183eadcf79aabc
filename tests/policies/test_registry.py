from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policies.cards import write_card
from policies.errors import PolicyError, PolicyFileError, UnknownPolicyError
from policies.learned import action_names, describe
from policies.network import Mlp, save_policy_file
from policies.registry import RULES, best_known, fixed_names, make_policy, policy_names, shipped_path
from policies.shield import Shield
from power_sim import Scenario, Simulator, load_scenario, observation_size
from power_sim.slot import SlotState


def network(scenario: Scenario, *, extra_inputs: int = 0, fill: float | None = None) -> Mlp:
    rng = np.random.default_rng(0)
    inputs, outputs = observation_size(len(scenario.pool.models)) + extra_inputs, len(action_names(scenario))
    weights = rng.normal(size=(inputs, outputs)).astype(np.float32)
    if fill is not None:
        weights[:] = fill
    return Mlp((weights,), (np.zeros(outputs, np.float32),))


def first_state(scenario: Scenario, seed: int = 0) -> SlotState:
    return Simulator(scenario, seed).observe()


@pytest.mark.parametrize("name", ["paper", "paper-hidden", "cubesat-6u"])
def test_every_rule_decides_in_every_scenario(name: str) -> None:
    scenario = load_scenario(name)
    state = first_state(scenario)
    for spec in (*RULES, *fixed_names(scenario)):
        policy = make_policy(spec, scenario, seed=0)
        decision = policy.decide(state)
        assert decision.option_index in (None, 0, 1, 2)
        assert decision.reason
        assert policy.name == spec


@pytest.mark.parametrize("spec", ["gredy", "", "greedy:x", "dqm", "fixed"])
def test_an_unknown_policy_gets_the_names_that_are_known(spec: str) -> None:
    with pytest.raises(UnknownPolicyError) as caught:
        make_policy(spec, load_scenario("paper"), seed=0)
    assert any(name.partition(":")[0] in str(caught.value) for name in ("greedy", "dqn", "fixed:"))


def test_a_fixed_policy_of_an_unknown_network_gets_the_pool() -> None:
    with pytest.raises(UnknownPolicyError, match="MobileNetV3, MobileNetV2, ResNet18"):
        make_policy("fixed:VGG", load_scenario("paper"), seed=0)


def test_the_names_are_those_that_work() -> None:
    assert set(policy_names()) >= {"fixed:NAME", "greedy", "dqn", "dqn:PATH", "lookahead", "barrier"}


def test_a_trained_policy_flies_its_own_scenario(tmp_path: Path) -> None:
    scenario = load_scenario("cubesat-6u")
    path = shipped_path("dqn", scenario, tmp_path)
    save_policy_file(path, network(scenario), describe("dqn", scenario, {}))
    for spec, folder in (("dqn", tmp_path), (f"dqn:{path}", None)):
        policy = make_policy(spec, scenario, seed=0, directory=folder)
        simulator = Simulator(scenario, 1)
        for _ in range(20):
            state = simulator.observe()
            admitted = Shield().admit(state, policy)
            assert admitted.overruled == ""
            index = admitted.decision.option_index
            simulator.advance(admitted.work, None if index is None else state.options[index])


def test_a_policy_for_another_pool_is_refused(tmp_path: Path) -> None:
    paper, cubesat = load_scenario("paper"), load_scenario("cubesat-6u")
    save_policy_file(tmp_path / "p.npz", network(paper), describe("dqn", paper, {}))
    with pytest.raises(PolicyFileError, match=r"chooses from MobileNetV3@default.* but cubesat-6u offers"):
        make_policy(f"dqn:{tmp_path / 'p.npz'}", cubesat, seed=0)


def test_a_policy_for_another_observation_layout_is_refused(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    save_policy_file(tmp_path / "p.npz", network(scenario), {**describe("dqn", scenario, {}), "layout": "old-0"})
    with pytest.raises(PolicyFileError, match="layout 'old-0'"):
        make_policy(f"dqn:{tmp_path / 'p.npz'}", scenario, seed=0)


def test_a_network_of_another_size_is_refused(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    save_policy_file(tmp_path / "p.npz", network(scenario, extra_inputs=1), describe("dqn", scenario, {}))
    with pytest.raises(PolicyFileError, match="inputs"):
        make_policy(f"dqn:{tmp_path / 'p.npz'}", scenario, seed=0)


def test_without_a_trained_policy_the_message_says_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="subsolar train dqn --scenario paper"):
        make_policy("dqn", load_scenario("paper"), seed=0, directory=tmp_path)


def test_a_network_that_overflows_is_caught_by_the_shield(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    save_policy_file(tmp_path / "p.npz", network(scenario, fill=3e38), describe("dqn", scenario, {}))
    policy = make_policy(f"dqn:{tmp_path / 'p.npz'}", scenario, seed=0)
    state = first_state(scenario)
    with np.errstate(all="ignore"):
        admitted = Shield().admit(state, policy)
    assert admitted.decision.option_index is not None


@pytest.mark.parametrize("name", ["paper", "cubesat-6u"])
def test_the_shipped_policy_is_the_one_on_its_card_and_flies(name: str) -> None:
    scenario = load_scenario(name)
    policy = make_policy("dqn", scenario, seed=0)
    decision = policy.decide(first_state(scenario))
    assert policy.name == "dqn"
    assert decision.reason


def test_auto_takes_what_the_cards_call_best_in_this_very_scenario(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    assert best_known(scenario, tmp_path) == "universal"
    path = shipped_path("dqn", scenario, tmp_path)
    file = save_policy_file(path, network(scenario), describe("dqn", scenario, {}))
    result = {"scenario_sha256": scenario.sha256, "value_mean": 2.0, "others_value_mean": {"greedy": 1.0, "raw:x": 9.0}}
    write_card(path, file, {"paper": result})
    assert best_known(scenario, tmp_path) == "dqn"
    write_card(path, file, {"paper": {**result, "others_value_mean": {"greedy": 3.0}}})
    assert best_known(scenario, tmp_path) == "greedy"
    tied = {"barrier": 3.0, "fixed:ResNet18": 3.0, "greedy": 3.0}
    write_card(path, file, {"paper": {**result, "others_value_mean": tied}})
    assert best_known(scenario, tmp_path) == "greedy"
    write_card(
        path, file, {"paper": {**result, "others_value_mean": {"fixed:ResNet18": 3.0, "raw:fixed:ResNet18": 4.0}}}
    )
    assert best_known(scenario, tmp_path) == "fixed:ResNet18"
    write_card(path, file, {"paper": {**result, "scenario_sha256": "another"}})
    assert best_known(scenario, tmp_path) == "universal"
    assert make_policy("auto", scenario, seed=0).name


def test_the_base_class_catches_them_all() -> None:
    assert issubclass(UnknownPolicyError, PolicyError)
    assert issubclass(PolicyFileError, PolicyError)
