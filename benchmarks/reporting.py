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
Row = tuple[str, float, str, float | None]
"""Name, value, unit, and the bar that it may not exceed."""


def commit() -> str:
    """The commit that was measured, or nothing outside a checkout."""
    ran = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=False)
    return ran.stdout.strip()


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


def hold_to_bars(name: str, rows: Iterable[Row], **more: Any) -> None:
    """Print figures beside their bars, write ``build/bench/NAME.json``, and exit with 1 where a bar is missed."""
    figures = {
        what: {"value": value, "unit": unit, "bar": bar, "met": bar is None or value <= bar}
        for what, value, unit, bar in rows
    }
    head = {"machine": platform.platform(), "commit": commit()}
    write_result(REPO / "build" / "bench" / f"{name}.json", {**head, **more, "figures": figures})
    for what, figure in figures.items():
        verdict = "" if figure["bar"] is None else f"bar {figure['bar']:g}: {'met' if figure['met'] else 'MISSED'}"
        print(f"{what:<30} {figure['value']:12.3f} {figure['unit']:<6} {verdict}")
    if not all(figure["met"] for figure in figures.values()):
        sys.exit(1)
