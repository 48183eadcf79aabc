"""Means over seeds with their 95 % confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its two-sided 95 % confidence interval."""

    mean: float
    low: float
    high: float


def mean_ci95(values: Sequence[float]) -> Interval:
    """Return the mean of independent values with Student's interval; a single value has an unbounded one.

    >>> interval = mean_ci95([0.0] * 15 + [1.0] * 15)
    >>> round(interval.mean, 2), round(interval.low, 2), round(interval.high, 2)
    (0.5, 0.31, 0.69)
    """
    count = len(values)
    mean = float(np.mean(values))
    if count < 2:
        return Interval(mean, -math.inf, math.inf)
    half = student_975(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def student_975(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t; exact for 1 and 2 degrees of freedom, else within 0.3 %.

    Abramowitz and Stegun 26.7.5 (expansion around the normal quantile).

    >>> round(student_975(29), 3), round(student_975(4), 2)
    (2.045, 2.78)
    """
    if freedom == 1:
        return 12.706204736432095
    if freedom == 2:
        return 4.302652729911275
    z: float = NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def worst_decile(values: Sequence[float]) -> float:
    """Return the mean of the largest tenth of the values, of at least one.

    >>> worst_decile([0.01] * 18 + [0.2, 0.4])
    0.30000000000000004
    """
    worst = sorted(values, reverse=True)[: max(1, len(values) // 10)]
    return float(np.mean(worst))
