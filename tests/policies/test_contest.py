from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies import contest
from policies.abreast import fly_abreast
from policies.abreast_lookahead import lookahead_abreast
from policies.contest import CONTEST_SEED, MISSIONS, Verdict, choosers_of, hold_contest, judge
from policies.errors import PolicyFileError
from policies.evaluate import Job, Serial, evaluate, fly, table_of
from policies.missions import random_mission
from policies.network import Mlp, save_policy_file
from policies.practice import TRAIN_SEED, VALIDATION_SEED
from policies.registry import best_known, make_policy, shipped_path, verdict_on
from policies.shield import Shield
from policies.universal import SLOT_SIZE, describe_universal
from policies.worth import worth_of
from power_sim import Scenario, load_scenario
from power_sim.observation import OPTION, OPTION_SIZE

ROOMY = {"power.battery_wh": "2000", "power.panel_m2": "2.0", "power.max_charge_w": "5000"}


def universal_that_scores(folder: Path, feature: str, weight: float = 1.0) -> Path:
    """A universal policy that looks at one figure of an option alone."""
    first = np.zeros((SLOT_SIZE + OPTION_SIZE, 1), np.float32)
    first[SLOT_SIZE + OPTION.index(feature)] = weight
    network = Mlp((first, np.full((1, 1), weight, np.float32)), (np.zeros(1, np.float32), np.zeros(1, np.float32)))
    path = folder / "universal.npz"
    save_policy_file(path, network, describe_universal({}, {}))
    return path


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cubesat-6u", {}),
        ("eclipse-heavy", {"limits.accuracy_floor_frac": "0.9"}),
        ("uav-survey", {"limits.may_idle": "false"}),
        ("paper", {}),
        ("paper-hidden", {}),
    ],
)
def test_side_by_side_every_policy_flies_as_it_does_alone(name: str, changes: dict[str, str]) -> None:
    scenario, seed, count = load_scenario(name, changes), CONTEST_SEED, 3
    choosers = choosers_of(scenario, shipped_path("universal", scenario))
    together = dict(zip(choosers, fly_abreast(scenario, list(choosers.values()), seed, count), strict=True))
    together["lookahead"] = fly_abreast(scenario, [lookahead_abreast(scenario, seed, count)], seed, count)[0]
    shield = Shield(worth_of(scenario))
    for spec, values in together.items():
        policy = make_policy(spec, scenario, seed=0)
        alone = [fly(scenario, seed + n, policy, shield).value for n in range(count)]
        assert values == pytest.approx(alone, rel=1e-9), spec


def test_a_drawn_mission_with_power_modes_flies_alike_too() -> None:
    drawn = random_mission(800_009)
    waking = replace(drawn.power, idle_compute_by_mode_w={drawn.pool.models[0].mode: drawn.power.idle_compute_w + 1.0})
    scenario = replace(drawn, power=waking)
    planner = lookahead_abreast(scenario, CONTEST_SEED, 2)
    together = fly_abreast(scenario, [planner], CONTEST_SEED, 2)[0]
    policy, shield = make_policy("lookahead", scenario, seed=0), Shield(worth_of(scenario))
    alone = [fly(scenario, CONTEST_SEED + n, policy, shield).value for n in range(2)]
    assert together == pytest.approx(alone, rel=1e-9)


def test_with_all_the_energy_one_could_want_a_rule_beats_a_thrifty_policy(tmp_path: Path) -> None:
    universal_that_scores(tmp_path, "efficiency_frac")
    scenario = load_scenario("cubesat-6u", ROOMY)
    verdict = verdict_on(scenario, tmp_path)
    assert (verdict.by, verdict.missions) == ("contest", MISSIONS)
    assert verdict.policy in ("greedy", "fixed:eurosat-mobilenet-v3-large", "fixed:eurosat-mobilenet-v2")
    assert verdict.contestants[verdict.policy].ahead_mean > 0
    assert make_policy("auto", scenario, seed=0, directory=tmp_path).name == best_known(scenario, tmp_path)


def test_where_energy_is_short_the_shipped_universal_stays() -> None:
    verdict = verdict_on(load_scenario("cubesat-6u", {"workload.queue_max_tile": "7000"}))
    assert (verdict.by, verdict.policy) == ("contest", "universal")
    assert {"greedy", "threshold", "barrier", "lookahead", "fixed:eurosat-resnet18"} < verdict.contestants.keys()
    assert all(one.ahead_mean <= 0 for one in verdict.contestants.values())
    assert "no rule leads universal clearly in" in verdict.reason


def test_the_same_scenario_and_file_get_the_same_verdict() -> None:
    scenario = load_scenario("uav-survey", {"power.battery_wh": "60"})
    path = shipped_path("universal", scenario)
    once = hold_contest(scenario, path)
    assert hold_contest(scenario, path) is once
    contest._held.cache_clear()
    assert hold_contest(scenario, path) == once
    assert once.table()["contestants"]["universal"]["ahead_mean"] == 0.0


