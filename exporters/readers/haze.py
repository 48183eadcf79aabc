"""Haze made by the scattering model over clear images: I = J t + A (1 - t), t = exp(-optical depth).

Model: Koschmieder's law as in Narasimhan & Nayar, "Vision and the Atmosphere", IJCV 2002. The optical depth is a smooth
random field and grows towards blue by Angstrom's law. Limits: no blur by multiple scattering, no adjacency effect, no
noise, one airlight for the whole image; on images that were stretched for display the law holds for the display values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

WAVELENGTHS_UM = (0.665, 0.560, 0.490)
"""Red, green and blue of Sentinel-2, band centres."""
_REFERENCE_UM = 0.560
Field = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class HazeModel:
    """From which ranges one image's haze is drawn, uniformly."""

    depth: tuple[float, float] = (0.3, 1.6)
    """Optical depth at 560 nm where the haze is thickest."""
    thinnest_frac: tuple[float, float] = (0.2, 1.0)
    """Optical depth where it is thinnest, as a share of the thickest; 1 is an even veil."""
    airlight: tuple[float, float] = (0.75, 1.0)
    airlight_spread: float = 0.03
    """How far a band's airlight may lie from the common one."""
    angstrom: tuple[float, float] = (0.0, 1.3)
    """Exponent of the wavelength; 0 is cloud, 1.3 is fine aerosol."""

    def __post_init__(self) -> None:
        for name in ("depth", "thinnest_frac", "airlight", "angstrom"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high:
                raise DatasetError(f"The haze model's {name} runs from {low} to {high}. Give 0 <= low <= high.")


@dataclass(frozen=True, slots=True, eq=False)
class Hazed:
    """``pixels``: (3, rows, cols) uint8. ``transmission``: (3, rows, cols), 0..1. ``airlight``: (3,), 0..1."""

    pixels: NDArray[np.uint8]
    transmission: NDArray[np.float32]
    airlight: NDArray[np.float32]


def scatter(
    clear: NDArray[np.float32], transmission: NDArray[np.float32], airlight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The scattering model on values 0..1; shapes as in ``Hazed``.

    >>> float(scatter(np.float32([[[0.2]]]), np.float32([[[0.5]]]), np.float32([0.8]))[0, 0, 0])
    0.5
    """
    hazy: NDArray[np.float32] = clear * transmission + airlight[:, None, None] * (np.float32(1.0) - transmission)
    return hazy


def add_haze(clear: NDArray[np.uint8], rng: np.random.Generator, model: HazeModel | None = None) -> Hazed:
    """Haze over one clear (3, rows, cols) uint8 image; the same generator state makes the same haze."""
    if clear.ndim != 3 or clear.shape[0] != 3 or clear.dtype != np.uint8:
        raise DatasetError(f"Haze goes over (3, rows, cols) of uint8, not {clear.shape} of {clear.dtype}.")
    model = model or HazeModel()
    thickest, thinnest_frac = rng.uniform(*model.depth), rng.uniform(*model.thinnest_frac)
    field = smooth_field(clear.shape[1], clear.shape[2], rng)
    depth = thickest * (thinnest_frac + (1.0 - thinnest_frac) * field)
    by_band = (np.array(WAVELENGTHS_UM) / _REFERENCE_UM) ** -rng.uniform(*model.angstrom)
    transmission = np.exp(-depth * by_band[:, None, None]).astype(np.float32)
    spread = rng.uniform(-model.airlight_spread, model.airlight_spread, 3)
    airlight = np.clip(rng.uniform(*model.airlight) + spread, 0.0, 1.0).astype(np.float32)
    hazed = scatter(clear.astype(np.float32) / 255.0, transmission, airlight)
    pixels = np.clip(np.rint(hazed * 255.0), 0, 255).astype(np.uint8)
    return Hazed(pixels, transmission, airlight)


def add_haze_to_all(clear: NDArray[np.uint8], seed: int, model: HazeModel | None = None) -> NDArray[np.uint8]:
    """Haze over (n, 3, rows, cols) chips, each its own; a chip's haze depends on the seed and its place alone."""
    made = [add_haze(chip, np.random.default_rng((seed, place)), model).pixels for place, chip in enumerate(clear)]
    return np.stack(made)


def smooth_field(rows: int, cols: int, rng: np.random.Generator, cells: tuple[int, ...] = (1, 2, 4)) -> Field:
    """(rows, cols) of smooth noise from 0 to 1: value noise on ever finer grids, each half as strong."""
    total = np.zeros((rows, cols))
    for octave, count in enumerate(cells):
        grid = rng.uniform(size=(count + 1, count + 1))
        total += 0.5**octave * _blend(rows, count) @ grid @ _blend(cols, count).T
    low, high = total.min(), total.max()
    return (total - low) / (high - low) if high > low else np.zeros_like(total)


def _blend(points: int, cells: int) -> NDArray[np.float64]:
    """(points, cells + 1): how much of each grid line a point takes, by smoothstep between its two neighbours."""
    position = np.linspace(0.0, cells, points)
    left = np.minimum(position.astype(int), cells - 1)
    share = position - left
    share = share * share * (3.0 - 2.0 * share)
    weights = np.zeros((points, cells + 1))
    weights[np.arange(points), left] = 1.0 - share
    weights[np.arange(points), left + 1] = share
    return weights
