"""CA-CFAR ship detector: what a radar processor did before networks (Finn and Johnson, RCA Review 29, 1968).

A pixel is bright when its power exceeds the mean power of a ring around it by the factor that keeps the share of false
alarms constant in exponentially distributed clutter; touching bright pixels make one box. Numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExporterError


@dataclass(frozen=True, slots=True, kw_only=True)
class CfarSettings:
    """Half-widths of the ring in pixels, the share of false alarms, and what makes pixels a ship.

    The defaults are the best of 39 settings on every fourth training picture of the SSDD subset (AP50 0.495 there).
    """

    guard_px: int = 20
    """Half-width of the square around the pixel that the clutter is not measured in: longer than half a ship."""
    ring_px: int = 60
    """Half-width of the square in which it is."""
    false_alarm_frac: float = 1e-6
    merge_px: int = 1
    """Bright pixels up to twice that apart belong together."""
    min_area_px: int = 60
    max_side_px: int = 200

    def __post_init__(self) -> None:
        if not (0 <= self.guard_px < self.ring_px and 0.0 < self.false_alarm_frac < 1.0):
            raise ExporterError(
                f"A ring from {self.guard_px} to {self.ring_px} px with false alarms of {self.false_alarm_frac:g} is "
                "not possible. Choose guard_px below ring_px and a share between 0 and 1."
            )


def cfar_factor(cells: NDArray[Any] | float, false_alarm_frac: float) -> NDArray[np.float64]:
    """How many times the mean of ``cells`` exponential samples a pixel must have.

    >>> round(float(cfar_factor(1e9, 1e-6)), 2)  # many cells: -ln of the share
    13.82
    >>> round(float(cfar_factor(1, 0.1)), 6)
    9.0
    """
    count = np.asarray(cells, dtype=np.float64)
    factor: NDArray[np.float64] = count * np.expm1(-np.log(false_alarm_frac) / count)
    return factor


def detect(pixels: NDArray[Any], settings: CfarSettings | None = None) -> NDArray[np.float32]:
    """(k, 6) left, top, right, bottom px, score, class 0, of a (rows, columns) amplitude picture, best first.

    The score is the largest excess over the threshold, x / (1 + x), 0.5 at the threshold itself.
    """
    settings = settings or CfarSettings()
    power = np.square(pixels.astype(np.float64))
    clutter, cells = ring_mean(power, settings.guard_px, settings.ring_px)
    excess = power / np.maximum(cfar_factor(cells, settings.false_alarm_frac) * clutter, 1e-9)
    bright = excess > 1.0
    groups = connected(_grown(bright, settings.merge_px))
    groups[~bright] = 0
    return _boxes(groups, excess, settings)


def ring_mean(values: NDArray[np.float64], inner_px: int, outer_px: int) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Mean of the square ring around each pixel, and how many pixels it has; at a border the part inside."""
    ones = np.ones_like(values)
    total = box_sum(values, outer_px) - box_sum(values, inner_px)
    cells = np.maximum(box_sum(ones, outer_px) - box_sum(ones, inner_px), 1.0)
    return np.maximum(total, 0.0) / cells, cells


def box_sum(values: NDArray[np.float64], half_px: int) -> NDArray[np.float64]:
    """Sum over the square of 2 half + 1 pixels around each pixel."""
    rows, columns = values.shape
    table = np.zeros((rows + 1, columns + 1))
    table[1:, 1:] = values.cumsum(0).cumsum(1)
    r0, r1 = (np.clip(np.arange(rows) + k, 0, rows) for k in (-half_px, half_px + 1))
    c0, c1 = (np.clip(np.arange(columns) + k, 0, columns) for k in (-half_px, half_px + 1))
    total: NDArray[np.float64] = table[r1][:, c1] - table[r0][:, c1] - table[r1][:, c0] + table[r0][:, c0]
    return total


def _grown(mask: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    grown: NDArray[np.bool_] = box_sum(mask.astype(np.float64), by_px) > 0.5
    return grown


def connected(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number from 1 the groups of pixels that touch by side or corner; 0 elsewhere.

    >>> connected(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)).max()
    np.int64(1)
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    row, start = np.nonzero(np.diff(padded, axis=1) == 1)
    _, end = np.nonzero(np.diff(padded, axis=1) == -1)
    parent = list(range(len(row)))
    first = np.searchsorted(row, np.arange(mask.shape[0] + 1))
    for number in range(len(row)):
        above = range(first[row[number] - 1], first[row[number]]) if row[number] else range(0)
        for other in above:
            if start[other] <= end[number] and end[other] >= start[number]:
                _join(parent, number, other)
    roots = np.array([_root(parent, number) for number in range(len(row))], dtype=np.int64)
    names = np.unique(roots, return_inverse=True)[1] + 1
    groups = np.zeros(mask.shape, dtype=np.int64)
    for number in range(len(row)):
        groups[row[number], start[number] : end[number]] = names[number]
    return groups


def _root(parent: list[int], number: int) -> int:
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number


def _join(parent: list[int], one: int, other: int) -> None:
    parent[_root(parent, one)] = _root(parent, other)


def _boxes(groups: NDArray[np.int64], excess: NDArray[np.float64], settings: CfarSettings) -> NDArray[np.float32]:
    rows, columns = np.nonzero(groups)
    kinds = groups[rows, columns]
    count = int(groups.max(initial=0)) + 1
    low = np.full((count, 2), np.iinfo(np.int64).max)
    high = np.full((count, 2), -1)
    best = np.zeros(count)
    for axis, place in enumerate((columns, rows)):
        np.minimum.at(low[:, axis], kinds, place)
        np.maximum.at(high[:, axis], kinds, place + 1)
    np.maximum.at(best, kinds, excess[rows, columns])
    area = np.bincount(kinds, minlength=count)
    kept = np.flatnonzero((area >= settings.min_area_px) & ((high - low).max(1) <= settings.max_side_px))
    score = best[kept] / (1.0 + best[kept])
    found = np.column_stack([low[kept], high[kept], score, np.zeros(len(kept))]).astype(np.float32)
    return found[np.argsort(-found[:, 4], kind="stable")]
