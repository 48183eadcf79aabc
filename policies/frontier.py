"""Value of stored energy over a known future, solved exactly as a linear programme without a solver.

Where slots are coupled by the battery alone, the linear relaxation (any mix of options within a slot, tiles divisible)
is a chain of concave, piecewise linear value functions. Each step merges the slot's marginal values (points per joule,
best first) into those of the charge left over, so that the whole programme is a sequence of sorts.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What charge is worth: ``empty`` at the lowest allowed charge ``floor_j``, then ``slopes`` upward."""

    floor_j: float
    empty: float
    slopes: Slopes

    def __call__(self, charge_j: float) -> float:
        """Return the worth of a charge; below the floor it is that of the floor."""
        return self.empty + self.slopes(charge_j - self.floor_j)


def step_back(after: Stored, gain: Slopes, net_j: float, floor_j: float, capacity_j: float) -> Stored:
    """Return the worth of charge before a slot from that after it.

    ``gain`` is the slot's value of spending, ``net_j`` its harvest less load; ``floor_j`` is the lowest allowed charge
    before the slot. What exceeds ``capacity_j`` is lost. Where idling leads below the floor after the slot (an empty
    battery), the load counts as not drawn, which can only overstate.
    """
    surplus_j = max(floor_j + net_j - after.floor_j, 0.0)
    merged = _merge(_head(after.slopes, capacity_j - after.floor_j), gain)
    slopes = _head(_tail(merged, surplus_j), capacity_j - floor_j)
    return Stored(floor_j, after.empty + merged(surplus_j), slopes)


def stored_worths(
    gains: Sequence[Slopes],
    net_j: Sequence[float],
    floors_j: Sequence[float],
    capacity_j: float,
    end: Stored | None = None,
) -> list[Stored]:
    """Return what charge is worth before each slot and, as the last entry, after all of them.

    ``floors_j`` has one entry more than there are slots. ``end`` says what charge left at the end is worth: by default
    nothing.

    >>> two = [hull([(2.0, 2.0)]), hull([(2.0, 8.0)])]
    >>> stored_worths(two, [0.0, 0.0], [0.0] * 3, capacity_j=5.0)[0](3.0)
    9.0
    """
    worths = [end or Stored(floors_j[-1], 0.0, NOTHING)]
    for gain, net, floor in zip(reversed(gains), reversed(net_j), list(floors_j)[-2::-1], strict=True):
        worths.append(step_back(worths[-1], gain, net, floor, capacity_j))
    return worths[::-1]


def lowest_charges(start_j: float, net_j: Sequence[float], reserve_j: float) -> list[float]:
    """Return the lowest charge that spending down to the reserve can lead to, before each slot and after the last.

    Spending stops at the reserve, but the load goes on, so that a shadow can draw the charge further down.

    >>> lowest_charges(10.0, [-3.0, -3.0, 5.0], reserve_j=8.0)
    [10.0, 7.0, 4.0, 8.0]
    """
    lowest = [start_j]
    for net in net_j:
        lowest.append(max(min(lowest[-1] + net, reserve_j), 0.0))
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
