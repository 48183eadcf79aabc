"""Flies the daemon through simulated days and watches memory, files and threads (R27). Prints a table, writes JSON."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from reporting import REPO, hold_to_bars

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
ROWS = 28
"""How often what may not grow is looked at."""
BARS = {
    "rss_slope_mb_h": 1.0,  # R27 means hours; of simulated ones there are many, so that growth is bounded as well
    "rss_grown_mb": 16.0,
    "rss_most_mb": 335.0,  # 300 and the three graphs' files
    "files_grown": 2,
    "files_most": 64,
    "threads_grown": 0,
    "threads_most": 8,
    "log_kb": 1000,
    "trace_kb": 2000,
    "wal_kb": 3 * 33_600,  # of three stores; each is moved at 8,192 pages of 4 KiB
    "sqlite_kb_a_slot": 4.0,
}
UNITS = {"rss_grown_mb": "MB", "rss_most_mb": "MB", "log_kb": "kB", "trace_kb": "kB", "wal_kb": "kB"}


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
        "wal_kb": sum(path.stat().st_size for path in state.glob("*.sqlite-wal")) / 1e3,
        "sqlite_kb": sum(path.stat().st_size for path in state.glob("*.sqlite")) / 1e3,
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
                if slot % 4 == 0:
                    image(folder / "inbox" / f"{slot}.tif", slot)
                daemon.fly_slot()
                clock.pass_s(180.0)
                for packet in (folder / "outbox").glob("*.packet"):
                    packet.unlink()
                if (slot + 1) % max(slots // ROWS, 1) == 0:
                    rows.append({"slot": slot, **observed(folder / "state")})
                    print("  ".join(f"{key} {value:10.1f}" for key, value in rows[-1].items()), flush=True)
            counts = dict(daemon.status["counts"])
    return {"slots": slots, "wall_s": time.monotonic() - began_s, "done_tile": counts["done_tile"], **judged(rows)}


def judged(rows: list[dict[str, float]]) -> dict[str, float]:
    """Growth from the first quarter, its first row left out as warm-up, to the end, and the most there ever was."""
    early, late = rows[1 : 1 + len(rows) // 4], rows[-(len(rows) // 4) :]

    def grown(name: str) -> float:
        return max(row[name] for row in late) - max(row[name] for row in early)

    def most(name: str) -> float:
        return max(row[name] for row in rows)

    hours = (late[-1]["slot"] - early[-1]["slot"]) * 180 / 3600
    return {
        "rss_slope_mb_h": grown("rss_mb") / hours,
        "rss_grown_mb": grown("rss_mb"),
        "rss_most_mb": most("rss_mb"),
        "files_grown": grown("files"),
        "files_most": most("files"),
        "threads_grown": grown("threads"),
        "threads_most": most("threads"),
        "log_kb": most("log_kb"),
        "trace_kb": most("trace_kb"),
        "wal_kb": most("wal_kb"),
        "sqlite_kb_a_slot": grown("sqlite_kb") / (late[-1]["slot"] - early[-1]["slot"]),
    }


def main() -> None:
    """Soak and write ``build/bench/soak.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=7.0)
    found = soak(parser.parse_args().days)
    hold_to_bars("soak", ((name, value, UNITS.get(name, ""), BARS.get(name)) for name, value in found.items()))


if __name__ == "__main__":
    main()
