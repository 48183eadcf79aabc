"""Stored values to what networks take in, uint8 or physical float32, and restored pixels back to stored values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import FloatArray, UInt8Array

TILE_DTYPES = ("uint8", "float32")


def to_uint8(raw: NDArray[Any], scale: tuple[float, float] | None) -> UInt8Array:
    """Map ``scale`` (low, high) to 0..255, rounded and clipped, NaN to 0; None takes bytes as they are."""
    if scale is None:
        return raw.astype(np.uint8, copy=False)
    low, high = scale
    scaled = raw.astype(np.float32)
    scaled -= np.float32(low)
    scaled *= np.float32(255.0 / (high - low))
    if raw.dtype.kind == "f":
        np.nan_to_num(scaled, copy=False, nan=0.0)
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, 255, out=scaled)
    pixels: UInt8Array = scaled.astype(np.uint8)
    return pixels


@dataclass(frozen=True, slots=True)
class Physical:
    """How stored values become physical ones: ``scale * stored + offset`` by band, and which value stands for none."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nodata: float | None

    def of(self, raw: NDArray[Any], bands: Sequence[int]) -> FloatArray:
        """(bands, rows, cols) float32, NaN where a band holds no data. ``bands``: positions that ``raw`` holds."""
        values: FloatArray = raw.astype(np.float32)
        if self.nodata is not None and not math.isnan(self.nodata):
            values[raw == raw.dtype.type(self.nodata)] = np.nan
        if raw.dtype.kind == "f":
            values[~np.isfinite(values)] = np.nan
        scale, offset = [self.scale[band] for band in bands], [self.offset[band] for band in bands]
        if any(factor != 1.0 for factor in scale) or any(offset):
            values *= np.array(scale, dtype=np.float32)[:, None, None]
            values += np.array(offset, dtype=np.float32)[:, None, None]
        return values


def from_levels(levels: FloatArray, scale: tuple[float, float] | None, dtype: str) -> NDArray[Any]:
    """Undo ``to_uint8``: levels 0..255 as stored values of ``dtype``, rounded once and clipped to what it can hold."""
    low, high = scale or (0.0, 255.0)
    values = levels.astype(np.float64) * ((high - low) / 255.0) + low
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return values.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.rint(values), limits.min, limits.max).astype(kind)
