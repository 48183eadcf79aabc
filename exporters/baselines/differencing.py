"""Change without learning: length of the spectral change vector (Malila, 1980), cut by Otsu's threshold (1979)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


def change_vector(earlier: NDArray[np.uint8], later: NDArray[np.uint8], *, match: bool = True) -> Float64Array:
    """(rows, cols) length of the difference of (bands, rows, cols) dates.

    ``match`` gives each band of the later date the mean and deviation of the earlier one: other light is no change.
    """
    one, other = earlier.astype(np.float64), later.astype(np.float64)
    if match:
        mean, spread = other.mean((1, 2), keepdims=True), other.std((1, 2), keepdims=True)
        other = (other - mean) / np.maximum(spread, 1e-9) * one.std((1, 2), keepdims=True)
        other = other + one.mean((1, 2), keepdims=True)
    length: Float64Array = np.sqrt(np.square(one - other).sum(axis=0))
    return length


def otsu_threshold(values: NDArray[np.floating], *, bins: int = 256) -> float:
    """The cut that parts values into two groups of greatest variance between them; larger values are change.

    Where all values are one, that one: nothing changed.

    >>> 0 < otsu_threshold(np.array([0.0, 0.0, 1.0, 1.0])) < 1
    True
    """
    count, edges = np.histogram(values, bins=bins)
    centre = (edges[:-1] + edges[1:]) / 2
    below, mass = np.cumsum(count), np.cumsum(count * centre)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = mass / below - (mass[-1] - mass) / above
        between = np.where((below > 0) & (above > 0), below * above * np.square(gap), -1.0)
    if between.max() < 0:
        return float(values.max())  # one value alone: nothing lies above it
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[best[len(best) // 2] + 1])


def difference_mask(earlier: NDArray[np.uint8], later: NDArray[np.uint8], *, match: bool = True) -> NDArray[np.bool_]:
    """(rows, cols) change by ``change_vector`` beyond its ``otsu_threshold``."""
    length = change_vector(earlier, later, match=match)
    mask: NDArray[np.bool_] = length > otsu_threshold(length)
    return mask
