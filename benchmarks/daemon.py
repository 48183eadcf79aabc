"""The daemon against its bars: start to first tile, resident memory, idle CPU. `make bench-daemon`.

A daemon flies the packages that ship in a process of its own, as `subsolar run` does. Memory is what Linux calls
resident (`VmRSS`, pages of shared libraries included) after slots of work. What of it are the models is said in two
ways: the graphs' files, and what their sessions took when they were opened and had run a batch.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reporting import REPO, Row, hold_to_bars

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(REPO))
POOL = ("eurosat-mobilenet-v2", "eurosat-mobilenet-v3-large", "eurosat-resnet18")
MISSION = """
name = "bench-daemon"
base = "cubesat-6u"
[orbit]
kind = "sgp4"
start_utc = "2026-03-01T00:00:00Z"
slot_s = {slot_s}
[policy]
name = "{policy}"
[mission]
state = "state"
packages = "{repo}/deploy/packages"
keys = "{repo}/deploy/keys"
[source]
cover = "cropland"
[radio]
kind = "folder"
answer_s = 0.01
"""
PARTS = """
import os, sys
sys.path.insert(0, {repo!r})
def say(what):
    with open("/proc/self/statm") as file:
        print(what, int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"), flush=True)
say("Python")
import numpy
say("numpy")
import runtime.cli
import runtime.daemon.run
say("daemon, store, orbit, signatures")
import rasterio
say("rasterio and GDAL")
from exporters.onnx_runtime import import_onnxruntime
import_onnxruntime()
say("ONNX Runtime")
from pathlib import Path
from exporters.package import load_package
from runtime.engines import open_onnx_engine
deploy = Path({repo!r}) / "deploy"
kept = []
for name in {pool!r}:
    package = load_package(deploy / "packages" / name, trust=deploy / "keys")
    kept.append(open_onnx_engine(package))
    say("session " + name)
    edge = package.info.input.tile_edge_px
    kept[-1].infer(numpy.zeros((32, 3, edge, edge), numpy.uint8))
    say("batch " + name)
"""


@contextmanager
def flying(folder: Path, slot_s: float, policy: str = "greedy") -> Iterator[subprocess.Popen[bytes]]:
    """A daemon in its own process; ended with SIGTERM."""
    mission = folder / "mission.toml"
    mission.write_text(MISSION.format(repo=REPO, slot_s=slot_s, policy=policy))
    (folder / "inbox").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime", "run", str(mission)],
        cwd=REPO,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def status_of(folder: Path) -> dict[str, Any]:
    """What the daemon says of itself; empty where none answers yet."""
    from runtime.daemon.control import ask
    from runtime.errors import MissionError

    try:
        return ask(folder / "state" / "control.sock", {"do": "status"}, timeout_s=5.0)
    except MissionError:
        return {}


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory_byte(pid: int, what: str) -> int:
    """``VmRSS`` or ``VmHWM`` of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/status has no {what}.")


def first_tile(scene: Path) -> tuple[float, float]:
    """Wall and CPU seconds from the start of the process to the first answered tiles."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inbox").mkdir()
        (folder / "inbox" / "scene.tif").write_bytes(scene.read_bytes())
        began_s = time.monotonic()
        with flying(folder, 30.0) as process:
            while not status_of(folder).get("counts", {}).get("done_tile"):
                if time.monotonic() - began_s > 60.0 or process.poll() is not None:
                    raise RuntimeError("the daemon has answered no tile within 60 s")
                time.sleep(0.02)
            return time.monotonic() - began_s, cpu_s(process.pid)


def working(scene: Path, slots: int) -> dict[str, float]:
    """Memory after ``slots`` slots with work in networks by chance."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inbox").mkdir()
        with flying(folder, 1.0, "random") as process:
            seen = -1
            while seen < slots:
                at = status_of(folder).get("next_slot", -1)
                if at > seen:
                    partial = folder / "inbox" / ".scene.tif"
                    partial.write_bytes(scene.read_bytes() + bytes([at % 256]))  # another hash: another frame
                    partial.rename(folder / "inbox" / f"{at}.tif")
                    seen = at
                time.sleep(0.1)
            told = status_of(folder)
            if not told["counts"]["done_tile"]:
                raise RuntimeError(f"no tile was answered: {told['reasons']}")
            return {
                "resident_mb": memory_byte(process.pid, "VmRSS") / 1e6,
                "peak_mb": memory_byte(process.pid, "VmHWM") / 1e6,
                "done_tile": told["counts"]["done_tile"],
            }


def idle_frac(seconds: float, slot_s: float) -> float:
    """Share of a core while nothing comes in."""
    with tempfile.TemporaryDirectory() as name, flying(Path(name), slot_s) as process:
        while not status_of(Path(name)):
            time.sleep(0.1)
        time.sleep(2.0)
        began_s, before_s = time.monotonic(), cpu_s(process.pid)
        time.sleep(seconds)
        return (cpu_s(process.pid) - before_s) / (time.monotonic() - began_s)


def parts() -> dict[str, float]:
    """Megabytes that each step of a start adds, in a process without the daemon's own threads and files."""
    code = PARTS.format(repo=str(REPO), pool=POOL)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows = [line.rpartition(" ") for line in run.stdout.splitlines()]
    before, added = 0.0, {}
    for what, _, byte in rows:
        added[what] = int(byte) / 1e6 - before
        before = int(byte) / 1e6
    return added


def main() -> None:
    """Measure and write ``build/bench/daemon.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--slots", type=int, default=12, help="with work, before the memory is read")
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--idle-slot-s", type=float, default=180.0, help="length of a slot while idle")
    given = parser.parse_args()
    scene = REPO / "deploy" / "scenes" / "eurosat-test.tif"
    added = parts()
    for what, mb in added.items():
        print(f"  {mb:8.1f} MB  {what}")
    starts = [first_tile(scene) for _ in range(given.starts)]
    memory = working(scene, given.slots)
    graphs_mb = sum((REPO / "deploy/packages" / name / "model.onnx").stat().st_size for name in POOL) / 1e6
    sessions_mb = sum(mb for what, mb in added.items() if what.startswith(("session ", "batch ")))
    rows: list[Row] = [
        ("first_tile_wall_s", statistics.median(wall for wall, _ in starts), "s", 3.0),
        ("first_tile_cpu_s", statistics.median(cpu for _, cpu in starts), "s", None),
        ("idle_cpu_frac", idle_frac(given.idle_s, given.idle_slot_s), "", 0.01),
        ("resident_mb", memory["resident_mb"], "MB", None),
        ("peak_mb", memory["peak_mb"], "MB", None),
        ("graph_files_mb", graphs_mb, "MB", None),
        ("sessions_mb", sessions_mb, "MB", None),
        ("resident_less_graph_files_mb", memory["resident_mb"] - graphs_mb, "MB", 300.0),
        ("resident_less_sessions_mb", memory["resident_mb"] - sessions_mb, "MB", 300.0),
        ("load_average", os.getloadavg()[0], "", None),
    ]
    hold_to_bars("daemon", rows, parts_mb=added)


if __name__ == "__main__":
    main()
