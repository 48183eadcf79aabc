"""What ``auto`` takes for a mission: decided at the start, told everywhere, and flown again from the trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.errors import UnknownPolicyError
from power_sim import load_scenario
from runtime.daemon.auto import FLIGHT_ORBITS, mission_verdict, note_verdict
from runtime.daemon.run import check_mission
from runtime.daemon.trace import fly_trace
from runtime.errors import MissionError
from runtime.status import table_of

AUTO = ('name = "greedy"', 'name = "auto"')


@pytest.fixture
def craft(make_craft: Callable[..., Any]) -> Any:
    return make_craft(change=AUTO)


def header_of(trace: Path) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(trace.read_text().splitlines()[0])
    return header


def test_status_trace_and_check_say_what_auto_took_and_why(craft: Any) -> None:
    craft.image()
    craft.fly(3)
    status = craft.daemon.status
    told = status["auto"]
    assert told["by"] == "contest"
    assert {"universal", "greedy", "barrier", "threshold", "lookahead", "fixed:thrifty"} < told["contestants"].keys()
    assert status["policy"] == told["policy"] == craft.daemon.wired.loop.policy.name
    assert f"policy {told['policy']}, which auto took: {told['reason']}" in table_of(status)
    header = header_of(craft.folder / "state" / "trace.jsonl")
    assert header["policy"] == "auto"
    assert header["auto"] == json.loads(json.dumps(told))
    assert check_mission(craft.mission)["policy"].startswith("auto takes ")


def test_a_flight_under_auto_decides_alike_when_it_is_flown_again(craft: Any) -> None:
    for slot in range(6):
        if slot % 2 == 0:
            craft.image(f"{slot}.tif", seed=slot)
        craft.battery(0.95 - 0.02 * slot)
        craft.fly()
    result = fly_trace(craft.folder / "state" / "trace.jsonl")
    assert (result.complete, result.slots, result.verdicts) == (True, 6, ())


def test_a_trace_flies_again_with_what_auto_took_aboard_and_tells_where_it_would_take_another(craft: Any) -> None:
    craft.image()
    craft.fly(2)
    trace = craft.folder / "state" / "trace.jsonl"
    own = header_of(trace)["auto"]["policy"]
    other = "threshold" if own != "threshold" else "barrier"
    changed = trace.with_name("changed.jsonl")
    changed.write_text(trace.read_text().replace(f'"auto":{{"policy":"{own}"', f'"auto":{{"policy":"{other}"'))
    result = fly_trace(changed)
    assert result.verdicts[0].startswith(f"start 1: auto took {other} aboard, it takes {own} here: ")
    assert result.verdicts[0] in result.table()


@pytest.mark.parametrize("auto", ["5", "{}", '{"policy":7}'])
def test_a_trace_whose_verdict_was_changed_is_refused(craft: Any, auto: str) -> None:
    craft.fly()
    trace = craft.folder / "state" / "trace.jsonl"
    header, *slots = trace.read_text().splitlines()
    broken = {**json.loads(header), "auto": json.loads(auto)}
    trace.write_text("\n".join([json.dumps(broken), *slots]) + "\n")
    with pytest.raises(MissionError, match="names no policy"):
        fly_trace(trace)


def test_a_trace_that_names_no_known_policy_is_refused(craft: Any) -> None:
    craft.fly()
    trace = craft.folder / "state" / "trace.jsonl"
    header, *slots = trace.read_text().splitlines()
    broken = {**json.loads(header), "auto": {"policy": "gredy"}}
    trace.write_text("\n".join([json.dumps(broken), *slots]) + "\n")
    with pytest.raises(UnknownPolicyError, match="greedy"):
        fly_trace(trace)


def test_a_mission_that_names_its_policy_holds_no_contest(make_craft: Callable[..., Any]) -> None:
    craft = make_craft()
    craft.fly()
    assert (craft.daemon.status["policy"], craft.daemon.status["auto"]) == ("greedy", None)
    assert "auto" not in header_of(craft.folder / "state" / "trace.jsonl")
    assert check_mission(craft.mission)["policy"] == "greedy"


def test_a_reload_that_changes_what_auto_takes_is_an_event(craft: Any) -> None:
    own = craft.daemon.status["policy"]
    craft.daemon.reload()
    craft.fly()
    assert "auto took" not in craft.events()
    told: list[str] = []
    verdict = craft.daemon.wired.verdict
    note_verdict(replace(verdict, policy="barrier", reason="it leads"), verdict, told.append)
    assert told == [f"auto took {own}, it takes barrier from here on: it leads"]


def test_a_flight_that_does_not_end_is_tried_out_from_many_starts_and_for_long() -> None:
    base = load_scenario("iss-orbit")
    asked = replace(base, policy=replace(base.policy, name="auto"))
    verdict = mission_verdict(replace(asked, orbit=replace(base.orbit, window_days=0.0)))
    longer = replace(base.orbit, window_days=1.0, orbits=FLIGHT_ORBITS)
    assert verdict is not None
    assert verdict.by == "contest"
    assert verdict.scenario_sha256 == replace(asked, orbit=longer).sha256
    assert mission_verdict(base) is None
