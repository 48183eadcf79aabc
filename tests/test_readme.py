"""The README's code runs, and what it names exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest


def test_the_ten_lines_fly_a_mission(repo: Path) -> None:
    found = re.search(r"```python\n(.*?)```", (repo / "README.md").read_text(), re.DOTALL)
    assert found is not None
    names: dict[str, object] = {}
    exec(found.group(1), names)
    assert names["outcome"].truncated  # type: ignore[attr-defined]


def test_every_local_link_leads_somewhere(repo: Path) -> None:
    for page in [repo / "README.md", *(repo / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_that_a_page_names_exists(repo: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (repo / "Makefile").read_text(), re.MULTILINE))
    for page in [repo / "README.md", *(repo / "docs").glob("*.md")]:
        named = set(re.findall(r"`make ([a-z0-9-]+)", page.read_text()))
        assert named <= targets, f"{page.name} names {sorted(named - targets)}"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_replay_flies_the_scenario_of_the_readme(repo: Path) -> None:
    plan = subprocess.run(["make", "-n", "replay"], cwd=repo, capture_output=True, text=True, check=True).stdout
    assert "subsolar replay cubesat-6u --orbits 3 --seed 7" in plan
