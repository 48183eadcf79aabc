"""A frame camera's pose: where its pixels meet flat ground, and how far off that may be.

Pinhole camera without distortion. World axes are east, north, up at the camera; the camera looks along its axis with
its image's columns to the right and rows down. Attitude is yaw (clockwise from north), pitch (of the viewing axis, -90
degrees looks straight down) and roll (about the viewing axis, clockwise as seen from behind the camera).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from ..errors import FrameError
from .place import radii_m
from .rings import Float64Array

_SHALLOWEST = math.sin(math.radians(3.0))
"""Rays flatter than this against the ground are not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPose:
    """Where a camera stood, how it looked, and the standard errors of both."""

    lon_deg: float
    lat_deg: float
    height_above_ground_m: float
    yaw_rad: float
    pitch_rad: float
    roll_rad: float
    focal_length_px: float
    position_sigma_m: float = 2.0
    """Horizontal: a receiver without corrections."""
    height_sigma_m: float = 3.0
    """Of the height above ground: sensor and terrain together."""
    attitude_sigma_rad: float = math.radians(1.0)
    """Of each angle."""


@dataclass(frozen=True, slots=True)
class PoseGeoreference:
    """An image of ``width_px`` x ``height_px`` seen from ``pose``; its optical axis meets the middle."""

    pose: CameraPose
    width_px: int
    height_px: int

    def to_wgs84(self, rows_px: Float64Array, cols_px: Float64Array) -> tuple[Float64Array, Float64Array]:
        """See ``Georeference.to_wgs84``. Pixels at or above the horizon are refused."""
        east_m, north_m = self._ground_m(self.pose, rows_px, cols_px)
        if not np.isfinite(east_m).all():
            raise FrameError(
                f"The camera's pitch of {math.degrees(self.pose.pitch_rad):.0f} degrees shows the horizon, so some "
                "pixels have no place on the ground. Use frames that look further down, or cut the sky off."
            )
        meridian_m, vertical_m = radii_m(self.pose.lat_deg)
        lat = self.pose.lat_deg + np.degrees(north_m / meridian_m)
        lon = self.pose.lon_deg + np.degrees(east_m / (vertical_m * math.cos(math.radians(self.pose.lat_deg))))
        return (lon + 180.0) % 360.0 - 180.0, lat

    def error_m(self, rows_px: Float64Array, cols_px: Float64Array) -> Float64Array | None:
        """Horizontal standard error: each input's own, carried to the ground by finite differences, summed in squares.

        Holds for flat ground; a slope adds its height difference times the tangent of the view angle.
        """
        east_m, north_m = self._ground_m(self.pose, rows_px, cols_px)
        square = np.full(len(rows_px), self.pose.position_sigma_m**2)
        sigmas = {
            "height_above_ground_m": self.pose.height_sigma_m,
            **dict.fromkeys(("yaw_rad", "pitch_rad", "roll_rad"), self.pose.attitude_sigma_rad),
        }
        for name, sigma in sigmas.items():
            if (step := sigma * 1e-3) == 0.0:
                continue
            moved = replace(self.pose, **{name: getattr(self.pose, name) + step})
            east, north = self._ground_m(moved, rows_px, cols_px)
            square = square + ((east - east_m) ** 2 + (north - north_m) ** 2) * (sigma / step) ** 2
        error_m: Float64Array = np.sqrt(square)
        return error_m

    def _ground_m(
        self, pose: CameraPose, rows_px: Float64Array, cols_px: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """East and north of the camera where each pixel's ray meets the ground; NaN where it does not."""
        right, down, ahead = _axes(pose)
        x = (cols_px - self.width_px / 2) / pose.focal_length_px
        y = (rows_px - self.height_px / 2) / pose.focal_length_px
        rays = ahead + x[:, None] * right + y[:, None] * down
        sinks = -rays[:, 2] / np.linalg.norm(rays, axis=1) > _SHALLOWEST
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(sinks, pose.height_above_ground_m / -rays[:, 2], np.nan)
        return reach * rays[:, 0], reach * rays[:, 1]


def read_pose(path: Path) -> CameraPose:
    """The pose in a ``NAME.pose.json``: the fields of ``CameraPose``, angles as ``yaw_deg`` and so on.

    Raises ``FrameError`` naming the key that is missing, unknown or no number.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        values = {key: float(value) for key, value in table.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FrameError(f"{path} is no camera pose: {error}. See docs/pipeline.md for its keys.") from error
    for name in ("yaw", "pitch", "roll", "attitude_sigma"):
        if f"{name}_deg" in values:
            values[f"{name}_rad"] = math.radians(values.pop(f"{name}_deg"))
    known = {field.name for field in fields(CameraPose)}
    needed = {name for name in known if "sigma" not in name}
    if wrong := sorted(values.keys() - known) or sorted(needed - values.keys()):
        raise FrameError(f"{path} has unknown or missing keys {wrong}. See docs/pipeline.md for its keys.")
    pose = CameraPose(**values)
    check_pose(pose, str(path))
    return pose


def check_pose(pose: CameraPose, what: str) -> None:
    """Raise ``FrameError`` where a pose is none."""
    numbers = [getattr(pose, field.name) for field in fields(pose)]
    sound = all(math.isfinite(number) for number in numbers)
    if not (sound and pose.height_above_ground_m > 0 and pose.focal_length_px > 0 and abs(pose.lat_deg) < 90):
        raise FrameError(f"{what} gives no possible camera pose: {pose}. Correct it.")


def _axes(pose: CameraPose) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Unit vectors (east, north, up) of the image's columns, its rows and the viewing axis."""
    sin_yaw, cos_yaw = math.sin(pose.yaw_rad), math.cos(pose.yaw_rad)
    sin_pitch, cos_pitch = math.sin(pose.pitch_rad), math.cos(pose.pitch_rad)
    ahead = np.array([sin_yaw * cos_pitch, cos_yaw * cos_pitch, sin_pitch])
    level = np.array([cos_yaw, -sin_yaw, 0.0])
    below = np.cross(ahead, level)
    sin_roll, cos_roll = math.sin(pose.roll_rad), math.cos(pose.roll_rad)
    return cos_roll * level + sin_roll * below, cos_roll * below - sin_roll * level, ahead
