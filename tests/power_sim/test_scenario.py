"""Scenario files: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from power_sim import ModelProfile, OrbitError, Scenario, ScenarioError, Simulator, load_scenario, scenario_names
from power_sim.config import read_table
from power_sim.profiles import slot_capacity_tile
from power_sim.scenario import read_scenario

NAMES = scenario_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_scenario_survives_the_way_through_its_table(name: str) -> None:
    scenario = load_scenario(name)
    again = read_scenario(scenario.to_table(), name)
    assert again == scenario
    assert again.sha256 == scenario.sha256
    assert scenario.summary


def test_the_hash_tells_effective_configurations_apart() -> None:
    plain = load_scenario("cubesat-6u")
    assert load_scenario("cubesat-6u", {"power.bus_w": "6.0"}).sha256 == plain.sha256
    assert load_scenario("cubesat-6u", {"power.bus_w": "6.1"}).sha256 != plain.sha256


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"power.battery_j": "5"}, ["cubesat-6u.toml", "power.battery_j", "not a known key", "battery_wh"]),
        ({"power.battery_wh": "-1"}, ["power.battery_wh = -1", "above 0"]),
        ({"power.battery_wh": "nan"}, ["power.battery_wh = nan", "above 0"]),
        ({"power.battery_wh": "inf"}, ["power.battery_wh = inf"]),
        ({"power.battery_wh": "full"}, ["power.battery_wh = 'full'", "a number"]),
        ({"power.battery_wh": "true"}, ["power.battery_wh = True", "a number"]),
        ({"orbit.slot_s": "0"}, ["orbit.slot_s = 0", "at least 1"]),
        ({"orbit.altitude_km": "50"}, ["orbit.altitude_km = 50", "at least 120"]),
        ({"orbit.altitude_km": "-5"}, ["orbit.altitude_km = -5"]),
        ({"orbit.kind": "polar"}, ["orbit.kind = 'polar'", "sgp4"]),
        ({"orbit.kind": "tle"}, ["orbit.tle has 0 lines", "two lines"]),
        ({"orbit.start_utc": "yesterday"}, ["'yesterday'", "2023-10-16T00:00:00Z"]),
        ({"limits.may_idle": "1"}, ["limits.may_idle = 1", "true or false"]),
        ({"policy.horizon_slots": "2.5"}, ["policy.horizon_slots = 2.5", "a whole number"]),
        ({"workload.covers.urban.classes.River": "0.5"}, ["workload.covers.urban.classes", "1"]),
        ({"workload.covers": "7"}, ["workload.covers = 7", "table"]),
        ({"power.faces_m2.top": "1"}, ["power.faces_m2.top", "zenith"]),
        ({"power.initial_charge_max_frac": "0.1"}, ["initial_charge_min_frac", "Swap"]),
        ({"thermal.throttle_c": "90"}, ["thermal.throttle_c", "85"]),
        ({"pool.file": "none.toml"}, ["pool.file = 'none.toml'"]),
        ({"name.first": "x"}, ["name"]),
        ({"fuel.kg": "1"}, ["fuel"]),
    ],
)
def test_a_wrong_value_is_refused_naming_the_key_and_what_would_be_right(
    overrides: Mapping[str, str], words: list[str]
) -> None:
    with pytest.raises(ScenarioError) as caught:
        Simulator(load_scenario("cubesat-6u", overrides), seed=0)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["cubsat-6u", "cubesat6u", "CubeSat-6U"])
def test_a_scenario_that_is_nearly_a_known_one_is_answered_with_that_one(name: str) -> None:
    with pytest.raises(ScenarioError, match=rf"scenario '{name}' is unknown\. Did you mean cubesat-6u\?"):
        load_scenario(name)


def test_an_unknown_scenario_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ScenarioError, match=r"cubesat-6u.*paper"):
        load_scenario("cubsat")


def test_broken_toml_and_missing_keys_name_the_file(tmp_path: Path) -> None:
    broken = tmp_path / "mine.toml"
    broken.write_text("[power\n")
    with pytest.raises(ScenarioError, match=r"mine\.toml is not valid TOML"):
        load_scenario(broken)
    broken.write_text('[[pool.models]]\nname = "x"\n')
    with pytest.raises(ScenarioError, match=r"mine\.toml: pool\.models\[0\]\.accuracy_min_frac is missing"):
        load_scenario(broken)


def test_a_users_file_may_name_a_pool_beside_it(tmp_path: Path) -> None:
    (tmp_path / "nets.toml").write_text(
        '[[models]]\nname = "own"\naccuracy_min_frac = 0.9\naccuracy_max_frac = 0.9\n'
        "energy_min_j = 0.02\nenergy_max_j = 0.02\ntime_min_s = 0.002\ntime_max_s = 0.002\n"
    )
    (tmp_path / "mine.toml").write_text(
        '[orbit]\nkind = "ideal"\nslots_per_orbit = 10\n[workload]\nkind = "uniform"\ntile_max = 100.0\n'
        '[workload.covers.scene]\ntile_per_s = 0.0\n[pool]\nfile = "nets.toml"\n'
    )
    scenario = load_scenario(tmp_path / "mine.toml")
    assert [model.name for model in scenario.pool.models] == ["own"]
    assert scenario.name == "mine"


def test_a_stale_tle_is_refused_with_its_age() -> None:
    lines = (
        '["1 44878U 19092F   23288.90563444  .00057107  00000+0  13413-2 0  9993", '
        '"2 44878  97.4679 119.7695 0008377  62.8707 297.3393 15.41794569212347"]'
    )
    fresh = {"orbit.kind": "tle", "orbit.tle": lines, "orbit.start_utc": "2023-10-16T00:00:00Z"}
    assert Simulator(load_scenario("cubesat-6u", {**fresh, "orbit.window_days": "0"}), 0).slots == 93
    with pytest.raises(OrbitError, match=r"77 days .* max_tle_age_days = 30"):
        Simulator(load_scenario("cubesat-6u", {**fresh, "orbit.start_utc": "2024-01-01T00:00:00Z"}), 0)


def profile(**changes: object) -> ModelProfile:
    return read_table(
        ModelProfile,
        {
            "name": "net",
            "accuracy_min_frac": 0.9,
            "accuracy_max_frac": 0.9,
            "energy_min_j": 0.02,
            "energy_max_j": 0.02,
            "time_min_s": 0.002,
            "time_max_s": 0.002,
            **changes,
        },
        source="test",
        section="pool.models",
    )


def test_the_papers_profiles_are_refused_unless_told_otherwise() -> None:
    """DECISION 3: Table 3 implies 86 to 297 W, the device draws at most 60 W."""
    with pytest.raises(ScenarioError) as caught:
        load_scenario("paper", {"pool.allow_implausible": "false"})
    for word in ("MobileNetV3", "193-297 W", "60 W", "AGX Orin", "allow_implausible = true"):
        assert word in str(caught.value)
    implied = [model.implied_w() for model in load_scenario("paper").pool.models]
    assert min(low for low, _ in implied) == pytest.approx(86, abs=1)
    assert max(high for _, high in implied) == pytest.approx(297, abs=1)


def test_the_papers_slot_has_no_time_for_the_papers_load() -> None:
    capacity = [slot_capacity_tile(model, 189.0) for model in load_scenario("paper").pool.models]
    assert min(low for low, _ in capacity) == 23_625
    assert max(high for _, high in capacity) == 54_000


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([], "empty"),
        ([profile(), profile()], "twice"),
        ([profile(energy_min_j=0.03)], "Swap"),
        ([profile(energy_min_j=0.2, energy_max_j=0.2)], "100-100 W"),
        ([profile(energy_min_j=2e-5, energy_max_j=2e-5)], "below"),
    ],
)
def test_a_pool_handed_in_is_checked_like_one_from_a_file(models: list[ModelProfile], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario("cubesat-6u").with_pool(models)


def test_a_pool_handed_in_replaces_the_networks() -> None:
    recalls = {"SeaLake": 0.5}
    scenario = load_scenario("cubesat-6u").with_pool([profile(), profile(mode="15w", recall_by_class=recalls)])
    assert [(m.name, m.mode) for m in scenario.pool.models] == [("net", "default"), ("net", "15w")]
    assert scenario.pool.models[1].accuracy_on_frac("sea", {"SeaLake": 1.0}) == 0.5
    assert scenario.pool.models[1].accuracy_on_frac("forest", {"Forest": 1.0}) == 0.9
    assert isinstance(scenario, Scenario)
