"""What lies below: a coarse map of land, sea and land cover that ships with the package."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray


@lru_cache(maxsize=1)
def cover_map() -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return codes (360, 720), row 0 at the south pole, column 0 at 180 W, and the name of each code."""
    with files("power_sim").joinpath("data/cover_map.npz").open("rb") as stream, np.load(stream) as archive:
        return archive["cover"], tuple(str(name) for name in archive["names"])


def cover_code(latitude_rad: ArrayLike, longitude_rad: ArrayLike) -> NDArray[np.uint8]:
    """Return the map's code under each point.

    >>> codes = cover_code(np.radians([0.0, 23.0, -75.0]), np.radians([-140.0, 10.0, 90.0]))
    >>> [cover_map()[1][int(code)] for code in codes]
    ['sea', 'barren', 'ice']
    """
    codes, _ = cover_map()
    rows, cols = codes.shape
    row = np.clip((np.degrees(latitude_rad) + 90) * (rows / 180), 0, rows - 1).astype(np.intp)
    col = np.mod((np.degrees(longitude_rad) + 180) * (cols / 360), cols).astype(np.intp) % cols
    return np.asarray(codes[row, col])
