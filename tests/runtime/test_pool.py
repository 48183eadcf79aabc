"""The built-in pool says what the shipped packages say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from power_sim.errors import ScenarioError
from power_sim.scenario import load_scenario
from runtime.home import open_packages
from runtime.pool import measured_pool


def test_the_built_in_pool_is_what_the_shipped_profiles_say(repo: Path) -> None:
    scenario = load_scenario("cubesat-6u")
    packages = open_packages(repo / "deploy" / "packages", {m.name: m.package_id for m in scenario.pool.models})
    assert measured_pool(scenario, packages).pool.models == scenario.pool.models


def test_the_pool_file_is_written_by_its_script(repo: Path) -> None:
    script = "import sys; sys.path.insert(0, 'benchmarks'); import make_pool; print(make_pool.pool_text(), end='')"
    run = subprocess.run([sys.executable, "-c", script], cwd=repo, capture_output=True, text=True, check=True)
    assert run.stdout == (repo / "power_sim" / "scenarios" / "pool-eurosat.toml").read_text()


def test_published_figures_stay_as_they_are(repo: Path) -> None:
    paper = load_scenario("paper")
    packages = open_packages(repo / "deploy" / "packages", {m.name: m.package_id for m in paper.pool.models})
    assert measured_pool(paper, packages).pool.models == paper.pool.models


def test_a_profile_beyond_the_device_is_refused(repo: Path) -> None:
    scenario = load_scenario("cubesat-6u")
    models = scenario.pool.models
    hungry = [replace(m, energy_min_j=m.energy_min_j * 9, energy_max_j=m.energy_max_j * 9) for m in models]
    with pytest.raises(ScenarioError, match="imply"):
        scenario.with_pool(hungry)