def test_another_policy_file_gets_a_contest_of_its_own(tmp_path: Path) -> None:
    scenario = load_scenario("uav-survey")
    before = hold_contest(scenario, universal_that_scores(tmp_path, "efficiency_frac"))
    after = hold_contest(scenario, universal_that_scores(tmp_path, "gain_frac"))
    assert before.universal_sha256 != after.universal_sha256
    assert before.contestants["universal"] != after.contestants["universal"]


def test_ties_and_noise_leave_universal_and_planning_must_lead_the_best_rule() -> None:
    flat, noisy = np.full(16, 2.0), np.where(np.arange(16) % 2, 3.0, 1.001)
    assert judge({"universal": flat, "greedy": flat, "lookahead": flat})[0] == "universal"
    assert judge({"universal": flat, "greedy": noisy, "lookahead": noisy})[0] == "universal"
    assert judge({"universal": flat, "greedy": flat + 0.1, "lookahead": flat + 0.1})[0] == "greedy"
    assert judge({"universal": flat, "greedy": flat + 0.1, "lookahead": flat + 0.2})[0] == "lookahead"
    assert judge({"universal": flat, "greedy": flat * np.nan, "barrier": flat + 0.1})[0] == "barrier"


def test_a_network_gone_mad_is_flown_without_a_warning(tmp_path: Path) -> None:
    path = universal_that_scores(tmp_path, "gain_frac", weight=3e38)
    assert np.isfinite(hold_contest(load_scenario("uav-survey"), path).contestants["universal"].value_mean)


def test_a_scenario_that_a_card_knows_is_not_flown_again() -> None:
    for name in ("paper", "cubesat-6u"):
        scenario = load_scenario(name)
        verdict = verdict_on(scenario)
        if verdict.by != "cards":
            pytest.skip(f"the cards that ship do not know {name} as it is")
        assert (verdict.missions, verdict.contestants) == (0, {})
        assert verdict.policy in verdict.reason


def test_slots_too_short_to_try_out_leave_universal_and_the_reason_says_so() -> None:
    base = load_scenario("sentinel-like")
    verdict = verdict_on(replace(base, orbit=replace(base.orbit, window_days=0.0, slot_s=1.0)))
    assert (verdict.policy, verdict.by) == ("universal", "default")
    assert "6035 slots in one flight are too many" in verdict.reason


def test_a_recorded_load_that_ends_too_early_leaves_universal_and_the_reason_says_so(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("slot,cover,tile\n0,land,5\n1,land,7\n")
    base = load_scenario("uav-survey")
    covers = {"land": next(iter(base.workload.covers.values()))}
    work = replace(base.workload, kind="trace", trace=str(tmp_path / "load.csv"), covers=covers)
    verdict = verdict_on(replace(base, workload=work))
    assert (verdict.policy, verdict.by) == ("universal", "default")
    assert verdict.reason.startswith("no contest: ")
    assert "slot 2 of" in verdict.reason


def test_long_missions_are_cut_to_whole_orbits_and_short_slots_leave_planning_out(tmp_path: Path) -> None:
    path = universal_that_scores(tmp_path, "gain_frac")
    base = load_scenario("cubesat-6u")
    long = replace(base, orbit=replace(base.orbit, window_days=0.0, orbits=500.0))
    flown, slots = contest.as_flown(long)
    assert (flown.orbit.orbits, slots) == (12.0, 384)
    fine = replace(base, orbit=replace(base.orbit, window_days=0.0, orbits=1.0, slot_s=10.0))
    assert "lookahead" not in hold_contest(fine, path).contestants


def test_a_damaged_universal_policy_is_refused_and_a_missing_one_named(tmp_path: Path) -> None:
    scenario = load_scenario("uav-survey")
    assert verdict_on(scenario, tmp_path) == Verdict(
        "universal", "default", "no contest: there is no universal.npz", scenario.sha256
    )
    with pytest.raises(PolicyFileError, match="No trained universal"):
        make_policy("auto", scenario, seed=0, directory=tmp_path)
    (tmp_path / "universal.npz").write_bytes(b"no policy")
    with pytest.raises(PolicyFileError, match="damaged"):
        verdict_on(scenario, tmp_path)


def test_the_seeds_of_contests_are_nobody_elses() -> None:
    assert VALIDATION_SEED + 100_000 < CONTEST_SEED
    assert CONTEST_SEED + MISSIONS < 900_000 < TRAIN_SEED


class Watched(Serial):
    """Keeps what it was asked to do."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def map(self, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
        """Do the jobs."""
        self.jobs += jobs
        return map(function, self.jobs)


def test_an_evaluation_decides_once_what_auto_is_and_says_why() -> None:
    scenario: Scenario = load_scenario("uav-survey", {"power.battery_wh": "60"})
    hands = Watched()
    report = evaluate(scenario, ["auto", "greedy"], range(2), bound=False, executor=hands)
    assert {job.auto for job in hands.jobs} == {report["auto"]} == {report["verdict"]["policy"]}
    assert report["verdict"]["by"] == "contest"
    assert f"auto takes {report['auto']}: {report['verdict']['reason']}" in table_of(report)
    value = report["policies"]["auto"]["value_mean"]
    alone = evaluate(scenario, [report["auto"]], range(2), bound=False)
    assert value == alone["policies"][report["auto"]]["value_mean"]
