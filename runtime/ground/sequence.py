"""Finds out what is missing from a 14-bit packet count that wraps."""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.messages import to_ranges
from ..wire.packets import SEQUENCE_MODULUS

MAX_GAP = SEQUENCE_MODULUS // 2
MAX_MISSING = 20_000


class SequenceTracker:
    """Follows one packet count. Numbers are unwrapped: they never fall, also after 16,384 packets."""

    def __init__(self, next_number: int | None = None, missing: Iterable[int] = ()) -> None:
        self.next_number = next_number
        self.missing = set(missing)
        self.late = 0
        self.repeated = 0

    def observe(self, sequence: int) -> int:
        """Note that packet ``sequence`` has come, and return its unwrapped number."""
        if self.next_number is None:
            self.next_number = sequence + 1
            return sequence
        step = (sequence - self.next_number) % SEQUENCE_MODULUS
        if step >= MAX_GAP:
            return self._late(self.next_number + step - SEQUENCE_MODULUS)
        number = self.next_number + step
        self._miss(range(self.next_number, number))
        self.next_number = number + 1
        return number

    def gaps(self) -> tuple[tuple[int, int], ...]:
        """What has not come, as (first unwrapped number, count)."""
        return to_ranges(self.missing, limit=MAX_MISSING)

    def _late(self, number: int) -> int:
        if number in self.missing:
            self.missing.remove(number)
            self.late += 1
        else:
            self.repeated += 1
        return number

    def _miss(self, numbers: range) -> None:
        self.missing.update(numbers)
        if len(self.missing) > MAX_MISSING:
            self.missing = set(sorted(self.missing)[-MAX_MISSING:])
