"""Rational polynomial coefficients: the camera model that comes with raw satellite scenes.

RPC00B of the STDI-0002 compendium (appendix E): normalised image coordinates are ratios of cubic polynomials in
normalised longitude, latitude and height. They are inverted here for a given height by Newton's method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import FrameError
from .rings import Float64Array

_STEPS, _ENOUGH_PX = 20, 1e-6
_FARTHEST = 10.0
"""Normalised coordinates run from -1 to 1 within the scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """Coefficients as the standard names them; angles in degrees, heights in metres above the WGS 84 ellipsoid.

    The standard counts pixels by their centres: line 0, sample 0 is the centre of the first one.
    """

    line_num: tuple[float, ...]
    line_den: tuple[float, ...]
    samp_num: tuple[float, ...]
    samp_den: tuple[float, ...]
    line_off_px: float
    line_scale_px: float
    samp_off_px: float
    samp_scale_px: float
    lat_off_deg: float
    lat_scale_deg: float
    long_off_deg: float
    long_scale_deg: float
    height_off_m: float
    height_scale_m: float
    err_bias_m: float | None = None
    err_rand_m: float | None = None

    def to_pixel(
        self, lon_deg: Float64Array, lat_deg: Float64Array, height_m: float
    ) -> tuple[Float64Array, Float64Array]:
        """Rows and columns, counted from the upper left corner of the first pixel, of places at ``height_m``."""
        along, across = self.normalised(
            (lon_deg - self.long_off_deg) / self.long_scale_deg,
            (lat_deg - self.lat_off_deg) / self.lat_scale_deg,
            (height_m - self.height_off_m) / self.height_scale_m,
        )
        rows = along * self.line_scale_px + self.line_off_px + 0.5
        return rows, across * self.samp_scale_px + self.samp_off_px + 0.5

    def normalised(self, x: Float64Array, y: Float64Array, z: float) -> tuple[Float64Array, Float64Array]:
        """Normalised row and column of normalised longitude, latitude and height; not finite where the ratio fails."""
        terms = _terms(x, y, z)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            along = (terms @ np.array(self.line_num)) / (terms @ np.array(self.line_den))
            across = (terms @ np.array(self.samp_num)) / (terms @ np.array(self.samp_den))
        return along, across


@dataclass(frozen=True, slots=True)
class RpcGeoreference:
    """A scene placed by its RPCs on a surface of constant height; None takes the height they were fitted around."""

    rpc: Rpc
    height_m: float | None = None

    def to_wgs84(self, rows_px: Float64Array, cols_px: Float64Array) -> tuple[Float64Array, Float64Array]:
        """See ``Georeference.to_wgs84``."""
        rpc = self.rpc
        along = (rows_px - 0.5 - rpc.line_off_px) / rpc.line_scale_px
        across = (cols_px - 0.5 - rpc.samp_off_px) / rpc.samp_scale_px
        height_m = rpc.height_off_m if self.height_m is None else self.height_m
        z = (height_m - rpc.height_off_m) / rpc.height_scale_m
        x, y = _invert(rpc, along, across, z)
        lon = (x * rpc.long_scale_deg + rpc.long_off_deg + 180.0) % 360.0 - 180.0
        return lon, y * rpc.lat_scale_deg + rpc.lat_off_deg

    def error_m(self, rows_px: Float64Array, cols_px: Float64Array) -> Float64Array | None:
        """Bias and random error that the provider states, together; terrain off ``height_m`` comes on top."""
        if self.rpc.err_bias_m is None or self.rpc.err_rand_m is None:
            return None
        return np.full(len(rows_px), math.hypot(self.rpc.err_bias_m, self.rpc.err_rand_m))


def _invert(rpc: Rpc, along: Float64Array, across: Float64Array, z: float) -> tuple[Float64Array, Float64Array]:
    """Normalised longitude and latitude that show at the normalised image position."""
    x, y, step = np.zeros_like(along), np.zeros_like(along), 1e-6
    enough = _ENOUGH_PX / max(rpc.line_scale_px, rpc.samp_scale_px)
    for _ in range(_STEPS):
        row, col = rpc.normalised(x, y, z)
        miss_row, miss_col = along - row, across - col
        if float(np.max(np.hypot(miss_row, miss_col), initial=0.0)) < enough:  # false for NaN
            return x, y
        row_x, col_x = (((a - b) / step) for a, b in zip(rpc.normalised(x + step, y, z), (row, col), strict=True))
        row_y, col_y = (((a - b) / step) for a, b in zip(rpc.normalised(x, y + step, z), (row, col), strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            det = row_x * col_y - row_y * col_x
            x = x + (miss_row * col_y - row_y * miss_col) / det
            y = y + (row_x * miss_col - miss_row * col_x) / det
        if not (np.abs(x) < _FARTHEST).all() or not (np.abs(y) < _FARTHEST).all():  # true for NaN
            break
    raise FrameError("The scene's RPCs place some pixels nowhere. Check its RPC tags, or use a map-projected copy.")


def _terms(x: Float64Array, y: Float64Array, z: float) -> Float64Array:
    """(n, 20) terms in the standard's order: L = longitude, P = latitude, H = height."""
    one, h = np.ones_like(x), np.full_like(x, z)
    return np.stack(
        [
            *(one, x, y, h, x * y, x * h, y * h, x * x, y * y, h * h, x * y * h),
            *(x**3, x * y * y, x * h * h, x * x * y, y**3, y * h * h, x * x * h, y * y * h, h**3),
        ],
        axis=1,
    )
