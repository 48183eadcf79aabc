"""A real local Ray gives the files that this process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporters.package import ModelPackage

PROGRAM = """
import sys
from pathlib import Path
from exporters.package import load_package
from runtime.infer import infer_scenes
from runtime.pipeline.executors import RayExecutor
package = load_package(Path(sys.argv[1]), trust={}, allow_unsigned=True)
result = infer_scenes(package, [Path(sys.argv[2])], Path(sys.argv[3]), executor=RayExecutor(cpus=2))
print([(s.scene, s.done, s.error[:20]) for s in result.scenes])
"""


def test_ray_writes_the_same_bytes_as_a_local_run(
    make_package: Callable[..., ModelPackage], write_tiff: Callable[..., Path], tmp_path: Path, repo: Path
) -> None:
    pytest.importorskip("ray", reason="needs the extra: ray")
    from runtime.infer import infer_scenes

    package = make_package()
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    rng = np.random.default_rng(4)
    for number in range(5):
        write_tiff(f"scenes/{number}.tif", rng.integers(0, 256, (3, 40 + number, 50), dtype=np.uint8))
    (scenes / "broken.tif").write_bytes(b"no image")
    local = infer_scenes(package, [scenes], tmp_path / "local")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "colour"), str(scenes), str(tmp_path / "ray")],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str([(s.scene, s.done, s.error[:20]) for s in local.scenes])
    for path in (tmp_path / "local").glob("*.geojson"):
        assert (tmp_path / "ray" / path.name).read_bytes() == path.read_bytes()
    ledger = (tmp_path / "ray" / ".subsolar-infer.jsonl").read_text().splitlines()
    names = {json.loads(line)["result"]["scene"] for line in ledger}
    assert names == {str(number) for number in range(5)}


def test_a_cluster_that_cannot_be_joined_is_told_in_one_line(tmp_path: Path, repo: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra: ray")
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "runtime", "infer", str(repo / "deploy" / "packages" / "eurosat-mobilenet-v2")),
            *("a.tif", "--out", str(tmp_path / "out"), "--executor", "ray"),
        ],
        cwd=repo,
        env={**os.environ, "RAY_ADDRESS": "no-address"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Ray cannot be joined or started" in ran.stderr
