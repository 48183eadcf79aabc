"""Virtual cameras above a path (equations 5 and 6, section 2.3 of the card, decisions D8 to D11)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALLBACK_AREA, FALLBACK_DEG = 1e-3, 30.0
FAR_FRAC, FRAME_FRAC, NEAR_M, HIGH_M = 0.05, 0.8, 10.0, 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What virtual cameras look at. ``centre_m``, ``normal``, ``forward``: (3,); ``fallback``: the cameras' own up
    was taken for the normal, because the path does not span a plane (D10)."""

    centre_m: NDArray[np.float64]
    normal: NDArray[np.float64]
    forward: NDArray[np.float64]
    fallback: bool


def centre_of(point_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the points (n, 3) without the twentieth that is farthest from it (D8)."""
    apart = np.linalg.norm(point_m - point_m.mean(0), axis=1)
    kept = np.argsort(apart, kind="stable")[: max(1, len(point_m) - int(FAR_FRAC * len(point_m)))]
    out: NDArray[np.float64] = point_m[kept].mean(0)
    return out


def raw_normals(place_m: NDArray[np.float64], centre_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n - 1, 3): (P_i - t) x (P_{i-1} - t) of camera places (n, 3) in their order."""
    apart = place_m - centre_m
    return np.cross(apart[1:], apart[:-1])


def stage_of(
    place_m: NDArray[np.float64], up: NDArray[np.float64], forward: NDArray[np.float64], centre_m: NDArray[np.float64]
) -> Stage:
    """The plane of a path by PCA (D9), turned to the cameras' mean ``up``, or that itself (D10).

    ``up`` and ``forward``: (n, 3) of each camera.
    """
    mean_up = _unit(up.mean(0))
    normals = raw_normals(place_m, centre_m)
    area = np.linalg.norm(normals, axis=1)
    reach = np.linalg.norm(place_m[1:] - centre_m, axis=1) ** 2
    normal, fallback = mean_up, True
    if len(normals) and np.median(area) >= FALLBACK_AREA * np.median(reach):
        principal = np.linalg.eigh(normals.T @ normals)[1][:, -1]
        principal = principal if principal @ mean_up >= 0 else -principal
        if math.degrees(math.acos(min(1.0, float(principal @ mean_up)))) <= FALLBACK_DEG:
            normal, fallback = principal, False
    ahead = forward.mean(0)
    return Stage(centre_m, normal, _unit(ahead - (ahead @ normal) * normal), fallback)


def height_for(point_m: NDArray[np.float64], centre_m: NDArray[np.float64], focal_px: float, side_px: int) -> float:
    """Distance at which the radius of nine tenths of the points fills 0.8 of the frame, 10 to 60 m (D11)."""
    radius = float(np.quantile(np.linalg.norm(point_m - centre_m, axis=1), 0.9))
    return float(np.clip(2.0 * radius * focal_px / (FRAME_FRAC * side_px), NEAR_M, HIGH_M))


def virtual_camera(stage: Stage, tilt_deg: float, distance_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Axes (3, 3: right, down, forward) and place (3,) of a camera at that tilt below the horizon.

    C = t + h (sin(tilt) n - cos(tilt) f); the picture's up is n, straight down it is f.
    """
    tilt = math.radians(tilt_deg)
    place = stage.centre_m + distance_m * (math.sin(tilt) * stage.normal - math.cos(tilt) * stage.forward)
    ahead = _unit(stage.centre_m - place)
    up = stage.forward if abs(tilt_deg - 90.0) < 1e-6 else stage.normal
    right = _unit(np.cross(ahead, up))
    return np.stack([right, np.cross(ahead, right), ahead]), place


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return out
