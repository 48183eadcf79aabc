"""How near a restored reflectance is to the true one: PSNR, SSIM, spectral angle and absolute error, on 0 to 10000."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .restoration import psnr_db, ssim

FULL_SCALE_DN = 10_000.0
Where = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Of one image, the whole of it unless a figure says otherwise; NaN under the cloud where there is none."""

    psnr_db: float
    ssim: float
    sam_rad: float
    mae_dn: float
    psnr_cloud_db: float
    mae_cloud_dn: float


def fidelity(restored: NDArray[np.generic], clear: NDArray[np.generic], cloud: Where) -> Fidelity:
    """All figures of one (bands, rows, cols) image in reflectance times 10000; ``cloud``: (rows, cols)."""
    one, other = clipped(restored), clipped(clear)
    unit = one / FULL_SCALE_DN, other / FULL_SCALE_DN
    covered = bool(cloud.any())
    return Fidelity(
        psnr_db=psnr_db(*unit),
        ssim=ssim(*unit),
        sam_rad=sam_rad(one, other),
        mae_dn=mae_dn(one, other),
        psnr_cloud_db=psnr_db(unit[0][:, cloud][..., None], unit[1][:, cloud][..., None]) if covered else np.nan,
        mae_cloud_dn=mae_dn(one[:, cloud], other[:, cloud]) if covered else np.nan,
    )


def sam_rad(restored: NDArray[np.generic], clear: NDArray[np.generic]) -> float:
    """Mean angle between the spectra of two (bands, rows, cols) images (Kruse et al., Remote Sens. Environ. 44, 1993).

    Pixels that are zero in one image have no direction and do not count.

    >>> one, other = np.array([1.0, 0, 0]), np.array([1.0, 1, 0])
    >>> round(sam_rad(one[:, None, None], other[:, None, None]), 6)
    0.785398
    """
    one, other = _same(restored, clear)
    norms = np.sqrt((one**2).sum(0) * (other**2).sum(0))
    lit = norms > 0
    cosine = (one * other).sum(0)[lit] / norms[lit]
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)).mean()) if lit.any() else 0.0


def mae_dn(restored: NDArray[np.generic], clear: NDArray[np.generic]) -> float:
    """Mean absolute error, in the units of the images."""
    one, other = _same(restored, clear)
    return float(np.abs(one - other).mean())


def clipped(image: NDArray[np.generic]) -> NDArray[np.float64]:
    """Reflectance as it is scored: 0 to 10000."""
    return np.clip(np.asarray(image, dtype=np.float64), 0.0, FULL_SCALE_DN)


def _same(restored: NDArray[np.generic], clear: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if restored.shape != clear.shape or restored.ndim < 2:
        raise DatasetError(f"Images of {restored.shape} and {clear.shape} cannot be compared. Both: bands, rows, cols.")
    return np.asarray(restored, dtype=np.float64), np.asarray(clear, dtype=np.float64)
