"""Value of stored energy over a known future, solved exactly as a linear programme without a solver.

Where slots are coupled by the battery alone, the linear relaxation (any mix of options within a slot, tiles divisible)
is a chain of concave, piecewise linear value functions. Each step merges the slot's marginal values (points per joule,
best first) into those of the charge left over, so that the whole programme is a sequence of sorts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """A concave, nondecreasing function of energy that is 0 at 0, as segments in order of falling slope."""

    value_per_j: Float64Array
    length_j: Float64Array

    def __call__(self, energy_j: float) -> float:
        """Return the value of ``energy_j``; beyond the last segment it no longer grows."""
        ends = np.minimum(np.cumsum(self.length_j), max(energy_j, 0.0))
        return float(np.sum(np.diff(ends, prepend=0.0) * self.value_per_j))

    def slope_at(self, energy_j: float) -> float:
        """Return what one more joule is worth."""
        ends = np.cumsum(self.length_j)
        index = int(np.searchsorted(ends, energy_j, side="right"))
        return float(self.value_per_j[index]) if index < len(ends) else 0.0


NOTHING = Slopes(np.zeros(0), np.zeros(0))


def hull(points: Iterable[tuple[float, float]]) -> Slopes:
    """Return the upper concave hull of the origin and (energy, value) points; points below the origin's value drop out.

    >>> curve = hull([(2.0, 4.0), (3.0, 4.5), (4.0, 6.0)])
    >>> curve.value_per_j.tolist(), curve.length_j.tolist()
    ([2.0, 1.0], [2.0, 2.0])
    """
    corners: list[tuple[float, float]] = [(0.0, 0.0)]
    for energy_j, value in sorted(points):
        if value <= corners[-1][1]:
            continue
        while len(corners) > 1 and _rise(corners[-2], (energy_j, value)) >= _rise(corners[-2], corners[-1]):
            corners.pop()
        corners.append((energy_j, value))
    lengths = np.diff([energy_j for energy_j, _ in corners])
    values = np.diff([value for _, value in corners])
    return Slopes(values / np.maximum(lengths, 1e-300), lengths)


@dataclass(frozen=True, slots=True)
class Cell:
    """A battery as the planner sees it. Spending lowers the charge by more or less than a joule per joule."""

    capacity_j: float
    charge_eff_frac: float = 1.0
    discharge_eff_frac: float = 1.0
    max_charge_j: float = math.inf
    """Most that a slot can store."""
    max_discharge_j: float = math.inf
    """Most that a slot can draw."""

    def settled_j(self, charge_j: float, net_j: float) -> float:
        """Return the charge after a slot of ``net_j`` harvest less load and inference, as the simulator settles it.

        >>> Cell(100.0, 0.5, 0.5).settled_j(60.0, 10.0), Cell(100.0, 0.5, 0.5).settled_j(60.0, -10.0)
        (65.0, 40.0)
        """
        if net_j >= 0.0:
            return min(charge_j + min(net_j * self.charge_eff_frac, self.max_charge_j), max(self.capacity_j, charge_j))
        return max(charge_j + net_j / self.discharge_eff_frac, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Gain:
    """What a slot makes of charge: ``change_j`` while idle, ``free`` points without lowering it, ``slopes`` beyond."""

    change_j: float
    free: float
    slopes: Slopes


def gain_of(cell: Cell, spending: Slopes, net_j: float) -> Gain:
    """Return what spending is worth per joule of charge, in a slot of ``net_j`` harvest less load.

    Joules that the battery could not take are free, those of the surplus cost the charging efficiency each, those from
    the battery one over the discharging efficiency. Exact for ``power_sim.dynamics.settle`` but for a full battery,
    which ``Stored`` handles.

    >>> gain = gain_of(Cell(100.0, 0.5, 0.5), hull([(4.0, 8.0)]), net_j=2.0)
    >>> gain.change_j, gain.slopes.value_per_j.tolist(), gain.slopes.length_j.tolist()
    (1.0, [4.0, 1.0], [1.0, 4.0])
    """
    surplus_j = max(net_j, 0.0)
    stored_j = min(surplus_j * cell.charge_eff_frac, cell.max_charge_j)
    unstorable_j = surplus_j - stored_j / cell.charge_eff_frac
    within = _head(spending, surplus_j + min(net_j, 0.0) + cell.max_discharge_j)
    paid = _tail(within, unstorable_j)
    first, rest = _head(paid, surplus_j - unstorable_j), _tail(paid, surplus_j - unstorable_j)
    value_per_j = np.concatenate((first.value_per_j / cell.charge_eff_frac, rest.value_per_j * cell.discharge_eff_frac))
    length_j = np.concatenate((first.length_j * cell.charge_eff_frac, rest.length_j / cell.discharge_eff_frac))
    change_j = stored_j + min(net_j, 0.0) / cell.discharge_eff_frac
    return Gain(change_j, within(unstorable_j), Slopes(value_per_j, length_j))


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What charge is worth: ``empty`` at the lowest allowed charge ``floor_j``, then ``slopes`` upward."""

    floor_j: float
    empty: float
    slopes: Slopes

    def __call__(self, charge_j: float) -> float:
        """Return the worth of a charge; below the floor it is that of the floor."""
        return self.empty + self.slopes(charge_j - self.floor_j)


