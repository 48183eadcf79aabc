"""What haze costs whoever looks at the images next, and how much of that a dehazer brings back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Images = TypeVar("Images")


@dataclass(frozen=True, slots=True)
class HazeEffect:
    """One score (accuracy, AP50, …; higher is better) on clear, hazed and dehazed images, and on dehazed clear ones."""

    clear: float
    hazed: float
    dehazed: float
    clear_dehazed: float
    """What the dehazer costs where there is no haze."""

    @property
    def recovered_frac(self) -> float:
        """Share of what the haze cost that came back; 0 where it cost nothing, negative where dehazing hurts.

        >>> HazeEffect(clear=0.9, hazed=0.5, dehazed=0.8, clear_dehazed=0.9).recovered_frac
        0.75
        """
        cost = self.clear - self.hazed
        return round((self.dehazed - self.hazed) / cost, 9) if cost > 0.0 else 0.0


def haze_effect(
    clear: Images,
    *,
    haze: Callable[[Images], Images],
    dehaze: Callable[[Images], Images],
    score: Callable[[Images], float],
) -> HazeEffect:
    """Score ``clear``, its hazed form and both after ``dehaze``. ``score`` knows the labels, in the same order."""
    hazed = haze(clear)
    return HazeEffect(score(clear), score(hazed), score(dehaze(hazed)), score(dehaze(clear)))
