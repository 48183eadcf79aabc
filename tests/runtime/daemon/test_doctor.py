"""The doctor sees what is there and says what to do about what is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.doctor import battery, clock, examine, gpu, temperature, writable


def test_a_mission_s_needs_are_looked_at(make_craft: Callable[..., Any]) -> None:
    craft = make_craft(start=False)
    findings = {finding.what: finding for finding in examine(craft.mission)}
    assert findings["mission"].good
    assert findings["state folder"].good
    assert findings["trusted keys"].good
    assert "charge_frac 0.95" in findings["supply"].found or "old" in findings["supply"].found
    (craft.folder / "packages" / "accurate" / "signature").unlink()
    (craft.folder / "eps.txt").unlink()
    findings = {finding.what: finding for finding in examine(craft.mission)}
    assert "not signed" in findings["mission"].advice
    assert not findings["supply"].good


def test_a_machine_is_described_by_its_files(tmp_path: Path) -> None:
    for folder, name, text in (
        ("power/BAT0", "capacity", "80"),
        ("thermal/thermal_zone0", "type", "CPU-therm"),
        ("etc", "nv_tegra_release", "# R36 (release), REVISION: 4.0"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_text(text)
    assert "BAT0" in battery(tmp_path / "power").found
    assert "none" in battery(tmp_path / "etc").found
    assert "CPU-therm" in temperature(tmp_path / "thermal").found
    assert "R36" in gpu(tmp_path).found
    assert "none seen" in gpu(tmp_path / "etc").found


def test_a_clock_that_was_never_set_is_told(tmp_path: Path) -> None:
    assert not clock(tmp_path / "none", now_unix_s=0.0).good
    assert "not known to be synchronised" in clock(tmp_path / "none", now_unix_s=1.9e9).found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told_with_what_to_do() -> None:
    finding = writable("state folder", Path("/proc/subsolar"))
    assert finding.good is False
    assert "install -d" in finding.advice
