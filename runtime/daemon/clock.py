"""Time, handed in: a monotonic clock for durations, UTC for the orbit, and waiting that commands can cut short."""

from __future__ import annotations

import queue
import time
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """What the daemon knows of time."""

    def monotonic_s(self) -> float:
        """Seconds since any moment; never jumps."""
        ...

    def unix_s(self) -> float:
        """UTC as the system has it; may jump."""
        ...

    def wait(self, wakes: queue.SimpleQueue[T], seconds: float) -> T | None:
        """Return the next item of ``wakes``, or ``None`` once the time is over."""
        ...


class SystemClock:
    """The machine's own."""

    def monotonic_s(self) -> float:
        """See ``Clock``."""
        return time.monotonic()

    def unix_s(self) -> float:
        """See ``Clock``."""
        return time.time()

    def wait(self, wakes: queue.SimpleQueue[T], seconds: float) -> T | None:
        """See ``Clock``."""
        try:
            return wakes.get(timeout=max(seconds, 0.0)) if seconds > 0 else wakes.get_nowait()
        except queue.Empty:
            return None
