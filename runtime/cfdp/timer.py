"""A timer that counts how often it ran out, on a clock that its owner hands in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Timer:
    """Runs out ``period_s`` after the last ``start``; ``limit`` times in a row mean that nobody is there."""

    period_s: float
    limit: int
    due_s: float | None = None
    tries: int = 0

    def start(self, now_s: float) -> None:
        """Begin anew, as if it had never run out."""
        self.due_s = now_s + self.period_s
        self.tries = 0

    def stop(self) -> None:
        """Do not run out."""
        self.due_s = None
        self.tries = 0

    def ran_out(self, now_s: float) -> bool:
        """Whether the time is over; then it counts a try and starts again."""
        if self.due_s is None or now_s < self.due_s:
            return False
        self.tries += 1
        self.due_s = now_s + self.period_s
        return True

    @property
    def exhausted(self) -> bool:
        """Ran out more often than allowed."""
        return self.tries > self.limit
