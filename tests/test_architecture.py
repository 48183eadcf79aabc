"""The arrows between the packages, and what the flight core may import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MAY_IMPORT = {
    "power_sim": set(),
    "policies": {"power_sim"},
    "exporters": {"power_sim"},
    "runtime": {"power_sim", "policies", "exporters"},
}
HEAVY = ("torch", "gymnasium", "stable_baselines3", "onnx", "matplotlib", "tensorrt", "pycuda", "cuda")
FLIGHT_VERBS = ("replay", "infer", "ground", "run", "status")


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_point_down(package: str, repo: Path) -> None:
    others = set(MAY_IMPORT) - MAY_IMPORT[package] - {package}
    offenders = {
        str(path.relative_to(repo)): sorted(wrong)
        for path in (repo / package).rglob("*.py")
        if (wrong := others & set(imported_packages(path)))
    }
    assert offenders == {}


def test_the_simulator_needs_nothing_but_numpy_and_sgp4(repo: Path) -> None:
    allowed = {"numpy", "sgp4", "power_sim", "tomli", "tomllib", *sys.stdlib_module_names}
    optional = {"env.py": {"gymnasium"}, "plot.py": {"matplotlib"}}
    for path in (repo / "power_sim").rglob("*.py"):
        extra = set(imported_packages(path)) - allowed - optional.get(path.name, set())
        assert not extra, f"{path.name} imports {sorted(extra)}"


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(m.split('.')[0] for m in sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import power_sim", "import policies", "import exporters", "import runtime.cli", "import runtime.replay"],
)
def test_the_flight_core_loads_no_heavy_library(statement: str) -> None:
    assert modules_after(statement) & set(HEAVY) == set()


@pytest.mark.parametrize("verb", FLIGHT_VERBS)
def test_a_flight_command_shows_its_help_without_heavy_libraries(verb: str) -> None:
    statement = f"from runtime.cli import cli; cli(['{verb}', '--help'], standalone_mode=False)"
    assert modules_after(statement) & set(HEAVY) == set()


def test_every_command_has_help_and_stands_in_the_readme(repo: Path) -> None:
    from runtime.cli import cli

    readme = (repo / "README.md").read_text()
    for name, command in cli.commands.items():
        assert command.help, name
        assert f"`{name}" in readme or f"subsolar {name}" in readme, f"{name} is missing from README.md"


def test_the_top_level_holds_what_was_agreed(repo: Path) -> None:
    agreed = {"pyproject.toml", "runtime", "exporters", "policies", "power_sim", "tests", "deploy", "README.md"}
    may_join = {"LICENSE", "CHANGELOG.md", "Makefile", "benchmarks", "docs"}
    tracked = subprocess.run(["git", "ls-files"], cwd=repo, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    if tracked == [""]:
        pytest.skip("needs a git checkout")
    top = {line.split("/")[0] for line in tracked if line}
    assert {name for name in top if not name.startswith(".")} <= agreed | may_join
    assert agreed <= top
