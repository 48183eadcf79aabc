"""Positions as products: where a camera was, and how far that may be off, as a square on the ground.

Half the square's side is one standard deviation of the distance, so that place and error travel as a footprint does.
"""

from __future__ import annotations

import math

from .georeference.place import radii_m
from .records import Footprint

POSITION = "position"
"""Kind of such a product."""
LEAST_M = 0.2
"""Smaller squares would be lost in the micro-degrees of a packet."""


def square_of(longitude_deg: float, latitude_deg: float, error_m: float) -> Footprint:
    """The square around a position.

    >>> [round(value, 6) for value in position_of(square_of(9.0, 47.5, 12.0))]
    [9.0, 47.5, 12.0]
    """
    meridian_m, vertical_m = radii_m(latitude_deg)
    half_m = max(error_m, LEAST_M)
    east = math.degrees(half_m / (vertical_m * math.cos(math.radians(latitude_deg))))
    north = math.degrees(half_m / meridian_m)
    corners = ((-east, -north), (east, -north), (east, north), (-east, north), (-east, -north))
    return Footprint(tuple((longitude_deg + dx, latitude_deg + dy) for dx, dy in corners))


def position_of(footprint: Footprint) -> tuple[float, float, float]:
    """Longitude, latitude, and one standard deviation of the distance in metres."""
    longitudes, latitudes = zip(*footprint.ring_deg, strict=True)
    middle = (max(latitudes) + min(latitudes)) / 2
    meridian_m, _ = radii_m(middle)
    error_m = math.radians((max(latitudes) - min(latitudes)) / 2) * meridian_m
    return (max(longitudes) + min(longitudes)) / 2, middle, error_m
