"""How anomalous each pixel is, and how well a map of that finds the labelled ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

Float64Array = NDArray[np.float64]
RIDGE = 1e-6
"""Added to the covariance's diagonal, as a share of its mean variance."""


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """``matrix`` (b, b) and ``mean`` (b,): the squared length of matrix (x - mean) is the Mahalanobis distance."""

    mean: Float64Array
    matrix: Float64Array

    def score(self, values: NDArray[np.floating]) -> Float64Array:
        """(rows, cols) squared Mahalanobis distances of (bands, rows, cols)."""
        flat = values.reshape(len(values), -1).astype(np.float64) - self.mean[:, None]
        distance: Float64Array = np.square(self.matrix @ flat).sum(axis=0).reshape(values.shape[1:])
        return distance


def whitening_of(values: NDArray[np.floating], *, ridge: float = RIDGE) -> Whitening:
    """Mean and inverse Cholesky factor of the covariance (n - 1) of all pixels of (bands, rows, cols), in float64.

    A scene without any variance gets the zero matrix: nothing in it is anomalous. Raises DatasetError for NaN.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    if not np.isfinite(flat).all():
        raise DatasetError("The cube holds NaN or infinite values. Drop those bands or pixels first.")
    mean = flat.mean(axis=1)
    flat = flat - mean[:, None]
    covariance = flat @ flat.T / max(flat.shape[1] - 1, 1)
    floor = ridge * float(np.trace(covariance)) / len(flat)
    if not floor > 0.0 and np.trace(covariance) <= 0.0:
        return Whitening(mean, np.zeros_like(covariance))
    try:
        factor = np.linalg.cholesky(covariance + floor * np.eye(len(flat)))
    except np.linalg.LinAlgError as error:
        raise DatasetError(f"The covariance is singular at ridge {ridge:g}. Use a larger ridge.") from error
    return Whitening(mean, np.linalg.inv(factor))


def mahalanobis(values: NDArray[np.floating], *, ridge: float = RIDGE) -> Float64Array:
    """(rows, cols) squared Mahalanobis distance of each pixel of (bands, rows, cols) to the scene's mean."""
    return whitening_of(values, ridge=ridge).score(values)


def auc(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks, ties counted half (Mann and Whitney, 1947). Shapes must agree.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    flat, truth = np.asarray(score, dtype=np.float64).ravel(), np.asarray(positive, dtype=bool).ravel()
    if flat.shape != truth.shape or not np.isfinite(flat).all():
        raise DatasetError(f"A map of {score.shape} and labels of {positive.shape} do not fit, or the map holds NaN.")
    hits = int(truth.sum())
    if not 0 < hits < len(truth):
        raise DatasetError(f"{hits} of {len(truth)} pixels are anomalies; both kinds are needed for an AUC.")
    order = np.sort(flat)
    ranks = (np.searchsorted(order, flat, "left") + np.searchsorted(order, flat, "right") + 1) / 2
    return float((ranks[truth].sum() - hits * (hits + 1) / 2) / (hits * (len(truth) - hits)))
