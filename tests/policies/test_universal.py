from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from policies.errors import PolicyFileError, TrainingError
from policies.missions import random_mission
from policies.network import Mlp, load_policy_file, save_policy_file
from policies.registry import make_policy
from policies.shield import Shield
from policies.universal import SLOT_SIZE, Universal, describe_universal, score, split
from power_sim import OBSERVATION_LAYOUT, Simulator, action_mask, load_scenario, observe
from power_sim.observation import OPTION_SIZE


def network(seed: int = 0) -> Mlp:
    rng = np.random.default_rng(seed)
    sizes = (SLOT_SIZE + OPTION_SIZE, 16, 16, 1)
    weights = tuple(rng.normal(size=(n, m)).astype(np.float32) for n, m in pairwise(sizes))
    return Mlp(weights, tuple(rng.normal(size=m).astype(np.float32) for m in sizes[1:]))


def test_scoring_an_option_is_the_network_on_slot_and_option() -> None:
    net, row = network(), observe(Simulator(load_scenario("cubesat-6u"), 0).observe())
    slot, blocks = split(row, 3)
    whole = np.array([net(np.concatenate((slot, block)))[0] - net.biases[-1][0] for block in blocks])
    np.testing.assert_allclose(score(net, slot, blocks), whole, rtol=1e-4, atol=1e-4)


def test_idling_is_an_option_that_does_nothing() -> None:
    _, blocks = split(observe(Simulator(load_scenario("cubesat-6u"), 0).observe()), 3)
    assert blocks.shape == (4, OPTION_SIZE)
    assert blocks[3].tolist() == [1.0] + [0.0] * (OPTION_SIZE - 1)


@pytest.mark.parametrize("seed", range(6))
def test_one_network_flies_any_mission_and_pool_within_the_shield(seed: int) -> None:
    scenario = random_mission(seed)
    policy, shield, simulator = Universal(network(seed)), Shield(), Simulator(scenario, seed)
    while not simulator.over:
        state = simulator.observe()
        admitted = shield.admit(state, policy)
        index = admitted.decision.option_index
        assert action_mask(state)[len(state.options) if index is None else index] or admitted.work.tile == 0
        assert admitted.overruled == ""
        simulator.advance(admitted.work, None if index is None else state.options[index])


def test_random_missions_differ_in_pool_size_and_repeat_by_seed() -> None:
    sizes = {len(random_mission(seed).pool.models) for seed in range(30)}
    assert sizes == {2, 3, 4}
    assert random_mission(7) == random_mission(7)


def test_a_file_of_another_kind_or_layout_or_size_is_refused(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    about = describe_universal({}, {})
    assert about["layout"] == OBSERVATION_LAYOUT
    path = tmp_path / "u.npz"
    for changes, net, words in (
        ({"kind": "dqn"}, network(), "holds a 'dqn' policy"),
        ({"layout": "old"}, network(), "layout 'old'"),
        ({}, Mlp(network().weights[1:], network().biases[1:]), "inputs"),
    ):
        save_policy_file(path, net, {**about, **changes})
        with pytest.raises(PolicyFileError, match=words):
            make_policy(f"universal:{path}", scenario, seed=0)


def test_training_collects_lessons_once_and_leaves_a_policy_that_flies(tmp_path: Path) -> None:
    pytest.importorskip("highspy", reason="needs the solver")
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from policies.train_universal import UniversalSettings, train_universal

    settings = UniversalSettings(variants=3, flights=1, own_every=2, steps=60, batch=32, hidden=8)
    seen: list[str] = []
    trained = train_universal(
        seed=1, out=tmp_path, progress=lambda done, of, line: seen.append(line), settings=settings
    )
    assert seen.count("collecting lessons") == 3
    assert trained.agreement_frac == 1.0
    again = train_universal(seed=1, out=tmp_path, progress=lambda done, of, line: seen.append(line), settings=settings)
    assert seen.count("collecting lessons") == 3
    assert again.file.sha256 == trained.file.sha256
    assert load_policy_file(trained.path).about["trained"]["lessons"] == trained.lessons
    make_policy(f"universal:{trained.path}", load_scenario("cubesat-6u"), seed=0)
    with pytest.raises(TrainingError, match="another training"):
        train_universal(seed=2, out=tmp_path, progress=lambda done, of, line: None, settings=settings)
