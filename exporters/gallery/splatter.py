"""Gaussians drawn on the CPU with numpy alone: exact, slow, for tests and small galleries.

Projection to first order, J W S W^T J^T with 0.3 px squared of blur on the diagonal; front-to-back compositing
(equation 4). Nothing is approximated but the edge of a Gaussian, cut at three standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .gaussians import Gaussians

BLUR_PX2 = 0.3
MOST_ALPHA, LEAST_ALPHA = 0.99, 1.0 / 255.0
MOST_RADIUS_PX = 32
MOST_SAMPLES = 40_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Pinhole, x right, y down, z forward. ``axes`` (3, 3): right, down, forward in the world; ``place_m`` (3,)."""

    axes: NDArray[np.float64]
    place_m: NDArray[np.float64]
    focal_px: float
    rows: int
    cols: int

    def view_of(self, point_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3) of the world to (n, 3) of the camera."""
        out: NDArray[np.float64] = (point_m - self.place_m) @ self.axes.T
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """``colour`` (3, rows, cols) 0..1 over black, and ``through`` (rows, cols): the light that passed everything."""

    colour: NDArray[np.float64]
    through: NDArray[np.float64]


def project(
    gaussians: Gaussians, camera: Camera
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Column and row (n, 2), covariance in px squared (n, 2, 2) without blur, depth (n,) in metres."""
    x, y, depth = camera.view_of(gaussians.mean_m).T
    safe = np.where(depth > 1e-3, depth, np.nan)
    zero = np.zeros_like(x)
    focal = camera.focal_px
    jacobian = np.stack(
        [
            np.stack([focal / safe, zero, -focal * x / safe**2], 1),
            np.stack([zero, focal / safe, -focal * y / safe**2], 1),
        ],
        axis=1,
    )
    seen = jacobian @ camera.axes
    middle = np.array([(camera.cols - 1) / 2, (camera.rows - 1) / 2])
    place = np.stack([focal * x / safe, focal * y / safe], axis=1) + middle
    return place, seen @ gaussians.covariance() @ seen.transpose(0, 2, 1), depth


def draw(gaussians: Gaussians, camera: Camera, *, near_m: float = 0.2) -> Drawn:
    """Render them. Raises ``DatasetError`` where the picture would need too much memory."""
    place, covariance, depth = project(gaussians, camera)
    covariance = covariance + BLUR_PX2 * np.eye(2)
    with np.errstate(invalid="ignore"):
        spread = 3.0 * np.sqrt(np.maximum(covariance[:, 0, 0], covariance[:, 1, 1]))
        limit = np.array([camera.cols, camera.rows]) - 1 + spread[:, None]
        seen = (depth > near_m) & (place > -spread[:, None]).all(1) & (place < limit).all(1)
    kept = np.flatnonzero(seen)
    radius = np.clip(np.ceil(spread[kept]), 1, MOST_RADIUS_PX).astype(np.int64)
    samples = int(((2 * radius + 1) ** 2).sum())
    if samples > MOST_SAMPLES:
        raise DatasetError(
            f"{len(kept)} Gaussians cover {samples} pixels, more than {MOST_SAMPLES}. Use fewer, or a smaller picture."
        )
    rank = np.empty(len(kept), dtype=np.int64)
    rank[np.argsort(depth[kept], kind="stable")] = np.arange(len(kept))
    parts = [
        _samples(kept[radius == size], rank[radius == size], int(size), place, covariance, gaussians.opacity, camera)
        for size in np.unique(radius)
    ]
    whole: list[Any] = [np.concatenate([part[n] for part in parts]) for n in range(4)] if parts else [np.zeros(0)] * 4
    return _composited(whole, gaussians.colour, camera)


def _samples(
    index: NDArray[np.int64],
    rank: NDArray[np.int64],
    radius: int,
    place: NDArray[np.float64],
    covariance: NDArray[np.float64],
    opacity: NDArray[np.float64],
    camera: Camera,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pixel, rank, Gaussian and alpha of every pixel that Gaussians of one radius touch."""
    offset = np.arange(-radius, radius + 1)
    dy, dx = (part.ravel() for part in np.meshgrid(offset, offset, indexing="ij"))
    centre = np.rint(place[index]).astype(np.int64)
    col, row = centre[:, :1] + dx, centre[:, 1:] + dy
    u, v = col - place[index, 0][:, None], row - place[index, 1][:, None]
    a, b, c = covariance[index, 0, 0], covariance[index, 0, 1], covariance[index, 1, 1]
    within = (c[:, None] * u * u - 2 * b[:, None] * u * v + a[:, None] * v * v) / (a * c - b * b)[:, None]
    alpha = np.minimum(opacity[index][:, None] * np.exp(-0.5 * within), MOST_ALPHA)
    good = (alpha >= LEAST_ALPHA) & (col >= 0) & (row >= 0) & (col < camera.cols) & (row < camera.rows)
    which = np.broadcast_to(np.arange(len(index))[:, None], good.shape)[good]
    return (row * camera.cols + col)[good], rank[which], index[which], alpha[good]


def _composited(samples: list[Any], colour: NDArray[np.float64], camera: Camera) -> Drawn:
    """Front to back in each pixel: the light left before each sample is a running product."""
    count = camera.rows * camera.cols
    pixel, rank, index, alpha = samples[0].astype(np.int64), samples[1], samples[2].astype(np.int64), samples[3]
    order = np.lexsort((rank, pixel))
    pixel, index, alpha = pixel[order], index[order], np.asarray(alpha, dtype=np.float64)[order]
    passed = np.concatenate([[0.0], np.cumsum(np.log1p(-alpha))])
    first = np.searchsorted(pixel, np.arange(count))
    before = passed[:-1] - passed[first[pixel]] if len(pixel) else passed[:0]
    weight = alpha * np.exp(before)
    drawn: NDArray[np.float64] = np.stack(
        [np.bincount(pixel, weight * colour[index, band], count).astype(np.float64) for band in range(3)]
    )
    last = np.searchsorted(pixel, np.arange(count), side="right")
    through = np.exp(passed[last] - passed[first])
    shape = (camera.rows, camera.cols)
    return Drawn(drawn.reshape(3, *shape), through.reshape(shape))
