"""Dehazing without learning: the dark channel prior, refined by a guided filter.

He, Sun & Tang, "Single Image Haze Removal Using Dark Channel Prior", IEEE TPAMI 33(12), 2011; He, Sun & Tang, "Guided
Image Filtering", IEEE TPAMI 35(6), 2013. The prior: in clear images some pixel of every patch is dark in some band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..errors import DatasetError

_GREY = np.array([0.299, 0.587, 0.114])
Map = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkChannel:
    """The papers' settings; the guided filter's radius is theirs for 600 x 400 px."""

    patch_px: int = 15
    keep_frac: float = 0.95
    """Share of the haze that is removed: a little is left for depth."""
    min_transmission: float = 0.1
    brightest_frac: float = 0.001
    radius_px: int = 40
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if self.patch_px < 1 or self.patch_px % 2 == 0 or self.radius_px < 1:
            raise DatasetError(
                f"patch_px is {self.patch_px}, radius_px {self.radius_px}. Give an odd patch, radius 1 up."
            )


def dehaze_dark_channel(hazy: NDArray[np.uint8], settings: DarkChannel | None = None) -> NDArray[np.uint8]:
    """(3, rows, cols) uint8 in, the same without haze out."""
    if hazy.ndim != 3 or hazy.shape[0] != 3 or hazy.dtype != np.uint8:
        raise DatasetError(f"The dark channel needs (3, rows, cols) of uint8, not {hazy.shape} of {hazy.dtype}.")
    settings = settings or DarkChannel()
    image = hazy.astype(np.float64) / 255.0
    airlight = airlight_of(image, dark_channel(image, settings.patch_px), settings.brightest_frac)
    scaled = image / np.maximum(airlight, 1e-3)[:, None, None]
    rough = 1.0 - settings.keep_frac * dark_channel(scaled, settings.patch_px)
    transmission = guided_filter(np.tensordot(_GREY, image, 1), rough, settings.radius_px, settings.epsilon)
    clear = (image - airlight[:, None, None]) / np.maximum(transmission, settings.min_transmission)
    return np.clip(np.rint((clear + airlight[:, None, None]) * 255.0), 0, 255).astype(np.uint8)


def dark_channel(image: Map, patch_px: int) -> Map:
    """(rows, cols): the lowest value of any band within the patch around each pixel."""
    pad = patch_px // 2
    lowest = np.pad(image.min(axis=0), pad, mode="edge")
    down = sliding_window_view(lowest, patch_px, axis=0).min(axis=-1)
    across: Map = sliding_window_view(down, patch_px, axis=1).min(axis=-1)
    return across


def airlight_of(image: Map, dark: Map, brightest_frac: float) -> Map:
    """(3,): the brightest pixel among those whose dark channel is brightest."""
    count = max(1, int(brightest_frac * dark.size))
    haziest = np.argsort(dark, axis=None)[-count:]
    candidates = image.reshape(3, -1)[:, haziest]
    chosen: Map = candidates[:, int(candidates.sum(axis=0).argmax())]
    return chosen


def guided_filter(guide: Map, image: Map, radius_px: int, epsilon: float) -> Map:
    """``image`` smoothed, (rows, cols), but for the edges that ``guide`` has."""
    mean_guide, mean_image = _box(guide, radius_px), _box(image, radius_px)
    variance = _box(guide * guide, radius_px) - mean_guide**2
    covariance = _box(guide * image, radius_px) - mean_guide * mean_image
    slope = covariance / (variance + epsilon)
    offset = mean_image - slope * mean_guide
    smooth: Map = _box(slope, radius_px) * guide + _box(offset, radius_px)
    return smooth


def _box(image: Map, radius_px: int) -> Map:
    """Mean over the square window, cut at the border."""
    mean: Map = _box_rows(_box_rows(image, radius_px).T, radius_px).T
    return mean


def _box_rows(image: Map, radius_px: int) -> Map:
    total = np.vstack([np.zeros((1, image.shape[1])), np.cumsum(image, axis=0)])
    place = np.arange(len(image))
    first, last = np.maximum(place - radius_px, 0), np.minimum(place + radius_px + 1, len(image))
    means: Map = (total[last] - total[first]) / (last - first)[:, None]
    return means
