"""RX: Mahalanobis distance of a pixel to its background (Reed and Yu, IEEE TASSP 38(10), 1990)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

Float64Array = NDArray[np.float64]
DROPPED = 1e-10
"""Eigenvalues below this share of the largest one carry rounding, not background."""


def global_rx(values: NDArray[np.floating]) -> Float64Array:
    """(rows, cols) distances of (bands, rows, cols) to the mean of the whole scene."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    size, vectors = np.linalg.eigh(flat @ flat.T / (flat.shape[1] - 1))
    kept = size > DROPPED * size[-1]
    projected = vectors[:, kept].T @ flat
    distance: Float64Array = (np.square(projected) / size[kept, None]).sum(axis=0).reshape(values.shape[1:])
    return distance


def local_rx(
    values: NDArray[np.floating], *, inner_px: int = 9, outer_px: int = 21, ridge: float = 1e-4
) -> Float64Array:
    """(rows, cols) distances to the ring of pixels between two squares around each pixel (dual window).

    The ring is cut at the border. ``ridge`` is a share of the ring's mean variance: a ring may have fewer pixels than
    bands.
    """
    bands, rows, cols = values.shape
    if not 0 < inner_px < outer_px <= min(rows, cols) or inner_px % 2 == 0 or outer_px % 2 == 0:
        raise DatasetError(
            f"Windows of {inner_px} and {outer_px} px do not fit {rows} x {cols}. Use odd, growing sizes."
        )
    cube = values.astype(np.float64)
    distance = np.empty((rows, cols))
    identity = np.eye(bands)
    for row in range(rows):
        for col in range(cols):
            ring = _ring(cube, row, col, inner_px // 2, outer_px // 2)
            mean = ring.mean(axis=1)
            centred = ring - mean[:, None]
            covariance = centred @ centred.T / (ring.shape[1] - 1)
            covariance += max(ridge * float(np.trace(covariance)) / bands, 1e-300) * identity
            off = cube[:, row, col] - mean
            distance[row, col] = off @ np.linalg.solve(covariance, off)
    return distance


def _ring(cube: Float64Array, row: int, col: int, inner: int, outer: int) -> Float64Array:
    top, left = max(row - outer, 0), max(col - outer, 0)
    block = cube[:, top : row + outer + 1, left : col + outer + 1]
    keep = np.ones(block.shape[1:], dtype=bool)
    keep[max(row - inner - top, 0) : row + inner + 1 - top, max(col - inner - left, 0) : col + inner + 1 - left] = False
    return block[:, keep]
