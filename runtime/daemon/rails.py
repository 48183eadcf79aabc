"""The meter of a flight: what the profiles say, or the rails less what they draw when nothing runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..meters import INA3221_ROOT, EstimateMeter, Ina3221Meter, find_rails, total_rails
from ..slot_loop import Meter
from .sections import SupplySection


@dataclass
class AboveIdle:
    """A meter of whole rails, less what they draw when nothing runs."""

    meter: Ina3221Meter
    idle_w: float
    monotonic_s: Callable[[], float]
    kind: str = "measured"
    _highest_j: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.rails = self.meter.rails
        self._start_s = self.monotonic_s()

    def energy_j(self) -> float:
        """Joules above idle so far; never decreases."""
        above_j = self.meter.energy_j() - self.idle_w * (self.monotonic_s() - self._start_s)
        self._highest_j = max(self._highest_j, above_j)
        return self._highest_j

    def spend(self, tile: int, energy_j_per_tile: float) -> None:
        """A meter that measures need not be told."""


def meter_of(supply: SupplySection, monotonic_s: Callable[[], float]) -> Meter:
    """Return the meter that a mission asks for, started."""
    if supply.meter == "estimate":
        return EstimateMeter()
    meter = Ina3221Meter(total_rails(find_rails(INA3221_ROOT)), monotonic_s)
    meter.start()
    return AboveIdle(meter, supply.idle_w, monotonic_s)
