"""What a flight takes of its machine: memory, files, and no word to anybody."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

OPEN_ALL = """
import sys
from pathlib import Path
from exporters.onnx_runtime import import_onnxruntime
from exporters.package import load_package
from runtime.engines import open_onnx_engine
from runtime.engines.memory import resident_byte

deploy = Path(sys.argv[1])
import_onnxruntime()
packages = [load_package(deploy / "packages" / name, trust=deploy / "keys") for name in sys.argv[2:]]
before = resident_byte()
engines = [open_onnx_engine(package) for package in packages]
print(resident_byte() - before, sum(package.onnx_path.stat().st_size for package in packages))
"""
POOL = ("eurosat-mobilenet-v2", "eurosat-mobilenet-v3-large", "eurosat-resnet18")
LOUD = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")


def opened(repo: Path, home: Path, *names: str) -> list[int]:
    kept = {name: value for name, value in os.environ.items() if name not in LOUD}
    command = [sys.executable, "-c", OPEN_ALL, str(repo / "deploy"), *names]
    run = subprocess.run(command, env={**kept, "HOME": str(home)}, cwd=repo, capture_output=True, text=True, check=True)
    return [int(word) for word in run.stdout.split()]


def test_loaded_networks_keep_little_of_what_their_preparation_took(repo: Path, tmp_path: Path) -> None:
    taken_byte, graph_byte = opened(repo, tmp_path, *POOL)
    assert taken_byte < 3 * graph_byte + 40e6  # a half more where neither the file nor the freed memory goes back


def test_r28_onnx_runtime_collects_nothing_for_its_makers(repo: Path, tmp_path: Path) -> None:
    opened(repo, tmp_path, POOL[0])
    assert list(tmp_path.iterdir()) == []


def test_r28_onnx_runtime_is_imported_through_its_one_door(repo: Path) -> None:
    loud = {
        str(path.relative_to(repo))
        for package in ("exporters", "runtime")
        for path in (repo / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and "onnxruntime" in [alias.name for alias in node.names]
    }
    assert loud == {"exporters/onnx_runtime.py"}
