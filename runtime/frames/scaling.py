"""Stored values to the uint8 that networks take in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import UInt8Array


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
