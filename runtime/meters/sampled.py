"""Joules from watts: the integral of a power reading over time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import EngineError


class Channel(Protocol):
    """Anything whose power can be read: a rail, or a recording of one."""

    @property
    def name(self) -> str:
        """The label of the supply."""
        ...

    def power_w(self) -> float:
        """Power now."""
        ...


@dataclass
class SampledMeter:
    """Integrates the power of some rails over time, by trapezoids between readings.

    A reading is taken at each ``energy_j`` and, between ``start`` and ``stop``, every ``period_s`` in the background:
    without it, what happens between two calls is taken to change linearly.
    """

    channels: Sequence[Channel]
    clock: Callable[[], float]
    """Monotonic seconds."""
    error_frac: float = 0.0
    """Worst error of a power reading by the part's data sheet and the shunt, as a share of the reading."""
    kind: str = field(default="measured", init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _total_j: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.rails = tuple(rail.name for rail in self.channels)
        self._last_s, self._last_w = self.clock(), self.power_w()

    def power_w(self) -> float:
        """Sum over the rails, now."""
        return sum(rail.power_w() for rail in self.channels)

    def energy_j(self) -> float:
        """Take a reading and return all joules so far."""
        with self._lock:
            now_s, now_w = self.clock(), self.power_w()
            self._total_j += max(now_s - self._last_s, 0.0) * max(now_w + self._last_w, 0.0) / 2
            self._last_s, self._last_w = now_s, now_w
            return self._total_j

    def start(self, period_s: float = 0.1) -> threading.Thread:
        """Read every ``period_s`` in the background until ``stop``."""
        self._stop.clear()
        thread = threading.Thread(target=self._sample, args=(period_s,), name="power-meter", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End the background readings."""
        self._stop.set()

    def _sample(self, period_s: float) -> None:
        while not self._stop.wait(period_s):
            with suppress(EngineError):  # a reading that failed is bridged by the next; ``energy_j`` tells who asks
                self.energy_j()
