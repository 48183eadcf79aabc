from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.errors import PolicyFileError, TrainingError, TrainingInterrupted
from policies.missions import random_mission
from policies.network import Mlp, save_policy_file
from policies.practice import Progress
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


def test_training_repeats_goes_on_where_it_stopped_and_leaves_a_policy_that_flies(tmp_path: Path) -> None:
    pytest.importorskip("highspy", reason="needs the solver")
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from policies.train_rounds import Rounds
    from policies.train_universal import UniversalSettings, train_universal

    practice = Rounds(rounds=4, variants=3, own_every=2, at_once=2, missions=3, copies=2)
    settings = UniversalSettings(lessons=2, flights=1, steps=60, batch=32, hidden=8, practice=practice)
    seen: list[str] = []

    def stopped(done: int, of: int, line: str) -> None:
        seen.append(line)
        if line == "practising" and done == 3:
            raise KeyboardInterrupt

    def train(out: str, progress: Progress = lambda done, of, line: seen.append(line), seed: int = 1) -> Any:
        return train_universal(seed=seed, out=tmp_path / out, progress=progress, settings=settings, workers=1)

    whole = train("whole")
    assert whole.agreement_frac == 1.0
    assert seen.count("collecting lessons") == 2
    with pytest.raises(TrainingInterrupted, match="Run the same again"):
        train("stopped", stopped)
    assert train("stopped").file.sha256 == whole.file.sha256
    assert seen.count("collecting lessons") == 4
    assert seen.count("practising") == 4 + 3 + 2
    make_policy(f"universal:{whole.path}", load_scenario("cubesat-6u"), seed=0)
    with pytest.raises(TrainingError, match="another training"):
        train("whole", seed=2)


def test_a_flight_is_judged_by_the_other_flights_of_its_mission() -> None:
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from policies.scorer import Scorer
    from policies.train_rounds import Part, Rounds, fly, learn_part

    settings = Rounds(rounds=10, variants=1, own_every=1, at_once=1, missions=3, copies=4)
    model = Scorer(8, np.zeros(SLOT_SIZE, np.float32), np.ones(SLOT_SIZE, np.float32))
    part = Part(0, 0, 2, settings, 8, model.state())
    flown = fly(model, load_scenario("cubesat-6u"), part, np.random.default_rng(0))
    assert (flown.open.sum(axis=1) > 1).all()
    assert flown.open[np.arange(len(flown.action)), flown.action].all()
    assert abs(float(flown.advantage.mean())) < 0.2 * float(flown.advantage.std())
    first, again = learn_part(part), learn_part(part)
    assert first.slots == again.slots == flown.slots > 0
    for name, gradient in first.gradient.items():
        np.testing.assert_array_equal(gradient, again.gradient[name])
