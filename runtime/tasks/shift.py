"""How far two pictures of one place are shifted against each other: phase correlation, to a tenth of a pixel.

Kuglin and Hines, "The phase correlation image alignment method", 1975; the peak is refined by a matrix product with an
oversampled Fourier kernel (Guizar-Sicairos et al., Optics Letters 33(2), 2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Picture = NDArray[np.floating] | NDArray[np.uint8]
_FINE = 20
"""Steps a pixel of the refined peak."""
_PASS_FRAC = 0.5
"""Spatial frequencies kept, of the highest one: above it, pictures of two dates share little but noise."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Where the second picture shows what the first one shows: so many pixels further down and to the right.

    ``agreement`` is the height of the correlation's peak in standard deviations of the whole of it: pictures that have
    nothing in common reach about 5.
    """

    down_px: float
    right_px: float
    agreement: float

    @property
    def length_px(self) -> float:
        """Of the shift."""
        return math.hypot(self.down_px, self.right_px)


def estimate_shift(first: Picture, second: Picture) -> Shift:
    """The shift from ``first`` to ``second``, (rows, cols) or (bands, rows, cols) each; bands are averaged.

    Shifts of more than half the picture cannot be seen. Flat pictures agree in nothing: agreement 0.
    """
    one, other = _prepared(first), _prepared(second)
    if one.shape != other.shape:
        raise ValueError(f"Pictures of {one.shape} and {other.shape} cannot be compared. Cut them alike.")
    cross = np.fft.fft2(other) * np.conj(np.fft.fft2(one))
    size = np.abs(cross)
    if not size.max() > 0.0:
        return Shift(0.0, 0.0, 0.0)
    cross = cross / np.maximum(size, 1e-12 * size.max()) * _low_pass(one.shape)
    surface = np.real(np.fft.ifft2(cross))
    row, col = np.unravel_index(int(surface.argmax()), surface.shape)
    agreement = float((surface.max() - surface.mean()) / surface.std())
    down, right = _refined(cross, _signed(int(row), one.shape[0]), _signed(int(col), one.shape[1]))
    return Shift(down, right, agreement)


def moved(pixels: NDArray[np.uint8], down_px: float, right_px: float) -> NDArray[np.uint8]:
    """(bands, rows, cols) whose content lies so much further down and right; bilinear, borders repeat."""
    _, rows, cols = pixels.shape
    y, x = np.arange(rows) - down_px, np.arange(cols) - right_px
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    below, beside = (y - top)[:, None], (x - left)[None, :]
    r0, r1 = np.clip(top, 0, rows - 1), np.clip(top + 1, 0, rows - 1)
    c0, c1 = np.clip(left, 0, cols - 1), np.clip(left + 1, 0, cols - 1)
    values = pixels.astype(np.float64)
    upper = values[:, r0][:, :, c0] * (1 - beside) + values[:, r0][:, :, c1] * beside
    lower = values[:, r1][:, :, c0] * (1 - beside) + values[:, r1][:, :, c1] * beside
    shifted: NDArray[np.uint8] = np.rint(upper * (1 - below) + lower * below).astype(np.uint8)
    return shifted


def _prepared(pixels: Picture) -> Float64Array:
    """Grey, without its mean, fading to 0 at the borders, which would otherwise correlate with each other."""
    grey = pixels.astype(np.float64)
    if grey.ndim == 3:
        grey = grey.mean(axis=0)
    grey = grey - grey.mean()
    faded: Float64Array = grey * np.hanning(grey.shape[0])[:, None] * np.hanning(grey.shape[1])[None, :]
    return faded


def _low_pass(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    rows, cols = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]
    kept: NDArray[np.bool_] = np.hypot(rows, cols) <= 0.5 * _PASS_FRAC
    return kept


def _signed(position: int, size: int) -> int:
    return position - size if position > size // 2 else position


def _refined(cross: NDArray[np.complex128], down: int, right: int) -> tuple[float, float]:
    """The highest point of the correlation within a pixel of (down, right), on a grid of 1 / ``_FINE`` px."""
    steps = np.arange(-_FINE, _FINE + 1) / _FINE
    rows, cols = (np.fft.fftfreq(size) for size in cross.shape)
    left = np.exp(2j * np.pi * np.outer(down + steps, rows))
    above = np.exp(2j * np.pi * np.outer(cols, right + steps))
    fine = np.real(left @ cross @ above)
    row, col = np.unravel_index(int(fine.argmax()), fine.shape)
    return float(down + steps[row]), float(right + steps[col])
