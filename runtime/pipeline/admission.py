"""Which tiles to work on when there is neither energy nor time for all: the most valuable ones that fit.

A knapsack with two limits. Tiles are ranked by value per cost, the cost being joules and seconds weighed by how scarce
each is; several weighings are tried and the best is kept. With many small tiles the loss against the optimum is that of
one tile at the edge of the budget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
_WEIGHTS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, slots=True)
class Admission:
    """Positions of the tiles to do, most valuable per cost first, and of those to shed."""

    do: IntArray
    shed: IntArray
    limited_by: str
    """``none``, ``energy`` or ``time``: what ran out."""


def admit_tiles(
    value: Float64Array, energy_j: Float64Array, time_s: Float64Array, *, budget_j: float, budget_s: float
) -> Admission:
    """Choose among n tiles; the chosen ones together cost at most ``budget_j`` and ``budget_s``.

    Tiles of no value, and those whose value or cost is no finite number or negative, are shed.
    """
    sound = np.isfinite(value) & np.isfinite(energy_j) & np.isfinite(time_s)
    sound &= (value > 0) & (energy_j >= 0) & (time_s >= 0)
    able = np.flatnonzero(sound)
    if not len(able) or budget_j < 0 or budget_s < 0:
        return _admission(able[:0], len(value), "none" if not len(able) else "energy" if budget_j < 0 else "time")
    parts = energy_j[able] / max(budget_j, 1e-300), time_s[able] / max(budget_s, 1e-300)
    if parts[0].sum() <= 1.0 and parts[1].sum() <= 1.0:
        return _admission(able[np.argsort(-value[able], kind="stable")], len(value), "none")
    tried = [_fill(value[able], *parts, weight) for weight in _WEIGHTS]
    best = max(tried, key=lambda chosen: float(value[able][chosen].sum()))
    scarce = "energy" if parts[0][best].sum() >= parts[1][best].sum() else "time"
    return _admission(able[best], len(value), scarce)


@dataclass
class Deadline:
    """Says before each batch whether it will end in time. The forecast is the slowest batch so far, with a margin.

    Sheds rather than overruns: the first batch is judged by ``expected_s`` of a tile.
    """

    monotonic_s: Callable[[], float]
    end_s: float
    """On the clock of ``monotonic_s``."""
    expected_s: float
    margin_frac: float = 0.2
    _slowest_s: float = 0.0

    def fits(self, tile: int) -> bool:
        """Whether ``tile`` more tiles can be done before the end."""
        per_tile_s = max(self.expected_s, self._slowest_s)
        return self.monotonic_s() + tile * per_tile_s * (1 + self.margin_frac) <= self.end_s

    def most(self, tile: int) -> int:
        """How many of ``tile`` tiles can be done before the end."""
        per_tile_s = max(self.expected_s, self._slowest_s) * (1 + self.margin_frac)
        left_s = self.end_s - self.monotonic_s()
        return tile if per_tile_s == 0 else max(0, min(tile, int(left_s / per_tile_s)))

    def took(self, tile: int, time_s: float) -> None:
        """Learn from a batch that is done."""
        if tile > 0:
            self._slowest_s = max(self._slowest_s, time_s / tile)


def _fill(value: Float64Array, part_j: Float64Array, part_s: Float64Array, weight: float) -> IntArray:
    """Take tiles by value per weighed cost until nothing that is left fits."""
    cost = weight * part_j + (1 - weight) * part_s
    order = np.argsort(-value / np.maximum(cost, 1e-300), kind="stable")
    used_j = used_s = 0.0
    chosen: list[IntArray] = []
    while len(order):
        total_j, total_s = used_j + np.cumsum(part_j[order]), used_s + np.cumsum(part_s[order])
        fits = int(np.searchsorted(-((total_j <= 1.0) & (total_s <= 1.0)).astype(np.int8), 0))
        if fits:
            chosen.append(order[:fits])
            used_j, used_s = float(total_j[fits - 1]), float(total_s[fits - 1])
        rest = order[fits:]
        order = rest[(used_j + part_j[rest] <= 1.0) & (used_s + part_s[rest] <= 1.0)]
    return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)


def _admission(do: IntArray, count: int, limited_by: str) -> Admission:
    shed = np.ones(count, dtype=bool)
    shed[do] = False
    return Admission(do, np.flatnonzero(shed), limited_by)