def step_back(after: Stored, gain: Gain, floor_j: float, capacity_j: float) -> Stored:
    """Return the worth of charge before a slot from that after it.

    ``floor_j`` is the lowest allowed charge before the slot. What exceeds ``capacity_j`` is lost. Where idling leads
    below the floor after the slot (an empty battery), the load counts as not drawn, which can only overstate.
    """
    spare_j = max(floor_j + gain.change_j - after.floor_j, 0.0)
    merged = _merge(_head(after.slopes, capacity_j - after.floor_j), gain.slopes)
    slopes = _head(_tail(merged, spare_j), capacity_j - floor_j)
    return Stored(floor_j, after.empty + gain.free + merged(spare_j), slopes)


def stored_worths(
    gains: Sequence[Gain], floors_j: Sequence[float], capacity_j: float, end: Stored | None = None
) -> list[Stored]:
    """Return what charge is worth before each slot and, as the last entry, after all of them.

    ``floors_j`` has one entry more than there are slots. ``end`` says what charge left at the end is worth: by default
    nothing.

    >>> two = [gain_of(Cell(5.0), hull([corner]), 0.0) for corner in [(2.0, 2.0), (2.0, 8.0)]]
    >>> stored_worths(two, [0.0] * 3, capacity_j=5.0)[0](3.0)
    9.0
    """
    worths = [end or Stored(floors_j[-1], 0.0, NOTHING)]
    for gain, floor in zip(reversed(gains), list(floors_j)[-2::-1], strict=True):
        worths.append(step_back(worths[-1], gain, floor, capacity_j))
    return worths[::-1]


def lowest_charges(start_j: float, change_j: Sequence[float], floors_j: Sequence[float]) -> list[float]:
    """Return the lowest charge that spending down to the floors can lead to, before each slot and after the last.

    ``change_j`` is what idling does, ``floors_j`` the charge that spending must leave after each slot. Spending stops
    there, but the load goes on, so that a shadow can draw the charge further down.

    >>> lowest_charges(10.0, [-3.0, -3.0, 5.0], [8.0] * 3)
    [10.0, 7.0, 4.0, 8.0]
    """
    lowest = [start_j]
    for change, floor in zip(change_j, floors_j, strict=True):
        lowest.append(max(min(lowest[-1] + change, floor), 0.0))
    return lowest


def _rise(start: tuple[float, float], end: tuple[float, float]) -> float:
    return (end[1] - start[1]) / max(end[0] - start[0], 1e-300)


def _merge(first: Slopes, second: Slopes) -> Slopes:
    """Return the best split of energy between two uses (the sup-convolution of two concave functions)."""
    value_per_j = np.concatenate((first.value_per_j, second.value_per_j))
    order = np.argsort(-value_per_j, kind="stable")
    return Slopes(value_per_j[order], np.concatenate((first.length_j, second.length_j))[order])


def _head(slopes: Slopes, length_j: float) -> Slopes:
    """Return the function up to ``length_j``, flat beyond."""
    ends = np.cumsum(slopes.length_j)
    if not len(ends) or ends[-1] <= length_j:
        return slopes
    keep = int(np.searchsorted(ends, length_j)) + 1
    lengths = slopes.length_j[:keep].copy()
    lengths[-1] -= ends[keep - 1] - length_j
    return Slopes(slopes.value_per_j[:keep], lengths)


def _tail(slopes: Slopes, length_j: float) -> Slopes:
    """Return what follows the first ``length_j``."""
    ends = np.cumsum(slopes.length_j)
    skip = int(np.searchsorted(ends, length_j, side="right"))
    if skip >= len(ends):
        return NOTHING
    lengths = slopes.length_j[skip:].copy()
    lengths[0] = ends[skip] - length_j
    return Slopes(slopes.value_per_j[skip:], lengths)
