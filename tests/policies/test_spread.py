"""Who flies an evaluation does not matter; the picture and the share of the best flight's gain."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from policies.errors import EvaluationError
from policies.evaluate import evaluate, table_of
from policies.frontier_plot import draw_frontier, refuse_undrawable
from policies.spread import Processes, cores
from power_sim import load_scenario

POLICIES = ["greedy", "random", "fixed:*"]


def command(repo: Path, *arguments: str) -> Any:
    ran = subprocess.run(
        [sys.executable, "-c", "from runtime.cli import main; main()", *arguments],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def without_times(report: Any) -> Any:
    if isinstance(report, dict):
        return {name: without_times(value) for name, value in report.items() if "_us_" not in name}
    return report


def root(number: int) -> float:
    return float(number) ** 0.5


def refuse(number: int) -> float:
    raise EvaluationError(f"no {number}")


def test_processes_give_what_one_process_gives() -> None:
    scenario = load_scenario("paper")
    spread = evaluate(scenario, POLICIES, range(3), executor=Processes(2))
    assert without_times(spread) == without_times(evaluate(scenario, POLICIES, range(3)))


def test_results_keep_the_order_and_refusals_come_through() -> None:
    assert list(Processes(2).map(root, [9, 4, 1])) == [3.0, 2.0, 1.0]
    assert list(Processes(1).map(root, [])) == []
    with pytest.raises(EvaluationError, match="no 7"):
        list(Processes(2).map(refuse, [7, 8]))
    assert cores() >= 1


def test_a_real_local_ray_gives_what_processes_give(repo: Path) -> None:
    if find_spec("ray") is None:
        pytest.skip("needs the extra: ray")
    common = ("evaluate", "paper", "--policies", "greedy,random", "--seeds", "3", "--json")
    assert without_times(command(repo, *common, "--executor", "ray")) == without_times(command(repo, *common))


def test_perfect_foresight_is_the_whole_of_its_own_gain() -> None:
    """In the paper's set-up greedy is the optimum, so that it gets all of what is to be gained."""
    report = evaluate(load_scenario("paper"), ["greedy", "raw:fixed:*", "fixed:MobileNetV3"], range(6))
    entry = report["headroom"]["raw:fixed:MobileNetV2"]
    assert entry["bound_gain_frac"] == pytest.approx(0.33, abs=0.08)
    assert entry["share_frac"] == {"greedy": pytest.approx(1.0)}
    assert "share of the best flight's gain over" in table_of(report)
    json.dumps(report, allow_nan=False)


def test_where_nothing_is_to_be_gained_there_is_no_share() -> None:
    hidden = load_scenario("paper", {"pool.draw": "mean"})
    report = evaluate(hidden, ["greedy", "fixed:MobileNetV3"], range(2))
    entry = report["headroom"]["fixed:MobileNetV3"]
    assert entry["bound_gain_frac"] == pytest.approx(0.0, abs=1e-6)
    assert entry["share_frac"] == {"greedy": None}
    assert "  -" in table_of(report)


def test_the_frontier_is_drawn_with_the_bound(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra 'sim'")
    report = evaluate(load_scenario("paper"), POLICIES, range(3))
    draw_frontier(report, tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
    draw_frontier(evaluate(load_scenario("paper"), ["greedy"], range(2), bound=False), tmp_path / "f.svg")
    with pytest.raises(EvaluationError, match="cannot be written"):
        draw_frontier(report, tmp_path / "missing" / "frontier.png")
    refuse_undrawable(tmp_path / "frontier.png")
    for name, words in (("missing/frontier.png", "there is no folder"), ("frontier.xyz", "ends in .png")):
        with pytest.raises(EvaluationError, match=words):
            refuse_undrawable(tmp_path / name)
