"""From a camera's picture to the tile that a gallery knows: north up, straight down, at the gallery's scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

MIN_TILT_DEG = 25.0
FOCAL_PX = 1000.0
"""Of a picture of which only the ground sample distance is known: its perspective does not matter."""
MIN_INSIDE_FRAC = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a picture was taken: all that compass, attitude and altimeter say, nothing of where.

    ``tilt_deg``: of the optical axis below the horizon, 90 straight down. ``heading_deg``: where the upper edge of the
    picture points, clockwise from north. No roll.
    """

    focal_px: float
    height_m: float
    """Above ground."""
    heading_deg: float = 0.0
    tilt_deg: float = 90.0

    def __post_init__(self) -> None:
        if not (0 < self.focal_px < math.inf and 0 < self.height_m < math.inf and math.isfinite(self.heading_deg)):
            raise DatasetError(
                f"A sight with focal length {self.focal_px} px, {self.height_m} m above ground, heading "
                f"{self.heading_deg} deg is none. Give positive lengths and a finite heading."
            )
        if not MIN_TILT_DEG <= self.tilt_deg <= 90.0:
            raise DatasetError(
                f"A tilt of {self.tilt_deg} deg below the horizon cannot be laid onto the ground. Use "
                f"{MIN_TILT_DEG:g} to 90."
            )

    @classmethod
    def straight_down(cls, gsd_m: float, heading_deg: float = 0.0) -> Sight:
        """Of a picture of known ground sample distance."""
        return cls(focal_px=FOCAL_PX, height_m=gsd_m * FOCAL_PX, heading_deg=heading_deg)

    @property
    def ahead_m(self) -> tuple[float, float]:
        """East and north from the camera to where its axis meets the ground."""
        reach = self.height_m / math.tan(math.radians(self.tilt_deg))
        heading = math.radians(self.heading_deg)
        return reach * math.sin(heading), reach * math.cos(heading)

    def axes(self) -> NDArray[np.float64]:
        """(3, 3): the camera's right, down and forward in east, north, up.

        >>> (Sight.straight_down(0.5).axes().round(3) + 0.0).tolist()
        [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]]
        """
        heading, tilt = math.radians(self.heading_deg), math.radians(self.tilt_deg)
        flat, level = math.cos(tilt), (math.sin(heading), math.cos(heading))
        forward = np.array([level[0] * flat, level[1] * flat, -math.sin(tilt)])
        right = np.array([level[1], -level[0], 0.0])
        out: NDArray[np.float64] = np.stack([right, np.cross(forward, right), forward]) + 0.0
        return out

    def project(self, ground_m: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
        """Points (n, 2) east and north of where the axis meets the ground to (n, 2) column and row; NaN behind."""
        rays = np.column_stack([ground_m + np.array(self.ahead_m), np.full(len(ground_m), -self.height_m)])
        right, down, depth = (rays @ self.axes().T).T
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(depth > 1e-6, self.focal_px / depth, np.nan)
        middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
        out: NDArray[np.float64] = np.column_stack([right * scale, down * scale]) + middle
        return out


def tile_of(pixels: NDArray[np.uint8], sight: Sight, *, tile_m: float, edge_px: int) -> NDArray[np.uint8]:
    """The ground around where the camera's axis meets it, taken as flat: (3, edge, edge) uint8, north up.

    ``pixels``: (3, rows, cols). Raises ``DatasetError`` where less than nine tenths of the tile are in the picture.
    """
    fine = _fineness(sight, pixels.shape[1:], tile_m, edge_px)
    offset = ((np.arange(edge_px * fine) + 0.5) / (edge_px * fine) - 0.5) * tile_m
    east, north = np.meshgrid(offset, -offset)
    place = sight.project(np.column_stack([east.ravel(), north.ravel()]), (pixels.shape[1], pixels.shape[2]))
    col, row = place.T
    limit = np.array([pixels.shape[2] - 0.5, pixels.shape[1] - 0.5])
    inside_frac = float(np.mean((place > -0.5).all(1) & (place < limit).all(1)))
    if inside_frac < MIN_INSIDE_FRAC:
        raise DatasetError(
            f"Only {100 * inside_frac:.0f} % of a tile of {tile_m:.1f} m are in the picture of {pixels.shape[1]} x "
            f"{pixels.shape[2]} px. Check the scale (--gsd, or --height with --focal), or fly higher."
        )
    sampled = _bilinear(pixels, np.nan_to_num(row), np.nan_to_num(col))
    blocks = sampled.reshape(3, edge_px, fine, edge_px, fine).mean((2, 4))
    out: NDArray[np.uint8] = np.clip(np.rint(blocks), 0, 255).astype(np.uint8)
    return out


def _fineness(sight: Sight, shape: tuple[int, ...], tile_m: float, edge_px: int) -> int:
    """Samples a side of each pixel of the tile: as many as the picture has pixels there, at most 16."""
    side = np.array([[0.0, 0.0], [tile_m / edge_px, 0.0], [0.0, tile_m / edge_px]])
    centre, *ends = sight.project(side, (shape[0], shape[1]))
    step = max(float(np.linalg.norm(end - centre)) for end in ends)
    return int(np.clip(math.ceil(step), 1, 16))


def _bilinear(pixels: NDArray[np.uint8], row: NDArray[np.float64], col: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, cols = pixels.shape[1:]
    row, col = np.clip(row, 0, rows - 1), np.clip(col, 0, cols - 1)
    top = np.minimum(row.astype(np.int64), max(rows - 2, 0))
    left = np.minimum(col.astype(np.int64), max(cols - 2, 0))
    down, right = row - top, col - left
    bottom, far = np.minimum(top + 1, rows - 1), np.minimum(left + 1, cols - 1)
    upper = pixels[:, top, left] * (1 - right) + pixels[:, top, far] * right
    lower = pixels[:, bottom, left] * (1 - right) + pixels[:, bottom, far] * right
    out: NDArray[np.float64] = upper * (1 - down) + lower * down
    return out
