"""Plug-ins: the worked example of docs/plugins.md, installed and used, and refusals in words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporters.package import ModelPackage
from runtime.engines import open_engine
from runtime.errors import EngineError, MissionError
from runtime.plugins import find_plugin, plugin_names

from .recorded import BrightestBand, package_of

PROGRAM = """
import json, sys
from pathlib import Path
from exporters.package import load_package
from runtime.engines import open_engine
from runtime.errors import EngineError
from runtime.infer import infer_scenes
from runtime.meters import open_meter
from runtime.plugins import plugin_names
package = load_package(Path(sys.argv[1]), trust={}, allow_unsigned=True)
engine = open_engine(package, "mean")
result = infer_scenes(package, [Path("pattern:64x48")], Path(sys.argv[2]), engine=engine, meter="clamp:5")
try:
    open_meter("clamp:much")
except EngineError as error:
    told = str(error)
print(json.dumps({"engines": plugin_names("engines"), "told": told, **result.summary()}))
"""


@pytest.fixture
def installed(tmp_path: Path, repo: Path) -> Path:
    """The example as pip would leave it: the module and its entry points."""
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")

    page = (repo / "docs" / "plugins.md").read_text()
    site = tmp_path / "site"
    facts = site / "subsolar_hello-0.1.0.dist-info"
    facts.mkdir(parents=True)
    (python,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (toml,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (site / "subsolar_hello.py").write_text(python)
    groups = tomllib.loads(toml)["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: subsolar-hello\nVersion: 0.1.0\n")
    return site


def test_the_worked_example_runs(
    installed: Path, make_package: Callable[..., ModelPackage], tmp_path: Path, repo: Path
) -> None:
    make_package()
    environment = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{repo}", "TMPDIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path / "colour"), str(tmp_path / "out")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["engines"] == ["mean"]
    assert told["engine"] == "mean"
    (scene,) = told["scenes"]
    assert scene["labels"] == {"blue": 6, "red": 6}
    assert (scene["energy_kind"], scene["energy_j"] > 0) == ("measured", True)
    assert "Write clamp:WATTS" in told["told"]


def test_what_nobody_offers_is_none_and_a_group_that_is_none_is_refused() -> None:
    assert find_plugin("links", "carrier-pigeon") is None
    assert plugin_names("meters") == ()
    with pytest.raises(MissionError, match="sources, tasks, engines, policies, meters, links"):
        plugin_names("wheels")


def test_an_engine_or_task_that_nobody_brings_is_refused_with_those_that_there_are(
    make_package: Callable[..., ModelPackage],
) -> None:
    from runtime.infer import make_task

    package = make_package()
    with pytest.raises(EngineError, match="cpu, cuda, tensorrt"):
        open_engine(package, "abacus")
    with pytest.raises(EngineError, match="probabilities, boxes, image, mask"):
        make_task(package_of(package, "poem", ("verse",)), BrightestBand())


def test_an_engine_can_live_in_a_worker(make_package: Callable[..., ModelPackage]) -> None:
    package = make_package()
    engine = open_engine(package, worker=True)
    try:
        assert (engine.infer(package.golden.tiles) == open_engine(package).infer(package.golden.tiles)).all()
    finally:
        engine.close()


def test_a_plugin_that_cannot_be_imported_is_told(tmp_path: Path, repo: Path) -> None:
    facts = tmp_path / "broken-0.1.dist-info"
    facts.mkdir()
    (facts / "entry_points.txt").write_text("[subsolar.links]\nlost = no_such_module:Link\n")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
    program = (
        "from runtime.plugins import find_plugin\nfrom runtime.errors import MissionError\n"
        "try:\n    find_plugin('links', 'lost')\nexcept MissionError as error:\n    print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{repo}"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "cannot be loaded: No module named 'no_such_module'" in ran.stdout


LAZY = """
from policies.decision import idle


class Lazy:
    name = "lazy"

    def __init__(self, scenario, *, seed):
        self.scenario, self.seed = scenario, seed

    def decide(self, state):
        return idle("it is too early")


class Pigeon:
    def __init__(self, argument):
        self.argument = argument
"""


def test_a_policy_and_a_link_of_another_distribution_answer_to_their_names(tmp_path: Path, repo: Path) -> None:
    facts = tmp_path / "lazy-0.1.dist-info"
    facts.mkdir()
    (tmp_path / "lazy_parts.py").write_text(LAZY)
    (facts / "entry_points.txt").write_text(
        "[subsolar.policies]\nlazy = lazy_parts:Lazy\n[subsolar.links]\npigeon = lazy_parts:Pigeon\n"
    )
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: lazy\nVersion: 0.1\n")
    program = (
        "from power_sim.scenario import load_scenario\nfrom runtime.downlink.links import board_link\n"
        "from runtime.plugins import policy_named\nscenario = load_scenario('cubesat-6u')\n"
        "print(policy_named('lazy', scenario, seed=7).seed, type(policy_named('greedy', scenario, seed=7)).__name__)\n"
        "print(board_link('pigeon:loft 3').argument)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{repo}"}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0].startswith("7 ")
    assert ran.stdout.splitlines()[1] == "loft 3"
