"""Mission files: what they may say, and the many ways in which they may not be wrong."""

from __future__ import annotations

import os
import random
import string
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from power_sim.errors import PowerSimError, ScenarioError
from runtime.daemon.forecast import Forecaster
from runtime.daemon.mission import load_mission
from runtime.daemon.run import check_mission

CASES = int(os.environ.get("SUBSOLAR_FUZZ", "200"))


@pytest.mark.parametrize("name", ["satellite", "uav", "laptop", "mixed"])
def test_the_sample_missions_are_good_and_fly_the_packages_that_ship(repo: Path, name: str) -> None:
    folders = {"mission.packages": str(repo / "deploy/packages"), "mission.keys": str(repo / "deploy/keys")}
    assert len(check_mission(repo / f"deploy/missions/{name}.toml", folders)["sha256"]) == 64


def test_paths_of_a_mission_are_written_as_people_would(repo: Path, tmp_path: Path) -> None:
    mission = load_mission(repo / "deploy" / "missions" / "laptop.toml")
    assert mission.state == repo.resolve() / "build" / "daemon" / "state"
    assert ".." not in str(mission.socket)
    assert mission.at("/run/a.sock") == Path("/run/a.sock")
    assert mission.at("link/../b") == mission.path.parent / "link" / ".." / "b"  # a link may lead anywhere


def test_a_uavs_battery_is_kept_for_its_sortie_and_no_longer(repo: Path) -> None:
    scenario = load_mission(repo / "deploy/missions/uav.toml").scenario
    forecaster = Forecaster(scenario)
    first = forecaster.ahead(1000.0)
    floor_j, plant = first.leg._timeline.floor_j, first.leg._timeline.plant
    assert (len(floor_j), floor_j[-1]) == (120, plant.reserve_j)
    assert floor_j[0] < 0.9 * plant.capacity_j, "there is something left to infer with"
    assert forecaster.ahead(1000.0 + 119 * scenario.orbit.slot_s).leg is first.leg
    assert forecaster.ahead(1000.0 + 120 * scenario.orbit.slot_s).leg is not first.leg


def test_a_mission_takes_a_scenario_and_puts_its_own_keys_over_it(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('base = "cubesat-6u"\n[power]\nbus_w = 7.0\n[mission]\nstate = "s"\n')
    mission = load_mission(file)
    assert (mission.scenario.power.bus_w, mission.scenario.power.battery_wh > 0) == (7.0, True)
    assert mission.state == tmp_path / "s"
    assert mission.socket == tmp_path / "s" / "control.sock"
    assert mission.sha256 != load_mission(file, {"power.bus_w": "8"}).sha256


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "mission is missing. Add it at the top of the file, or as a table"),
        ('base = "cubesat-6u"\n[mission]\nstate = ""', "mission.state"),
        ('[mission]\nstat = "s"', "Did you mean state"),
        ('base = "cubesat-7u"\n[mission]\nstate = "s"', "cubesat-7u"),
        ('base = "paper"\n[mission]\nstate = "s"', "cannot be flown"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\n[source]\nkind = "command"', "{out}"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\n[source]\nkind = "stream"', "source.stream"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\n[source]\ncover = "moon"', "moon"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\n[supply]\nkind = "eps"', "supply.path"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\n[supply]\ncan = { ZZ = "a:0:2:1" }', "HEXID"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\n[radio]\nkind = "udp"', "HOST:PORT"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\n[ladder]\nsafe_frac = 0.5', "above"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\n[ladder]\nsafe_frac = nan', "out of range"),
        ('base = "cubesat-6u"\n[mission]\nstate = "s"\nthreads = 1e3', "whole number"),
        ("[mission", "TOML"),
    ],
)
def test_a_wrong_mission_is_refused_with_its_key(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "m.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as refusal:
        load_mission(file)
    assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


def mutate(text: str, rng: random.Random) -> str:
    """One of many ways to be wrong; always at least one that no mission file may have."""
    lines = text.splitlines()
    keys = [i for i, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    at = rng.choice(keys)
    name = lines[at].split("=")[0].strip()
    kind = rng.randrange(6)
    if kind == 0:
        lines[at] = lines[at].replace(name, name + rng.choice(string.ascii_lowercase), 1)
    elif kind == 1:
        lines[at] = f"{name} = {rng.choice(['nan', 'inf', '-1e308', '2023-01-01', '[[]]', '{}', '[1, [2]]'])}"
    elif kind == 2:
        lines[at] = lines[at][: rng.randrange(len(name) + 2)]
    elif kind == 3:
        lines.insert(at, lines[at])
    elif kind == 4:
        lines[at] = f"{name} = {'[' * rng.randrange(1, 2000)}"
    else:
        lines[at] = lines[at] + rng.choice(["\0", " =", ' "', "\x80", " 7"])
    return "\n".join(lines)


def test_r12_malformed_missions_never_load(make_craft: Callable[..., Any]) -> None:
    """``make fuzz-daemon`` runs 1,000. A mutation that leaves a valid file must leave a whole mission."""
    craft = make_craft(start=False)
    good, rng, refused = craft.mission.read_text(), random.Random(12), 0
    for _ in range(CASES):
        craft.mission.write_text(mutate(good, rng), encoding="utf-8")
        try:
            mission = load_mission(craft.mission)
        except PowerSimError:
            refused += 1
        else:
            assert all(getattr(mission, item.name) is not None for item in fields(mission) if item.name != "chain")
    assert refused > 0.9 * CASES
