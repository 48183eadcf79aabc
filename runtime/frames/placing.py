"""Where a raster lies: its map transform, its control points, its RPCs, or the pose of the camera that took it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FrameError
from ..georeference import (
    CameraPose,
    ControlPoint,
    Georeference,
    MapGeoreference,
    PoseGeoreference,
    Rpc,
    RpcGeoreference,
    pixel_size_m,
)
from ..georeference.pose import check_pose, read_pose

log = logging.getLogger(__name__)

_DIAGONAL_35MM_MM = math.hypot(36.0, 24.0)
_NUMBER = r'[="\s>]+([+-]?[0-9.]+)'


def place(dataset: Any, frame_id: str, file: Path) -> tuple[Georeference | None, float | None]:
    """Georeference and pixel size; neither where the coordinate system has no known relation to the Earth.

    Raises ``FrameError`` for a ``NAME.pose.json`` beside the file that is no pose: somebody meant it.
    """
    georeference = _from_sidecar(dataset, file)
    try:
        georeference = georeference or _from_file(dataset)
        if georeference is None:
            return None, None
        size_m = pixel_size_m(georeference, dataset.height, dataset.width)
    except FrameError as error:
        log.warning("%s is used without its georeference. %s", frame_id, error)
        return None, None
    return georeference, size_m if size_m > 0 else None


def _from_sidecar(dataset: Any, file: Path) -> Georeference | None:
    sidecar = file.with_suffix(".pose.json")
    if not sidecar.is_file():
        return None
    return PoseGeoreference(read_pose(sidecar), dataset.width, dataset.height)


def _from_file(dataset: Any) -> Georeference | None:
    points, points_crs = dataset.gcps
    if dataset.crs is not None and not dataset.transform.is_identity:
        return MapGeoreference(dataset.crs.to_wkt(), tuple(dataset.transform)[:6])
    if len(points) >= 3 and points_crs is not None:
        tied = tuple(ControlPoint(point.row, point.col, point.x, point.y) for point in points)
        return MapGeoreference(points_crs.to_wkt(), None, tied)
    if dataset.rpcs is not None:
        return RpcGeoreference(_rpc(dataset.rpcs))
    pose = pose_of_photo({**dataset.tags(), **dataset.tags(ns="xml:XMP")}, dataset.width, dataset.height)
    return None if pose is None else PoseGeoreference(pose, dataset.width, dataset.height)


def _rpc(found: Any) -> Rpc:
    """Ours from rasterio's; a file without a stated error says -1 or nothing."""
    lengths = {len(c) for c in (found.line_num_coeff, found.line_den_coeff, found.samp_num_coeff, found.samp_den_coeff)}
    scales = found.line_scale, found.samp_scale, found.lat_scale, found.long_scale, found.height_scale
    if lengths != {20} or not all(math.isfinite(scale) and scale != 0 for scale in scales):
        raise FrameError("Its RPC tags do not hold 4 x 20 coefficients and scales. Take them from the provider again.")
    bias, random = found.err_bias, found.err_rand
    return Rpc(
        line_num=tuple(found.line_num_coeff),
        line_den=tuple(found.line_den_coeff),
        samp_num=tuple(found.samp_num_coeff),
        samp_den=tuple(found.samp_den_coeff),
        line_off_px=found.line_off,
        line_scale_px=found.line_scale,
        samp_off_px=found.samp_off,
        samp_scale_px=found.samp_scale,
        lat_off_deg=found.lat_off,
        lat_scale_deg=found.lat_scale,
        long_off_deg=found.long_off,
        long_scale_deg=found.long_scale,
        height_off_m=found.height_off,
        height_scale_m=found.height_scale,
        err_bias_m=bias if bias is not None and bias >= 0 else None,
        err_rand_m=random if random is not None and random >= 0 else None,
    )


def pose_of_photo(tags: Mapping[str, str], width_px: int, height_px: int) -> CameraPose | None:
    """The pose that a drone wrote into its photo: EXIF position, XMP gimbal angles and height above the take-off point.

    The focal length is the 35 mm equivalent by the image's diagonal (CIPA DCG-001). None where anything is missing.
    """
    words = {name: re.search(name + _NUMBER, tags.get("xml:XMP", "")) for name in _XMP}
    numbers = {name: float(found[1]) for name, found in words.items() if found}
    lat, lon = _degrees(tags, "Latitude", "S"), _degrees(tags, "Longitude", "W")
    equivalent_mm = _first_number(tags.get("EXIF_FocalLengthIn35mmFilm", ""))
    if len(numbers) < len(_XMP) or lat is None or lon is None or not equivalent_mm:
        return None
    pose = CameraPose(
        lon_deg=lon,
        lat_deg=lat,
        height_above_ground_m=numbers["RelativeAltitude"],
        yaw_rad=math.radians(numbers["GimbalYawDegree"]),
        pitch_rad=math.radians(numbers["GimbalPitchDegree"]),
        roll_rad=math.radians(numbers["GimbalRollDegree"]),
        focal_length_px=equivalent_mm * math.hypot(width_px, height_px) / _DIAGONAL_35MM_MM,
        position_sigma_m=5.0,
        height_sigma_m=10.0,
        attitude_sigma_rad=math.radians(2.0),
    )
    check_pose(pose, "The photo")
    return pose


_XMP = ("RelativeAltitude", "GimbalYawDegree", "GimbalPitchDegree", "GimbalRollDegree")


def _degrees(tags: Mapping[str, str], name: str, negative: str) -> float | None:
    parts = [float(part) for part in re.findall(r"[0-9.]+", tags.get(f"EXIF_GPS{name}", "")) if part.strip(".")]
    if len(parts) != 3:
        return None
    degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
    return -degrees if tags.get(f"EXIF_GPS{name}Ref", "").strip().upper() == negative else degrees


def _first_number(text: str) -> float | None:
    found = re.search(r"[0-9.]+", text)
    return float(found[0]) if found and found[0].strip(".") else None
