"""How many tiles a camera brings in: swath from height, field of view and roll."""

from __future__ import annotations

import math


def swath_m(height_m: float, field_of_view_rad: float, roll_rad: float = 0.0) -> float:
    """Return the width of ground seen across track; flat ground, which errs by under 2 % for 60 degrees from 500 km.

    >>> round(swath_m(120.0, math.radians(90.0)))
    240
    """
    left, right = roll_rad - field_of_view_rad / 2, roll_rad + field_of_view_rad / 2
    if max(abs(left), abs(right)) >= math.pi / 2:
        return math.inf
    return height_m * (math.tan(right) - math.tan(left))


def tile_rate_per_s(ground_speed_m_s: float, swath_width_m: float, tile_edge_m: float) -> float:
    """Return the tiles swept per second, without overlap.

    >>> tile_rate_per_s(18.0, 240.0, 3.0)
    480.0
    """
    return ground_speed_m_s * swath_width_m / tile_edge_m**2
