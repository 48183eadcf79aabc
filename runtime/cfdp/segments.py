"""Which stretches of a file are there, and which are not."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class SegmentSet:
    """Half-open byte ranges, merged and ascending. Adding is logarithmic in their number, as long as they merge.

    >>> held = SegmentSet([(0, 10), (20, 30)])
    >>> held.add(5, 12)
    >>> held.gaps(0, 40)
    [(12, 20), (30, 40)]
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.total_byte = 0
        for start, end in ranges:
            self.add(start, end)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """All ranges, ascending."""
        return list(zip(self._starts, self._ends, strict=True))

    @property
    def end(self) -> int:
        """Where the last range ends, 0 where there is none."""
        return self._ends[-1] if self._ends else 0

    def add(self, start: int, end: int) -> None:
        """Add one range; what is already there stays."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
            self.total_byte -= sum(self._ends[first:last]) - sum(self._starts[first:last])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        self.total_byte += end - start

    def covers(self, start: int, end: int) -> bool:
        """Whether all of a range is there."""
        at = bisect_right(self._starts, start) - 1
        return start >= end or (at >= 0 and self._ends[at] >= end)

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """What is missing of a range."""
        missing: list[tuple[int, int]] = []
        at = bisect_right(self._ends, start)
        while start < end:
            if at == len(self._starts) or self._starts[at] >= end:
                missing.append((start, end))
                break
            if self._starts[at] > start:
                missing.append((start, self._starts[at]))
            start = self._ends[at]
            at += 1
        return missing

    def take(self, size_byte: int) -> tuple[int, int]:
        """Remove and return at most ``size_byte`` from the front; (0, 0) where nothing is left."""
        if not self._starts:
            return 0, 0
        start, end = self._starts[0], min(self._ends[0], self._starts[0] + size_byte)
        if end == self._ends[0]:
            del self._starts[0], self._ends[0]
        else:
            self._starts[0] = end
        self.total_byte -= end - start
        return start, end

    def clear(self) -> None:
        """Remove everything."""
        self._starts.clear()
        self._ends.clear()
        self.total_byte = 0
