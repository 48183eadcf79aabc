"""From a drive's or flight's pictures to camera poses and points, by pycolmap (extra ``splat``), on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .fitting import needed
from .gaussians import Gaussians, of_points
from .splatter import Camera

FEATURES, MIN_MATCHES = 8192, 15


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """``cameras`` by picture name; ``point_m`` and ``colour`` (0..1), (n, 3). Metres only where scale was known."""

    cameras: dict[str, Camera]
    point_m: NDArray[np.float64]
    colour: NDArray[np.float64]

    def start(self) -> Gaussians:
        """Where a fit begins: a Gaussian a point, opacity 0.5 (section 2.3)."""
        return of_points(self.point_m, self.colour)


def reconstruct(pictures: Path, work: Path, *, threads: int = 1, seed: int = 0) -> Sparse:
    """Poses of the pictures in a folder, taken in the order of their names: SIFT, sequential matching, mapping.

    ``work``: an empty folder for the database. Raises ``DatasetError`` where the pictures do not hang together.
    """
    pycolmap = needed("pycolmap")
    if not pictures.is_dir():
        raise DatasetError(f"There is no folder {pictures}. Give the folder of a flight's pictures.")
    work.mkdir(parents=True, exist_ok=True)
    database = work / "features.db"
    pycolmap.set_random_seed(seed)
    taken, matched, mapped = (
        pycolmap.FeatureExtractionOptions(),
        pycolmap.FeatureMatchingOptions(),
        pycolmap.IncrementalPipelineOptions(),
    )
    taken.sift.max_num_features, taken.num_threads, taken.use_gpu = FEATURES, threads, False
    matched.num_threads, matched.use_gpu = threads, False
    mapped.min_num_matches, mapped.num_threads, mapped.random_seed = MIN_MATCHES, threads, seed
    single = pycolmap.CameraMode.SINGLE
    pycolmap.extract_features(database, pictures, camera_mode=single, extraction_options=taken)
    pycolmap.match_sequential(database, matching_options=matched)
    maps = pycolmap.incremental_mapping(database, pictures, work, options=mapped)
    if not maps:
        raise DatasetError(f"The pictures in {pictures} share too little to be placed. Use ones that overlap by half.")
    return _sparse(max(maps.values(), key=lambda found: found.num_reg_images()))


def _sparse(found: object) -> Sparse:
    cameras = {}
    for image in found.images.values():  # type: ignore[attr-defined]
        if not image.has_pose:
            continue
        pose, lens = image.cam_from_world(), image.camera
        axes = np.asarray(pose.rotation.matrix(), dtype=np.float64)
        place = -axes.T @ np.asarray(pose.translation, dtype=np.float64)
        cameras[image.name] = Camera(axes, place, float(lens.mean_focal_length()), int(lens.height), int(lens.width))
    points = list(found.points3D.values())  # type: ignore[attr-defined]
    where = np.array([point.xyz for point in points], dtype=np.float64).reshape(-1, 3)
    colour = np.array([point.color for point in points], dtype=np.float64).reshape(-1, 3) / 255.0
    return Sparse(cameras, where, colour)
