from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs the extra 'train'")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from policies.train_dqn import DqnSettings, train_dqn

from policies.cards import read_card
from policies.curves import read_curve
from policies.errors import TrainingError, TrainingInterrupted
from policies.network import load_policy_file
from policies.registry import make_policy
from power_sim import Simulator, load_scenario

QUICK = DqnSettings(learning_starts=100, batch=32, hidden=(16,))


def silent(done: int, of: int, line: str) -> None:
    pass


def test_training_leaves_a_policy_that_flies_with_card_and_curve(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    lines: list[str] = []
    trained = train_dqn(
        scenario, steps=600, seed=3, out=tmp_path, progress=lambda done, of, line: lines.append(line), settings=QUICK
    )
    assert trained.agreement_frac == 1.0
    assert "reward" in lines[-1]
    card = read_card(trained.path)
    assert card["trained"]["steps"] == 600
    assert card["sha256"] == load_policy_file(trained.path).sha256
    assert [point.step for point in read_curve(trained.curve)][-1] <= 600
    assert trained.path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    policy = make_policy(f"dqn:{trained.path}", scenario, seed=0)
    assert policy.decide(Simulator(scenario, 0).observe()).option_index is not None


def test_equal_seeds_train_equal_policies(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    first, second = (
        train_dqn(scenario, steps=400, seed=1, out=tmp_path / name, progress=silent, settings=QUICK) for name in "ab"
    )
    assert first.file.sha256 == second.file.sha256


def test_a_training_that_was_stopped_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    scenario = load_scenario("paper")

    def stop(done: int, of: int, line: str) -> None:
        if done >= 200:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match=r"stopped at step \d+ of 600"):
        train_dqn(scenario, steps=600, seed=1, out=tmp_path, progress=stop, settings=QUICK)
    trained = train_dqn(scenario, steps=600, seed=1, out=tmp_path, progress=silent, settings=QUICK)
    assert 600 <= trained.steps < 600 + QUICK.train_every
    steps = [point.step for point in read_curve(trained.curve)]
    assert steps == sorted(steps)
    assert np.min(steps) < 200


def test_a_checkpoint_of_another_training_is_not_gone_on_from(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    train_dqn(scenario, steps=200, seed=1, out=tmp_path, progress=silent, settings=QUICK)
    with pytest.raises(TrainingError, match="another scenario, seed or settings"):
        train_dqn(scenario, steps=200, seed=2, out=tmp_path, progress=silent, settings=QUICK)


def test_no_steps_make_no_policy(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="0 training steps"):
        train_dqn(load_scenario("paper"), steps=0, seed=1, out=tmp_path, progress=silent)


@pytest.mark.parametrize("name", ["plan.json", "model.zip", "replay.pkl"])
def test_a_damaged_checkpoint_is_named_and_not_gone_on_from(name: str, tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    train_dqn(scenario, steps=200, seed=1, out=tmp_path, progress=silent, settings=QUICK)
    (tmp_path / "checkpoint" / name).write_bytes(b"{torn")
    with pytest.raises(TrainingError, match="is damaged"):
        train_dqn(scenario, steps=400, seed=1, out=tmp_path, progress=silent, settings=QUICK)
