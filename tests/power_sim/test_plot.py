"""The picture of a mission, from Python and through the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from power_sim import PowerSimError, load_scenario, scenario_names
from power_sim.plot import plot_scenario
from runtime.cli.entry import cli

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'subsolar[sim]'")


@pytest.mark.parametrize("name", scenario_names())
def test_the_command_draws_every_built_in_scenario(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.png"
    ran = CliRunner().invoke(cli, ["scenario", name, "--plot", str(path), "--seed", "7", "--json"])
    assert ran.exit_code == 0, ran.output
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 50_000
    assert f'"name": "{name}"' in ran.output


def test_the_command_says_where_the_picture_went_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "paper.png"
    ran = CliRunner().invoke(cli, ["scenario", "paper", "--plot", str(path)])
    assert ran.output == f"wrote {path}\n"


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_the_files_name_chooses_its_format(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"sortie.{ending}"
    plot_scenario(load_scenario("uav-survey"), 7, path)
    assert path.stat().st_size > 10_000
    assert (b"<svg" in path.read_bytes()) == (ending == "svg")


def test_a_folder_that_is_not_there_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "x.png", tmp_path / "x.doc"):
        with pytest.raises(PowerSimError, match="cannot be written"):
            plot_scenario(load_scenario("paper"), 0, path)
