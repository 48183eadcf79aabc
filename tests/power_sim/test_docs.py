"""What the pages show runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from power_sim import Simulator, admit, load_scenario


def test_the_sections_that_the_scenario_page_shows_fly_together(repo: Path, tmp_path: Path) -> None:
    text = (repo / "power_sim" / "scenarios" / "cubesat-6u.toml").read_text(encoding="utf-8")
    sections = {part.split("]", 1)[0]: f"[{part}" for part in re.split(r"^\[", text, flags=re.MULTILINE)[1:]}
    shown = re.findall(r"```toml\n(.*?)```", (repo / "docs" / "scenarios.md").read_text(encoding="utf-8"), re.DOTALL)
    kept = [part for name, part in sections.items() if name not in ("orbit", "power", "pool")]
    faces = "faces_m2 = { zenith = 0.050, ram = 0.026 }\nbattery_wh = 26.0\n"
    (tmp_path / "mine.toml").write_text("\n".join([*shown, *kept]).replace("[power]\n", f"[power]\n{faces}", 1))
    mission = Simulator(load_scenario(tmp_path / "mine.toml"), 0)
    state = mission.observe()
    assert [(option.model, option.mode) for option in state.options] == [("my-network", "15W"), ("my-network", "30W")]
    assert [option.awake_j for option in state.options] == pytest.approx([90.0, 360.0])
    assert not mission.advance(admit(state, state.options[1]), state.options[1]).reserve_violated


def test_the_code_of_the_physics_page_runs(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for code in re.findall(
        r"```python\n(.*?)```", (repo / "docs" / "physics.md").read_text(encoding="utf-8"), re.DOTALL
    ):
        exec(code, names)
    assert capsys.readouterr().out.startswith("0 [0.6")
