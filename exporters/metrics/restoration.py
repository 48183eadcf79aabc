"""How near a restored image is to the clear one: PSNR and SSIM, by image, and their means with an interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

SIGMA, RADIUS = 1.5, 5
K1, K2 = 0.01, 0.03
POOLED_EDGE_PX = 256
Image = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one image: PSNR in dB, SSIM at full size, SSIM after pooling to about 256 px (see ``ssim_pooled``)."""

    psnr_db: float
    ssim: float
    ssim_pooled: float


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean over images or seeds with its 95 % bootstrap interval."""

    value: float
    ci95: tuple[float, float]
    n: int


def quality(restored: NDArray[np.generic], clear: NDArray[np.generic]) -> Quality:
    """All three of one (bands, rows, cols) image, uint8 or float 0..1; the restored one is clamped to 0..1."""
    one, other = _same(restored, clear)
    return Quality(_psnr_db(one, other), _ssim(one, other), _ssim(*_pooled(one, other)))


def psnr_db(restored: NDArray[np.generic], clear: NDArray[np.generic]) -> float:
    """10 log10(1 / MSE) on values 0..1, over all bands together; infinite for equal images.

    >>> round(psnr_db(np.full((3, 8, 8), 0.6), np.full((3, 8, 8), 0.5)), 6)
    20.0
    """
    return _psnr_db(*_same(restored, clear))


def ssim(restored: NDArray[np.generic], clear: NDArray[np.generic]) -> float:
    """Structural similarity (Wang et al., IEEE TIP 13(4), 2004), mean over pixels and bands.

    Gaussian window 11 x 11, sigma 1.5, K = (0.01, 0.03), only where the window lies within the image: what
    scikit-image calls ``gaussian_weights=True, use_sample_covariance=False``.
    """
    return _ssim(*_same(restored, clear))


def ssim_pooled(restored: NDArray[np.generic], clear: NDArray[np.generic]) -> float:
    """SSIM after average pooling by round(shorter edge / 256), the habit of the published dehazing tables."""
    return _ssim(*_pooled(*_same(restored, clear)))


def mean_ci95(values: Iterable[float], *, seed: int = 0, draws: int = 2000) -> Mean:
    """The mean and its percentile bootstrap interval; a single value has no width."""
    sample = np.array(list(values), dtype=np.float64)
    if not len(sample):
        raise DatasetError("There is nothing to average. Give at least one image.")
    picks = np.random.default_rng(seed).integers(len(sample), size=(draws, len(sample)))
    low, high = np.percentile(sample[picks].mean(axis=1), [2.5, 97.5])
    return Mean(float(sample.mean()), (float(low), float(high)), len(sample))


def _same(restored: NDArray[np.generic], clear: NDArray[np.generic]) -> tuple[Image, Image]:
    if restored.shape != clear.shape or restored.ndim != 3:
        raise DatasetError(f"Images of {restored.shape} and {clear.shape} cannot be compared. Both: bands, rows, cols.")
    one, other = _unit(restored), _unit(clear)
    return np.clip(one, 0.0, 1.0), other


def _unit(image: NDArray[np.generic]) -> Image:
    values = image.astype(np.float64)
    return values / 255.0 if image.dtype == np.uint8 else values


def _psnr_db(one: Image, other: Image) -> float:
    error = float(np.mean((one - other) ** 2))
    return float("inf") if error == 0.0 else -10.0 * float(np.log10(error))


def _ssim(one: Image, other: Image) -> float:
    if min(one.shape[1:]) <= 2 * RADIUS:
        raise DatasetError(f"SSIM needs more than {2 * RADIUS} px, the image is {one.shape[1]} x {one.shape[2]}.")
    mean_one, mean_other = _blur(one), _blur(other)
    var_one = _blur(one * one) - mean_one**2
    var_other = _blur(other * other) - mean_other**2
    cov = _blur(one * other) - mean_one * mean_other
    c1, c2 = K1**2, K2**2
    top = (2.0 * mean_one * mean_other + c1) * (2.0 * cov + c2)
    bottom = (mean_one**2 + mean_other**2 + c1) * (var_one + var_other + c2)
    return float(np.mean(top / bottom))


def _blur(image: Image) -> Image:
    """Gaussian mean over the window, (bands, rows, cols) in, ten rows and columns fewer out."""
    offsets = np.arange(-RADIUS, RADIUS + 1)
    weights = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights /= weights.sum()
    rows, cols = image.shape[1] - 2 * RADIUS, image.shape[2] - 2 * RADIUS
    down = np.sum([weight * image[:, place : place + rows] for place, weight in enumerate(weights)], axis=0)
    across = [weight * down[:, :, place : place + cols] for place, weight in enumerate(weights)]
    blurred: Image = np.sum(across, axis=0)
    return blurred


def _pooled(one: Image, other: Image) -> tuple[Image, Image]:
    factor = max(1, round(min(one.shape[1:]) / POOLED_EDGE_PX))
    return _pool(one, factor), _pool(other, factor)


def _pool(image: Image, factor: int) -> Image:
    bands, rows, cols = image.shape[0], image.shape[1] // factor, image.shape[2] // factor
    blocks = image[:, : rows * factor, : cols * factor].reshape(bands, rows, factor, cols, factor)
    pooled: Image = blocks.mean(axis=(2, 4))
    return pooled
