"""The seam between the slot loop and whatever knows about joules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol


class PowerMeter(Protocol):
    """Energy drawn since a fixed, arbitrary start. The energy of a slot is the difference of two readings."""

    @property
    def kind(self) -> str:
        """``measured`` or ``estimated``; the two are never mixed."""
        ...

    @property
    def rails(self) -> tuple[str, ...]:
        """What is in the figure: supply rails, or the profile that an estimate rests on."""
        ...

    def energy_j(self) -> float:
        """Cumulative joules. Never decreases."""
        ...


class RatedMeter(PowerMeter, Protocol):
    """A meter that states its error."""

    @property
    def error_frac(self) -> float:
        """Worst error of a reading as a share of it; infinite for an estimate, whose error nobody measured."""
        ...


@dataclass
class ReplayMeter:
    """Plays back readings that were recorded on a board; the last one stands once all are played."""

    readings_j: Iterator[float]
    rails: tuple[str, ...] = ("recorded",)
    kind: str = "measured"
    error_frac: float = 0.05
    """Of the instrument that recorded."""
    _last_j: float = field(default=0.0, init=False)

    def energy_j(self) -> float:
        """The next reading; a recording that falls back is held at its highest."""
        self._last_j = max(self._last_j, next(self.readings_j, self._last_j))
        return self._last_j
