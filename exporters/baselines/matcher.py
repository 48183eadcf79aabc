"""The classical way to find a picture in a map: local features, matched, and a similarity by RANSAC. Needs OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

FEATURES = ("sift", "orb")
RATIO, REPROJECTION_PX, MIN_INLIERS, RANSAC_STEPS = 0.8, 3.0, 6, 5000
SKIPPED = "skipped: needs OpenCV"


def available() -> bool:
    """Whether OpenCV is there (the extra ``bench`` brings it)."""
    return find_spec("cv2") is not None


@dataclass(frozen=True, slots=True)
class Matched:
    """Where the middle of a picture lies on the map, px; NaN without a match. ``inliers``: features that agree."""

    row_px: float
    col_px: float
    inliers: int


class Matcher:
    """Features of one map, found once. ``pixels``: (3, rows, cols) uint8. DatasetError without OpenCV."""

    def __init__(self, pixels: NDArray[np.uint8], features: str = "sift", *, enlarge: int = 1) -> None:
        if features not in FEATURES:
            raise DatasetError(f"There are no features {features!r}. Use one of {', '.join(FEATURES)}.")
        if not available():
            raise DatasetError("The classical matcher needs OpenCV. Install it with: pip install 'subsolar[bench]'.")
        cv2: Any = import_module("cv2")
        self._cv2 = cv2
        cv2.setNumThreads(1)
        cv2.setRNGSeed(0)
        self._enlarge = enlarge
        self._detector = cv2.SIFT_create() if features == "sift" else cv2.ORB_create(nfeatures=20_000, fastThreshold=7)
        self._pairs = cv2.BFMatcher(cv2.NORM_L2 if features == "sift" else cv2.NORM_HAMMING)
        self._places, self._known = self._features(pixels)

    def find(self, pixels: NDArray[np.uint8]) -> Matched:
        """Where a picture, (3, rows, cols) uint8 at the map's scale, lies. Lowe's ratio test, then RANSAC."""
        nowhere = Matched(float("nan"), float("nan"), 0)
        places, asked = self._features(pixels)
        if asked is None or self._known is None or len(asked) < 2 or len(self._known) < 2:
            return nowhere
        pairs = [pair for pair in self._pairs.knnMatch(asked, self._known, k=2) if len(pair) == 2]
        good = [one for one, other in pairs if one.distance < RATIO * other.distance]
        if len(good) < 3:
            return nowhere
        here = np.array([places[match.queryIdx] for match in good], dtype=np.float32)
        there = np.array([self._places[match.trainIdx] for match in good], dtype=np.float32)
        self._cv2.setRNGSeed(0)
        similarity, kept = self._cv2.estimateAffinePartial2D(
            here, there, method=self._cv2.RANSAC, ransacReprojThreshold=REPROJECTION_PX, maxIters=RANSAC_STEPS
        )
        inliers = 0 if similarity is None else int(kept.sum())
        if similarity is None or inliers < MIN_INLIERS:
            return nowhere
        scale = float(np.hypot(similarity[0, 0], similarity[1, 0]))
        if not 0.5 < scale < 2.0:
            return nowhere
        middle = np.array([(pixels.shape[2] - 1) / 2, (pixels.shape[1] - 1) / 2, 1.0])
        col, row = similarity @ middle
        return Matched(float(row), float(col), inliers)

    def _features(self, pixels: NDArray[np.uint8]) -> tuple[list[tuple[float, float]], Any]:
        cv2, factor = self._cv2, self._enlarge
        grey = cv2.cvtColor(np.ascontiguousarray(pixels.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
        if factor > 1:
            grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        points, descriptors = self._detector.detectAndCompute(grey, None)
        return [(point.pt[0] / factor, point.pt[1] / factor) for point in points], descriptors
