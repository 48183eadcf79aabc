"""How near heights are to the truth, in metres, pooled over all pixels (specs/11-jspsr.md, section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

Heights = NDArray[np.floating[Any]]
_NORMAL = 1.4826
"""Median absolute deviations in a standard deviation of a normal distribution."""
PEAK_M = 929.0
"""Full scale of the published PSNR at 8 m; 933 at 3 m."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeightError:
    """Of ``n`` pixels; all in metres but ``psnr_db``."""

    rmse_m: float
    median_m: float
    nmad_m: float
    le95_m: float
    """95 % of the errors are not larger."""
    psnr_db: float
    n: int

    def named(self, prefix: str = "") -> dict[str, float]:
        """The same by name."""
        return {f"{prefix}{key}": value for key, value in asdict(self).items()}


def height_error(pairs: Iterable[tuple[Heights, Heights]], *, peak_m: float = PEAK_M) -> HeightError:
    """Errors of (found, true) heights of any shapes, pooled; pixels where either is NaN do not count."""
    errors = [np.ravel(found.astype(np.float64) - truth.astype(np.float64)) for found, truth in pairs]
    e = np.concatenate(errors) if errors else np.zeros(0)
    e = e[np.isfinite(e)]
    if not len(e):
        raise DatasetError("There is no pixel with both a found and a true height. Check the nodata values.")
    rmse_m = float(np.sqrt(np.mean(e**2)))
    median_m = float(np.median(e))
    return HeightError(
        rmse_m=rmse_m,
        median_m=median_m,
        nmad_m=_NORMAL * float(np.median(np.abs(e - median_m))),
        le95_m=float(np.percentile(np.abs(e), 95)),
        psnr_db=psnr_db(rmse_m, peak_m),
        n=len(e),
    )


def psnr_db(rmse_m: float, peak_m: float = PEAK_M) -> float:
    """Peak signal-to-noise ratio, infinite without error.

    >>> round(psnr_db(1.0596), 3), round(psnr_db(1.0851, 933.0), 3)
    (58.857, 58.688)
    """
    return float("inf") if rmse_m == 0 else 20 * float(np.log10(peak_m / rmse_m))
