"""The picture of a mission."""

from __future__ import annotations

from pathlib import Path

import pytest

from power_sim import PowerSimError, load_scenario
from power_sim.plot import plot_scenario


@pytest.mark.parametrize(("name", "ending"), [("cubesat-6u", "png"), ("uav-survey", "svg"), ("paper", "png")])
def test_a_mission_is_drawn_as_png_or_svg(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.{ending}"
    plot_scenario(load_scenario(name), 7, path)
    assert path.stat().st_size > 20_000


def test_a_folder_that_is_not_there_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "x.png", tmp_path / "x.doc"):
        with pytest.raises(PowerSimError, match="cannot be written"):
            plot_scenario(load_scenario("paper"), 0, path)
