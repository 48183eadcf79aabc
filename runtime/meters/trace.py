"""A recorded power trace, played against a clock: joules of a board that is elsewhere."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError

_STAMP = re.compile(r"^(\d\d)-(\d\d)-(\d{4}) (\d\d):(\d\d):(\d\d)")
_RAIL = re.compile(r"(V[A-Z0-9_]+) (\d+)mW/")


@dataclass(frozen=True, slots=True, eq=False)
class PowerTrace:
    """``time_s``: (n,) seconds from the first sample, rising. ``power_w``: (n,) sum over ``rails``."""

    time_s: NDArray[np.float64]
    power_w: NDArray[np.float64]
    rails: tuple[str, ...]
    error_frac: float


@dataclass
class TraceMeter:
    """Integrates a trace up to now, by trapezoids. Before its start and after its end it stands still."""

    trace: PowerTrace
    clock: Callable[[], float]
    kind: str = field(default="measured", init=False)

    def __post_init__(self) -> None:
        self.rails, self.error_frac = self.trace.rails, self.trace.error_frac
        steps_j = np.diff(self.trace.time_s) * (self.trace.power_w[1:] + self.trace.power_w[:-1]) / 2
        self._energy_j = np.concatenate([[0.0], np.cumsum(steps_j)])
        self._start_s = self.clock()
        self._highest_j = 0.0

    def energy_j(self) -> float:
        """All joules from the start of the trace until now."""
        passed_s = self.clock() - self._start_s
        last = len(self.trace.time_s) - 1
        index = int(np.clip(np.searchsorted(self.trace.time_s, passed_s, side="right") - 1, 0, last))
        into_s = float(np.clip(passed_s - self.trace.time_s[index], 0.0, None)) if index < last else 0.0
        begin_w = float(self.trace.power_w[index])
        now_w = float(np.interp(passed_s, self.trace.time_s, self.trace.power_w))
        reached_j = float(self._energy_j[index]) + into_s * (begin_w + now_w) / 2
        self._highest_j = max(self._highest_j, reached_j)
        return self._highest_j


def read_tegrastats(path: Path, *, rails: Sequence[str] = ()) -> PowerTrace:
    """A log of ``tegrastats``: all its rails, or those named. Torn lines are left out."""
    rows = []
    for line in _lines(path):
        stamp, found = _STAMP.match(line), {name: int(now) for name, now in _RAIL.findall(line)}
        if stamp and found:
            month, day, year, hour, minute, second = (int(part) for part in stamp.groups())
            rows.append((datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp(), found))
    names = tuple(rails) or tuple(rows[0][1] if rows else ())
    whole = [(time_s, sum(found[name] for name in names) * 1e-3) for time_s, found in rows if set(names) <= set(found)]
    return _trace(path, whole, names, error_frac=0.015)


def read_power_csv(path: Path, *, error_frac: float = 0.05) -> PowerTrace:
    """A table with columns ``time_s`` and ``power_w``; ``error_frac`` is that of the instrument that recorded it."""
    table = csv.DictReader(_lines(path))
    try:
        rows = [(float(row["time_s"]), float(row["power_w"])) for row in table]
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path} is no power table: {error}. It needs the columns time_s and power_w.") from error
    return _trace(path, rows, (path.name,), error_frac=error_frac)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"The power trace {path} cannot be read: {error}. Check the path.") from error


def _trace(path: Path, rows: Sequence[tuple[float, float]], rails: tuple[str, ...], error_frac: float) -> PowerTrace:
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    if len(table) < 2 or not np.isfinite(table).all() or (np.diff(table[:, 0]) < 0).any() or (table[:, 1] < 0).any():
        raise EngineError(
            f"{path} is no power trace: it needs two samples or more, in order, none negative. Record anew."
        )
    return PowerTrace(table[:, 0] - table[0, 0], table[:, 1], rails, error_frac)
