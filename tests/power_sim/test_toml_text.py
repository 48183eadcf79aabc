"""What ``subsolar scenario`` prints is a scenario."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from power_sim import PowerSimError, load_scenario, scenario_names
from power_sim.config import read_toml
from power_sim.toml_text import toml_text
from runtime.cli import cli


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_that_the_command_printed_is_the_same_scenario(name: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(CliRunner().invoke(cli, ["scenario", name]).output, encoding="utf-8")
    again = load_scenario(mine)
    assert again == load_scenario(name)
    assert again.sha256 == load_scenario(name).sha256
    assert again.pool.models


def test_a_printed_scenario_carries_what_was_set_and_can_be_graded(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    changes = ["--set", "power.bus_w=5.5", "--set", "orbit.orbits=1", "--set", "orbit.window_days=0"]
    mine.write_text(CliRunner().invoke(cli, ["scenario", "cubesat-6u", *changes]).output, encoding="utf-8")
    assert load_scenario(mine).power.bus_w == 5.5
    ran = CliRunner().invoke(cli, ["evaluate", str(mine), "--seeds", "2", "--policies", "greedy"])
    assert ran.exit_code == 0, ran.output
    assert "cubesat-6u, 2 missions" in ran.output


def test_the_list_of_scenarios_says_what_each_is() -> None:
    listed = CliRunner().invoke(cli, ["scenario"]).output.splitlines()
    assert [line.split()[0] for line in listed] == list(scenario_names())
    assert all(load_scenario(line.split()[0]).summary in line for line in listed)


def test_any_table_of_plain_values_reads_back_equal(tmp_path: Path) -> None:
    table = {
        "words": 'quote " back \\ line\n del \x7f ü',
        "numbers": [1, 1e-05, 1e16, float("inf"), -0.5],
        "none": [],
        "odd key, with 'marks'": True,
        "outer": {"inner": {"x": 1, "list": [{"a": 1, "deep": {"b": "c"}}, {"a": 2}]}, "empty": {}},
    }
    path = tmp_path / "table.toml"
    path.write_text(toml_text(table), encoding="utf-8")
    assert read_toml(path) == table


def test_a_value_that_toml_has_no_word_for_is_refused() -> None:
    with pytest.raises(PowerSimError, match="None cannot be written as TOML"):
        toml_text({"a": None})
