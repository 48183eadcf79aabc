"""The Earth's shadow as two cones: umbra and penumbra, on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .constants import EARTH_FLATTENING, EARTH_RADIUS_M, SUN_RADIUS_M
from .frames import FloatArray


def shadow_margins_rad(
    r_eci_m: FloatArray, sun_m: FloatArray, radius_m: float = EARTH_RADIUS_M, flattening: float = EARTH_FLATTENING
) -> tuple[FloatArray, FloatArray]:
    """Return (penumbra, umbra) margins of (..., 3) positions: negative inside the shadow, zero on its edge.

    Seen from the satellite, the Sun's disc touches the Earth's outer limb at the edge of the penumbra and is just
    covered at the edge of
    the umbra. The oblate Earth is turned into a sphere by stretching the polar axis; no refraction.
    """
    stretch = np.array([1.0, 1.0, 1.0 / (1.0 - flattening)])
    r, to_sun = r_eci_m * stretch, (sun_m - r_eci_m) * stretch
    radius = np.sqrt(np.sum(r * r, axis=-1))
    sun_distance = np.sqrt(np.sum(to_sun * to_sun, axis=-1))
    separation = np.arccos(np.clip(-np.sum(r * to_sun, axis=-1) / (radius * sun_distance), -1.0, 1.0))
    earth = np.arcsin(np.clip(radius_m / radius, -1.0, 1.0))
    sun = np.arcsin(SUN_RADIUS_M / sun_distance)
    return separation - earth - sun, separation - earth + sun


def crossings_s(times_s: FloatArray, margin: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the times at which a sampled margin turns negative and turns positive again, by cubic interpolation.

    >>> down, up = crossings_s(np.arange(5.0), np.array([5.25, 1.25, -0.75, -0.75, 1.25]))
    >>> [round(float(t), 2) for t in down], [round(float(t), 2) for t in up]
    ([1.5], [3.5])
    """
    inside = margin < 0
    at = np.flatnonzero(inside[1:] != inside[:-1])
    roots, entering = _roots_s(times_s, margin, at), inside[at + 1]
    return roots[entering], roots[~entering]


def shadow_intervals_s(times_s: FloatArray, margin: FloatArray) -> list[tuple[float, float]]:
    """Return (start, end) of each stay below zero; a stay cut off by the ends of the samples ends there."""
    down, up = crossings_s(times_s, margin)
    starts = [float(times_s[0])] * bool(margin[0] < 0) + [float(t) for t in down]
    ends = [float(t) for t in up] + [float(times_s[-1])] * bool(margin[-1] < 0)
    return list(zip(starts, ends, strict=True))


def lit_frac_of_steps(penumbra: FloatArray, umbra: FloatArray) -> FloatArray:
    """Return the lit share of each step between samples: half way between the two cones the Sun's disc is half covered.

    The margin is taken as linear within a step, which errs by under 0.2 s at 30 s steps in LEO.

    >>> lit_frac_of_steps(np.array([0.2, 0.1, -0.3]), np.array([0.2, 0.1, -0.3])).tolist()
    [1.0, 0.25]
    """
    middle = 0.5 * (penumbra + umbra)
    return positive_frac_of_steps(middle)


def positive_frac_of_steps(margin: FloatArray) -> FloatArray:
    """Return the share of each step in which a linearly interpolated margin is above zero."""
    a, b = margin[..., :-1], margin[..., 1:]
    high, low = np.maximum(a, b), np.minimum(a, b)
    return np.asarray(np.clip(high / np.maximum(high - low, 1e-300), 0.0, 1.0) * (high > 0))


def _roots_s(times_s: FloatArray, margin: FloatArray, at: NDArray[np.intp]) -> FloatArray:
    """Return where the cubic through the four samples around each step ``at`` .. ``at + 1`` changes sign, by
    bisection."""
    if len(times_s) < 4:
        share = margin[at] / (margin[at] - margin[at + 1])
        return np.asarray(times_s[at] + share * (times_s[at + 1] - times_s[at]))
    four = np.clip(at - 1, 0, len(times_s) - 4)[:, None] + np.arange(4)
    t, y = times_s[four] - times_s[at][:, None], margin[four]
    slopes = [y]
    for order in (1, 2, 3):  # Newton's divided differences
        slopes.append(np.diff(slopes[-1], axis=1) / (t[:, order:] - t[:, :-order]))
    c0, c1, c2, c3 = (column[:, 0] for column in slopes)
    low, high = np.zeros(len(at)), times_s[at + 1] - times_s[at]
    falling = margin[at] >= 0
    for _ in range(48):
        middle = 0.5 * (low + high)
        d0, d1, d2 = middle - t[:, 0], middle - t[:, 1], middle - t[:, 2]
        before = ((c0 + d0 * (c1 + d1 * (c2 + d2 * c3))) >= 0) == falling
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    return np.asarray(times_s[at] + 0.5 * (low + high))
