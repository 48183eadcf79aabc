"""Scenes as clouds of 3-D Gaussians: from a map and its heights, and in the PLY files that splatting tools write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

SH_C0 = 0.28209479177387814
"""The constant spherical harmonic, 1 / (2 sqrt(pi))."""
MOST = 5_000_000
_FIELDS = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Gaussians:
    """``mean_m`` (n, 3) east, north, up; ``scale_m`` (n, 3); ``quaternion`` (n, 4) w first; ``opacity`` (n,) and
    ``colour`` (n, 3) 0..1, the same from every side. float64."""

    mean_m: NDArray[np.float64]
    scale_m: NDArray[np.float64]
    quaternion: NDArray[np.float64]
    opacity: NDArray[np.float64]
    colour: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.mean_m)

    def covariance(self) -> NDArray[np.float64]:
        """(n, 3, 3): R S S^T R^T (equation 1)."""
        w, x, y, z = (self.quaternion / np.linalg.norm(self.quaternion, axis=1, keepdims=True)).T
        turn = np.stack(
            [
                *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
                *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
                *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
            ],
            axis=1,
        ).reshape(-1, 3, 3)
        stretched = turn * self.scale_m[:, None, :]
        out: NDArray[np.float64] = stretched @ stretched.transpose(0, 2, 1)
        return out


def of_points(point_m: NDArray[np.float64], colour: NDArray[np.float64], opacity: float = 0.5) -> Gaussians:
    """Round Gaussians as wide as the mean distance to the three nearest neighbours: where a fit starts from.

    Distances are taken in blocks; a cloud of one point gets 1 m.
    """
    count = len(point_m)
    width = np.ones(count)
    for start in range(0, count, 512) if count > 1 else ():
        apart = np.linalg.norm(point_m[start : start + 512, None] - point_m[None], axis=2)
        near = min(3, count - 1)
        width[start : start + 512] = np.sort(np.partition(apart, near, axis=1)[:, : near + 1], axis=1)[:, 1:].mean(1)
    flat = np.repeat(np.maximum(width, 1e-6)[:, None], 3, axis=1)
    return Gaussians(point_m, flat, np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)), np.full(count, opacity), colour)


def of_map(
    pixels: NDArray[np.uint8], height_m: NDArray[np.floating], gsd_m: float, middle_m: tuple[float, float] = (0.0, 0.0)
) -> Gaussians:
    """One Gaussian a pixel of a map, (3, rows, cols), at its height, (rows, cols); round, 0.4 px wide.

    ``middle_m``: where the map's middle lies. Raises ``DatasetError`` for a height model of another size.
    """
    rows, cols = pixels.shape[1:]
    if height_m.shape != (rows, cols) or not np.isfinite(height_m).all():
        raise DatasetError(f"Heights of {height_m.shape} for a map of {(rows, cols)}: give a finite height a pixel.")
    east = middle_m[0] + (np.arange(cols) - (cols - 1) / 2) * gsd_m
    north = middle_m[1] - (np.arange(rows) - (rows - 1) / 2) * gsd_m
    x, y = np.meshgrid(east, north)
    mean_m = np.column_stack([x.ravel(), y.ravel(), height_m.ravel()]).astype(np.float64)
    count = len(mean_m)
    colour = pixels.reshape(3, -1).T / 255.0
    scale_m = np.full((count, 3), 0.4 * gsd_m)
    return Gaussians(mean_m, scale_m, np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)), np.full(count, 0.95), colour)


def read_ply(path: Path) -> Gaussians:
    """A binary PLY of 3-D Gaussians; harmonics above the constant one are left out. Raises ``DatasetError``."""
    try:
        with path.open("rb") as file:
            names, count = _header(iter(file.readline, b""))
            table = np.frombuffer(file.read(4 * len(names) * count), dtype="<f4").reshape(count, len(names))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is no PLY of Gaussians: {error}. Export it as binary_little_endian.") from error
    if missing := [name for name in _FIELDS if name not in names]:
        raise DatasetError(f"{path} lacks {', '.join(missing)}: it is a plain point cloud. Give one of 3-D Gaussians.")
    column = table[:, [names.index(name) for name in _FIELDS]].astype(np.float64)
    if not count or not np.isfinite(column).all():
        raise DatasetError(f"{path} holds no Gaussian, or values that are no number. Fit it again.")
    opacity = 1.0 / (1.0 + np.exp(-column[:, 6]))
    colour = np.clip(0.5 + SH_C0 * column[:, 3:6], 0.0, 1.0)
    return Gaussians(column[:, :3], np.exp(column[:, 7:10]), column[:, 10:14], opacity, colour)


def write_ply(path: Path, gaussians: Gaussians) -> None:
    """Write them as splatting tools read them."""
    clear = np.clip(gaussians.opacity, 1e-6, 1 - 1e-6)
    table = np.column_stack(
        [
            gaussians.mean_m,
            (gaussians.colour - 0.5) / SH_C0,
            np.log(clear / (1 - clear)),
            np.log(gaussians.scale_m),
            gaussians.quaternion,
        ]
    )
    properties = "".join(f"property float {name}\n" for name in _FIELDS)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(gaussians)}\n{properties}end_header\n"
    path.write_bytes(head.encode() + table.astype("<f4").tobytes())


def _header(lines: Iterable[bytes]) -> tuple[list[str], int]:
    names: list[str] = []
    count = 0
    words: list[str] = []
    for number, line in enumerate(lines):
        words = line.decode("ascii", "replace").split()
        if number == 1 and words[:2] != ["format", "binary_little_endian"]:
            raise ValueError(f"its second line is {line[:40]!r}")
        if words[:2] == ["element", "vertex"]:
            count = int(words[2])
        elif words[:1] == ["property"]:
            if words[1] not in ("float", "float32"):
                raise ValueError(f"its property {words[-1]} is no float")
            names.append(words[-1])
        if words == ["end_header"] or number > 200:
            break
    if words != ["end_header"] or not 0 <= count <= MOST:
        raise ValueError(f"its header has no end, or {count} vertices")
    return names, count
