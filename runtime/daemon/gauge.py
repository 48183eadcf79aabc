"""How full the battery is, given a sensor that may lie: every reading is held against the energy balance."""

from __future__ import annotations

import math
from dataclasses import dataclass

STUCK_SLOTS = 1
"""A reading that was equal so often, while the balance says that the charge moved, comes from a stuck sensor."""
TRUST_AGAIN_SLOTS = 4
GAIN_DOWN, GAIN_UP = 0.75, 0.25
"""Shares of the difference between reading and reckoning that are believed: bad news sooner than good."""
FOLLOW_SLOTS = 2
"""After so many slots of doubt, a reading that is low and steady is right, and the balance is what is wrong."""
RISE_SLOTS = 6
"""After so many, one that is high and steady may lift the belief, a little in each slot."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What is believed of the battery; ``doubt`` says why a reading is not, empty where it is."""

    frac: float
    doubt: str = ""


@dataclass(slots=True)
class Gauge:
    """Follows one battery slot by slot."""

    noise_frac: float
    """Standard error of a healthy reading."""
    _last: float | None = None
    _equal_slots: int = 0
    _moved_frac: float = 0.0
    _good_slots: int = TRUST_AGAIN_SLOTS
    _low_slots: int = 0
    _high_slots: int = 0
    _believed: float | None = None

    def read(self, reading_frac: float | None, reckoned_frac: float | None) -> Charge:
        """Return the charge at the start of a slot.

        ``reckoned_frac``: what the balance of the last slot predicts, ``None`` at the start. While a reading is in
        doubt, the lower of the two counts; without any, the reckoning alone.
        """
        charge = self._judged(reading_frac, reckoned_frac)
        self._believed = charge.frac
        return charge

    def _judged(self, reading_frac: float | None, reckoned_frac: float | None) -> Charge:
        doubt, before = self._doubt(reading_frac, reckoned_frac), self._last
        self._good_slots = 0 if doubt else self._good_slots + 1
        if not doubt and self._good_slots < TRUST_AGAIN_SLOTS:
            doubt = f"the charge reading was wrong {self._good_slots} slots ago"
        self._last = reading_frac
        if reading_frac is None or not math.isfinite(reading_frac):
            return Charge(0.0 if reckoned_frac is None else reckoned_frac, doubt)
        sane = min(max(reading_frac, 0.0), 1.0)
        if reckoned_frac is None:
            return Charge(sane, doubt)
        steady = before is not None and abs(sane - before) <= 3 * self.noise_frac
        self._low_slots = self._low_slots + 1 if doubt and steady and sane < reckoned_frac else 0
        moving = sane != before
        self._high_slots = self._high_slots + 1 if doubt and steady and moving and sane > reckoned_frac else 0
        if self._low_slots >= FOLLOW_SLOTS:
            return Charge(sane, doubt)
        if sane < reckoned_frac:
            return Charge(reckoned_frac + GAIN_DOWN * (sane - reckoned_frac), doubt)
        rise = min(GAIN_UP * (sane - reckoned_frac), self.noise_frac / 4)
        believed = not doubt or self._high_slots >= RISE_SLOTS
        return Charge(reckoned_frac + rise if believed else reckoned_frac, doubt)

    def _doubt(self, reading: float | None, reckoned: float | None) -> str:
        if reading is None or not math.isfinite(reading):
            return "there is no charge reading"
        if not -0.02 <= reading <= 1.05:
            return f"the charge reads {reading:.0%}"
        if reckoned is None:
            return ""
        self._watch_for_stuck(reading, reckoned)
        if self._equal_slots >= STUCK_SLOTS and abs(self._moved_frac) > self.noise_frac / 2:
            return f"the charge has read {reading:.1%} for {self._equal_slots + 1} slots while the balance moved"
        if abs(reading - reckoned) > 3 * self.noise_frac:
            return f"the charge reads {reading:.1%}, the balance says {reckoned:.1%}"
        return ""

    def _watch_for_stuck(self, reading: float, reckoned: float) -> None:
        if reading == self._last:
            self._equal_slots += 1
            self._moved_frac += reckoned - (self._believed if self._believed is not None else reckoned)
        else:
            self._equal_slots, self._moved_frac = 0, 0.0
