"""What benchmarks report alike: where and when it was measured, means with their intervals, figures beside bars."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

REPO = Path(__file__).resolve().parents[1]
_T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Student's t for a 95 % interval over so many seeds."""
Figure = dict[str, Any]
Row = tuple[str, float, str, float | None]
"""Name, value, unit, and the bar that it may not exceed."""


def commit() -> str:
    """The commit that was measured, or nothing outside a checkout."""
    ran = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def machine() -> str:
    """Processor, cores, load and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"{cpu}, {os.cpu_count()} cores, {load}, Python {platform.python_version()}, numpy {np.__version__}"


def measured_by(command: str) -> dict[str, str]:
    """The head of a result: machine, commit, date, command."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}",
        "commit": commit(),
        "measured_on": time.strftime("%Y-%m-%d"),
        "command": command,
    }


def trained_by(command: str) -> dict[str, str]:
    """The head of a result that trainings of several days led to: date, machine, command."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, 1 thread",
        "command": command,
    }


def interval(values: Sequence[float], **alone: float) -> dict[str, float]:
    """Mean and half-width of its 95 % interval over seeds; of a single seed the mean and what ``alone`` says."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, **alone}
    half = _T95.get(len(values), 2.0) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return {"mean": mean, "ci95": half}


def cached(path: Path, make: Callable[[], Any]) -> Any:
    """A part of the result that is not measured twice."""
    if not path.is_file():
        path.write_text(json.dumps(make(), indent=1) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result as text that a person can compare line by line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def figure(
    value: float,
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    peer: tuple[str, float] | None = None,
) -> Figure:
    """One number of a result beside its bar, on either side, and its peer's name and value."""
    bar = at_most if at_least is None else at_least
    met = None if bar is None else bool(value <= bar if at_least is None else value >= bar)
    beside = {} if peer is None else {"peer": {"name": peer[0], "value": round(peer[1], 6)}}
    return {"value": round(float(value), 6), "unit": unit, "bar": bar, "met": met, **beside}


def publish(target: Path, figures: Mapping[str, Figure], **more: Any) -> int:
    """Print figures beside bars and peers and write them with machine and commit; 1 where a bar is missed, else 0."""
    head = {"machine": machine(), "commit": commit(), "measured_on": time.strftime("%Y-%m-%d")}
    write_result(target, {**head, **more, "figures": figures})
    for name, one in figures.items():
        bar = "" if one["bar"] is None else f"bar {one['bar']:<10,.6g} {'met' if one['met'] else 'MISSED'}"
        peer = f"   {one['peer']['name']}: {one['peer']['value']:.4g}" if one.get("peer") else ""
        print(f"{name:<38} {one['value']:>14,.6g} {one['unit']:<18} {bar}{peer}".rstrip())
    return int(any(one["met"] is False for one in figures.values()))


def hold_to_bars(name: str, rows: Iterable[Row], **more: Any) -> None:
    """Publish figures that may not exceed their bars as ``build/bench/NAME.json``; exit with 1 where one does."""
    figures = {what: figure(value, unit, at_most=bar) for what, value, unit, bar in rows}
    if publish(REPO / "build" / "bench" / f"{name}.json", figures, **more):
        sys.exit(1)


def measure_parts(
    target: Path, parts: Mapping[str, Callable[[], Any]], only: Sequence[str] | None, **more: Any
) -> None:
    """Measure the parts in ``only``, or all, in one thread, and write each over that of the last run as it is done."""
    import torch

    from exporters.measure import machine_name

    torch.set_num_threads(1)
    for name, measure in parts.items():
        if only and name not in only:
            continue
        figures = measure()
        print(json.dumps({name: figures}, indent=1), flush=True)
        stored = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {"figures": {}}
        told = f"{machine_name()}, Python {platform.python_version()}, torch {torch.__version__}"
        stored |= {"machine": told, **more}
        stored["figures"][name] = {**figures, "measured_on": datetime.now(timezone.utc).date().isoformat()}
        write_result(target, stored)
