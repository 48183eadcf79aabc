"""Connected pixels above a threshold, found row by row: an anomaly of any size is one region, and no scene is held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..frame import BoolArray
from ..records import FloatArray


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels that touch along a side or a corner. ``sides_px``: left, top, right, bottom of the box around them."""

    sides_px: tuple[int, int, int, int]
    area_px: int
    peak: float
    """Highest value in it."""


@dataclass(eq=False)
class _Open:
    """A region that the next row may still touch, or one that went into another."""

    left: int
    top: int
    right: int
    bottom: int
    area: int
    peak: float
    into: _Open | None = None

    def root(self) -> _Open:
        """The region that this one is part of by now."""
        root = self
        while root.into is not None:
            root = root.into
        return root

    def join(self, other: _Open) -> None:
        """Make this region part of ``other``."""
        other.left, other.top = min(self.left, other.left), min(self.top, other.top)
        other.right, other.bottom = max(self.right, other.right), max(self.bottom, other.bottom)
        other.area, other.peak = self.area + other.area, max(self.peak, other.peak)
        self.into = other

    def closed(self) -> Region:
        return Region((self.left, self.top, self.right, self.bottom), self.area, self.peak)


class StreamingRegions:
    """Takes rows from the top and hands out regions once no further row can touch them."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._runs: list[tuple[int, int, _Open]] = []
        self._row_px = -1

    def take(self, row_px: int, values: FloatArray, present: BoolArray) -> list[Region]:
        """Rows of (rows, width) values from ``row_px`` on; regions that ended in or before them."""
        done: list[Region] = []
        for at in range(len(values)):
            if row_px + at != self._row_px + 1:
                done += self.finish()
            done += self._row(row_px + at, values[at], present[at])
            self._row_px = row_px + at
        return done

    def finish(self) -> list[Region]:
        """The regions that are still open."""
        left = [one.closed() for one in _distinct([region for _, _, region in self._runs])]
        self._runs = []
        return left

    def _row(self, row_px: int, values: FloatArray, present: BoolArray) -> list[Region]:
        with np.errstate(invalid="ignore"):
            marked = present & (values >= self._threshold)
        if not self._runs and not marked.any():
            return []
        edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
        before, here = self._runs, []
        from_above = np.array([(left, right) for left, right, _ in before], dtype=np.int64).reshape(-1, 2)
        for start, stop in edges.reshape(-1, 2).tolist():
            region = _Open(start, row_px, stop, row_px + 1, stop - start, float(values[start:stop].max()))
            first = int(np.searchsorted(from_above[:, 1], start, side="left"))
            last = int(np.searchsorted(from_above[:, 0], stop, side="right"))
            for _, _, above in before[first:last]:
                if above.root() is not region:
                    above.root().join(region)
            here.append((start, stop, region))
        self._runs = [(start, stop, region.root()) for start, stop, region in here]
        kept = {id(region) for _, _, region in self._runs}
        return [one.closed() for one in _distinct([one.root() for _, _, one in before]) if id(one) not in kept]


def _distinct(regions: list[_Open]) -> list[_Open]:
    return list({id(region): region for region in regions}.values())
