"""Flies the daemon through simulated days and watches memory, files and threads (R27). Prints a table, writes JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests" / "runtime" / "daemon"))

MISSION = """
name = "soak"
base = "cubesat-6u"
[policy]
name = "greedy"
[mission]
state = "state"
packages = "{repo}/deploy/packages"
keys = "{repo}/deploy/keys"
[source]
cover = "cropland"
[radio]
kind = "folder"
answer_s = 0.001
[reports]
log_byte = 1000000
trace_byte = 2000000
"""


def image(path: Path, seed: int) -> None:
    """One small picture that no other equals."""
    import rasterio

    pixels = np.random.default_rng(seed).integers(0, 256, (3, 128, 128), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", dtype="uint8", count=3, height=128, width=128) as out:
            out.write(pixels)


def observed(state: Path) -> dict[str, float]:
    """What may not grow."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "rss_mb": resident / 1e6,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "log_kb": sum(path.stat().st_size for path in state.glob("log.jsonl*")) / 1e3,
        "trace_kb": sum(path.stat().st_size for path in state.glob("trace.jsonl*")) / 1e3,
    }


def soak(days: float) -> dict[str, Any]:
    """Fly ``days`` of slots back to back."""
    from conftest import TestClock  # type: ignore[import-not-found]

    from runtime.daemon.run import daemon_of

    slots, began_s, rows = int(days * 480), time.monotonic(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inbox").mkdir()
        (folder / "mission.toml").write_text(MISSION.format(repo=REPO))
        clock = TestClock()
        with daemon_of(folder / "mission.toml", clock, {}) as daemon:
            for slot in range(slots):
                if slot % 8 == 0:
                    image(folder / "inbox" / f"{slot}.tif", slot)
                daemon.fly_slot()
                clock.pass_s(180.0)
                for packet in (folder / "outbox").glob("*.packet"):
                    packet.unlink()
                if slot % max(slots // 14, 1) == 0:
                    rows.append({"slot": slot, **observed(folder / "state")})
                    print("  ".join(f"{key} {value:10.1f}" for key, value in rows[-1].items()), flush=True)
            counts = dict(daemon.status["counts"])
    late = rows[len(rows) // 2 :]
    hours = (late[-1]["slot"] - late[0]["slot"]) * 180 / 3600
    return {
        "slots": slots,
        "wall_s": time.monotonic() - began_s,
        "rss_slope_mb_h": (late[-1]["rss_mb"] - late[0]["rss_mb"]) / hours,
        "files_grown": late[-1]["files"] - late[0]["files"],
        "threads_grown": late[-1]["threads"] - late[0]["threads"],
        "log_kb": late[-1]["log_kb"],
        "done_tile": counts["done_tile"],
    }


def main() -> None:
    """Soak and write ``build/bench/soak.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=7.0)
    found = soak(parser.parse_args().days)
    bars = {"rss_slope_mb_h": ("MB/h", 1.0), "files_grown": ("", 2), "threads_grown": ("", 0), "log_kb": ("kB", 1000)}
    figures = {name: {"value": found[name], "unit": "", "bar": None, "met": True} for name in found}
    for name, (unit, bar) in bars.items():
        figures[name] = {"value": found[name], "unit": unit, "bar": bar, "met": found[name] <= bar}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False).stdout
    out = REPO / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    result = {"machine": platform.platform(), "commit": commit.strip(), "figures": figures}
    (out / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, figure in figures.items():
        print(f"{name:<16} {figure['value']:12.3f} {figure['unit']:<6} {'met' if figure['met'] else 'MISSED'}")


if __name__ == "__main__":
    main()
