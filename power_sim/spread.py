"""How a measured quantity varies: a range, or a distribution within it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from .frames import FloatArray

KINDS = ("uniform", "normal", "triangular")
_KNOTS = 1025


@dataclass(frozen=True, slots=True)
class Spread:
    """Values between ``low`` and ``high``: ``uniform``; ``triangular`` about ``peak``; ``normal`` about ``peak`` with
    ``sd``, cut off at the ends."""

    kind: str
    low: float
    high: float
    peak: float
    sd: float

    @property
    def flat(self) -> bool:
        """Whether all values are alike: a range without shape, or a bell far wider than its range."""
        width = self.high - self.low
        return self.kind == "uniform" or width == 0 or (self.kind == "normal" and width < 1e-6 * self.sd)

    @property
    def mean(self) -> float:
        """The expected value.

        >>> Spread("triangular", 0.0, 3.0, 0.0, 0.0).mean, Spread("normal", 0.0, 2.0, 1.0, 0.5).mean
        (1.0, 1.0)
        """
        if self.flat:
            return 0.5 * (self.low + self.high)
        if self.kind == "triangular":
            return (self.low + self.high + self.peak) / 3
        a, b, standard = (self.low - self.peak) / self.sd, (self.high - self.peak) / self.sd, NormalDist()
        share = standard.cdf(b) - standard.cdf(a)
        return self.peak + self.sd * (standard.pdf(a) - standard.pdf(b)) / share

    def at(self, share: FloatArray) -> FloatArray:
        """Return the values below which each ``share`` (0..1) of all lies: turns uniform draws into draws of this.

        >>> Spread("triangular", 0.0, 2.0, 2.0, 0.0).at(np.array([0.25, 1.0])).tolist()
        [1.0, 2.0]
        """
        return np.asarray(np.interp(share, np.linspace(0.0, 1.0, _KNOTS), _quantiles(self)))


@lru_cache(maxsize=256)
def _quantiles(spread: Spread) -> FloatArray:
    p: FloatArray = np.linspace(0.0, 1.0, _KNOTS)
    low, high, peak = spread.low, spread.high, spread.peak
    if spread.flat:
        return np.asarray(low + (high - low) * p)
    if spread.kind == "triangular":
        rising = low + np.sqrt(p * (high - low) * (peak - low))
        falling = high - np.sqrt((1 - p) * (high - low) * (high - peak))
        return np.asarray(np.where(p * (high - low) <= peak - low, rising, falling))
    normal = NormalDist(peak, spread.sd)
    first, last = normal.cdf(low), normal.cdf(high)
    inner = [normal.inv_cdf(first + share * (last - first)) for share in p[1:-1].tolist()]
    return np.asarray(np.clip([low, *inner, high], low, high))


def refusal(spread: Spread, peak_given: bool, sd_given: bool) -> str:
    """Return what is wrong with a spread, or nothing.

    >>> refusal(Spread("normal", 0.0, 1.0, 0.5, 0.0), True, False)
    'is normal and needs a standard deviation above 0'
    """
    if not spread.low <= spread.peak <= spread.high:
        return f"has its peak at {spread.peak:g}, outside {spread.low:g} to {spread.high:g}"
    if spread.kind == "uniform" and (peak_given or sd_given):
        return "is uniform and takes neither peak nor standard deviation; set draw = 'normal' or 'triangular'"
    if spread.kind == "triangular" and sd_given:
        return "is triangular and takes no standard deviation"
    if spread.kind == "normal" and spread.high > spread.low and not spread.sd > 0:
        return "is normal and needs a standard deviation above 0"
    return ""
