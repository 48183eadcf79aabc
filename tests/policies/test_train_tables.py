"""Q-learning and policy gradient: trained, stopped, gone on with, exported and flown by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.cards import read_card
from policies.curves import read_curve
from policies.errors import PolicyFileError, TrainingError, TrainingInterrupted
from policies.network import load_policy_file, write_arrays
from policies.practice import best_open, worth_on
from policies.registry import make_policy, shipped_path
from policies.tabular import Bins, Table, load_table, save_table, tabular_policy
from policies.train_gradient import GradientSettings, Net, chances, train_gradient
from policies.train_q_learning import QSettings, grid_for, measure_bins, train_q_learning
from power_sim import Scenario, Simulator, load_scenario, observe

KINDS = ("q-learning", "policy-gradient")
SLOTS = 4 * 64 * 30


def silent(done: int, of: int, line: str) -> None:
    pass


def train(kind: str, scenario: Scenario, out: Path, progress: Callable[[int, int, str], None] = silent) -> Any:
    if kind == "q-learning":
        tables = (QSettings("accuracy", 0.0, 0.0), QSettings("accuracy", 0.2, 0.9))
        return train_q_learning(scenario, steps=SLOTS, seed=0, out=out, progress=progress, grid=tables)
    nets = (GradientSettings(3e-3, 0.0, 0.0, hidden=16), GradientSettings(1e-3, 0.1, 0.9, hidden=16))
    return train_gradient(scenario, steps=SLOTS, seed=0, out=out, progress=progress, grid=nets)


@pytest.mark.parametrize("kind", KINDS)
def test_training_leaves_a_policy_that_flies_with_card_and_curve(kind: str, tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    trained = train(kind, scenario, tmp_path)
    assert trained.agreement_frac == 1.0
    assert trained.path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    card = read_card(trained.path)
    assert card["kind"] == kind
    assert card["trained"]["settings_tried"] == 2
    assert read_curve(trained.curve)[-1].step == trained.steps
    policy = make_policy(f"{kind}:{trained.path}", scenario, seed=0)
    assert policy.name == kind
    assert policy.decide(Simulator(scenario, 0).observe()).option_index in (0, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_was_stopped_ends_with_the_same_bytes(kind: str, tmp_path: Path) -> None:
    scenario, calls = load_scenario("paper"), []

    def stop(done: int, of: int, line: str) -> None:
        calls.append(done)
        if len(calls) in (1, 4):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(TrainingInterrupted, match="Run the same again"):
            train(kind, scenario, tmp_path / "cut", stop)
    cut, whole = train(kind, scenario, tmp_path / "cut"), train(kind, scenario, tmp_path / "whole")
    assert cut.path.read_bytes() == whole.path.read_bytes()
    assert cut.curve.read_bytes() == whole.curve.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_that_is_damaged_or_of_another_training_is_refused(kind: str, tmp_path: Path) -> None:
    train(kind, load_scenario("paper"), tmp_path)
    with pytest.raises(TrainingError, match="another scenario, seed, length or settings"):
        train(kind, load_scenario("paper-hidden"), tmp_path)
    (tmp_path / "checkpoint" / f"{kind}.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(TrainingError, match="is damaged"):
        train(kind, load_scenario("paper"), tmp_path)


@pytest.mark.parametrize("name", ["paper", "cubesat-6u"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_shipped_policies_are_small_and_better_than_chance(kind: str, name: str) -> None:
    scenario, rng = load_scenario(name), np.random.default_rng(0)
    path = shipped_path(kind, scenario)
    assert path.stat().st_size < 200_000
    network = load_table(path).table if kind == "q-learning" else load_policy_file(path).network
    assert make_policy(kind, scenario, seed=0).decide(Simulator(scenario, 0).observe()).reason
    chance = worth_on(scenario, lambda row, is_open: best_open(rng.random(is_open.shape), is_open), count=8)
    worth = worth_on(scenario, lambda row, is_open: best_open(np.array([network(r) for r in row]), is_open), count=8)
    assert worth > chance


def test_a_pool_that_a_table_has_never_seen_is_refused() -> None:
    path = shipped_path("q-learning", load_scenario("paper"))
    with pytest.raises(PolicyFileError, match="subsolar train q-learning --scenario cubesat-6u"):
        make_policy(f"q-learning:{path}", load_scenario("cubesat-6u"), seed=0)


def test_a_file_of_another_kind_or_layout_is_refused(tmp_path: Path) -> None:
    scenario = load_scenario("paper")
    table, network = shipped_path("q-learning", scenario), shipped_path("dqn", scenario)
    with pytest.raises(PolicyFileError, match="without a table"):
        make_policy(f"q-learning:{network}", scenario, seed=0)
    with pytest.raises(PolicyFileError, match="holds no network"):
        make_policy(f"dqn:{table}", scenario, seed=0)
    with pytest.raises(PolicyFileError, match="Ask for dqn:PATH"):
        make_policy(f"policy-gradient:{network}", scenario, seed=0)
    held = load_table(table)
    file = save_table(tmp_path / "old.npz", held.table, {**held.about, "layout": "old-0"})
    with pytest.raises(PolicyFileError, match="layout 'old-0'"):
        tabular_policy(file, scenario, "old.npz")


def test_a_table_whose_parts_do_not_fit_is_refused(tmp_path: Path) -> None:
    bins = Bins(56, (0,), ((0.5,),))
    save_table(tmp_path / "t.npz", Table(bins, np.zeros((3, 3), np.float32)), {"kind": "q-learning"})
    with pytest.raises(PolicyFileError, match="do not fit"):
        load_table(tmp_path / "t.npz")
    write_arrays(tmp_path / "n.npz", {"w0": np.zeros((2, 2), np.float32)}, {})
    with pytest.raises(PolicyFileError):
        load_policy_file(tmp_path / "n.npz")


def test_one_row_and_many_rows_fall_into_the_same_cells() -> None:
    scenario = load_scenario("cubesat-6u")
    for name in {point.bins for point in grid_for(scenario)}:
        bins = measure_bins(scenario, name, 0, None)
        assert bins is not None
        simulator, rows = Simulator(scenario, 3), []
        while not simulator.over:
            state = simulator.observe()
            rows.append(observe(state))
            simulator.advance(*_idle())
        cells = bins.cells_of(np.stack(rows))
        assert cells.tolist() == [bins.cell(row.tolist()) for row in rows]
        assert int(cells.max()) < bins.cells


def _idle() -> tuple[Any, None]:
    from power_sim.slot import IDLE

    return IDLE, None


def test_the_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(1)
    net = Net((5, 8, 8, 3), rng, 1.0)
    rows, weight = rng.normal(size=(6, 5)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)
    gradient = net.backward(net.forward(rows), weight)

    def loss() -> float:
        return float((net.forward(rows)[-1].astype(np.float64) * weight).sum())

    for parameter, slope in zip(net.parameters, gradient, strict=True):
        place, step = (0,) * parameter.ndim, np.float32(1e-2)
        before = loss()
        parameter[place] += step
        assert (loss() - before) / step == pytest.approx(float(slope[place]), abs=0.05)
        parameter[place] -= step


def test_an_action_that_is_not_open_has_no_chance() -> None:
    is_open = np.array([[True, False, True]])
    chance = chances(np.array([[0.0, 50.0, 0.0]], np.float32), is_open)
    assert chance.tolist() == [[0.5, 0.0, 0.5]]
