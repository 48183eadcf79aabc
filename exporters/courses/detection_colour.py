"""Random hue, saturation and value; on grey pictures only the value does anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def jitter_hsv(
    pixels: NDArray[np.uint8], ranges: tuple[float, float, float], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """(3, rows, columns) with hue turned and saturation and value scaled by up to ``ranges``."""
    gains = 1.0 + rng.uniform(-1.0, 1.0, 3) * ranges
    if np.array_equal(pixels[0], pixels[1]) and np.array_equal(pixels[1], pixels[2]):
        table = np.clip(np.arange(256) * gains[2], 0, 255).astype(np.uint8)
        scaled: NDArray[np.uint8] = table[pixels]
        return scaled
    hue, saturation, value = to_hsv(pixels)
    return from_hsv(
        (hue * gains[0]) % 1.0, np.clip(saturation * gains[1], 0.0, 1.0), np.clip(value * gains[2], 0.0, 1.0)
    )


def to_hsv(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Hue (in turns), saturation and value, each (rows, columns) 0..1."""
    red, green, blue = (band.astype(np.float32) / 255.0 for band in pixels)
    value = np.maximum(np.maximum(red, green), blue)
    span = value - np.minimum(np.minimum(red, green), blue)
    safe = np.where(span > 0, span, 1.0)
    hue = np.where(value == red, (green - blue) / safe, (blue - red) / safe + 2.0)
    hue = np.where((value == blue) & (value != red) & (value != green), (red - green) / safe + 4.0, hue)
    hue = np.where(span > 0, hue / 6.0 % 1.0, 0.0).astype(np.float32)
    saturation = span / np.where(value > 0, value, 1.0)
    return hue, saturation.astype(np.float32), value


def from_hsv(
    hue: NDArray[np.float32], saturation: NDArray[np.float32], value: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The inverse of ``to_hsv``: (3, rows, columns) uint8."""
    bands = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + hue * 6.0) % 6.0
        bands.append(value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0))
    return np.round(np.stack(bands) * 255.0).astype(np.uint8)
