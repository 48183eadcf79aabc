"""A gallery: the descriptors of a flight area with their places, in one bounded ``.npz`` file.

Arrays: ``vectors`` (n, dim) float16 of length 1; ``centre_m`` (n, 2) float64 east and north in ``crs``; ``heading_deg``
and ``tilt_deg`` (n,) float32 of each view (0 and 90: north up, straight down); ``null_lifts`` (m,) float32, the lifts
of tiles that are *not* in the gallery; ``head`` uint8, JSON with everything else. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

SCHEMA = 1
MOST_VIEWS, MOST_BYTE = 200_000, 1 << 29
LOCAL = "local"
"""Instead of a CRS: metres in a frame of its own, without longitude and latitude."""
_ARRAYS = ("vectors", "centre_m", "heading_deg", "tilt_deg", "null_lifts", "head")


@dataclass(frozen=True, slots=True)
class Source:
    """A scene that a gallery was made from."""

    name: str
    sha256: str
    gsd_m: float
    crs: str
    """As the file says it, or as it was told."""
    views: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gallery:
    """See the module. ``package`` and ``package_sha256``: what made the vectors; others cannot be compared."""

    vectors: NDArray[np.float16]
    centre_m: NDArray[np.float64]
    heading_deg: NDArray[np.float32]
    tilt_deg: NDArray[np.float32]
    null_lifts: NDArray[np.float32]
    package: str
    package_sha256: str
    crs: str
    edge_px: int
    tile_m: float
    step_m: float
    temperature: float
    """Of a similarity: exp(score / temperature) is how likely a place is, up to a factor."""
    null_kind: str
    """Where ``null_lifts`` come from: ``leave-one-out`` or ``calibration``."""
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def threshold(self, false_fix_frac: float) -> float:
        """The lift that this share of tiles from outside reach or pass; infinite where that cannot be told."""
        count = len(self.null_lifts)
        rank = int(np.floor(false_fix_frac * (count + 1)))  # conformal: exact in the mean for exchangeable tiles
        return float(np.sort(self.null_lifts)[count - rank]) if rank >= 1 else float("inf")

    def write(self, path: Path) -> int:
        """Write the file, whole or not at all; its size in bytes."""
        told = {
            key: value
            for key, value in asdict(self).items()
            if key not in _ARRAYS  # the arrays are stored as such
        }
        head = np.frombuffer(json.dumps({"schema": SCHEMA, **told}).encode(), dtype=np.uint8)
        arrays = {key: getattr(self, key) for key in _ARRAYS[:-1]}
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, **arrays, head=head)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            return path.stat().st_size
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise DatasetError(f"The gallery cannot be written to {path}: {error}. Give another path.") from error


def lift(scores: NDArray[np.floating], temperature: float) -> float:
    """How far the best of some scores stands above them all: max - T ln mean exp(score / T), 0 where all are alike.

    The logarithm of the best place's share under a softmax, times T and up to ln n: what InfoNCE trains.

    >>> round(lift(np.array([1.0, 0.0]), 1.0), 6) == round(1.0 - float(np.log((np.e + 1.0) / 2.0)), 6)
    True
    """
    best = float(scores.max())
    return -temperature * float(np.log(np.mean(np.exp((scores.astype(np.float64) - best) / temperature))))


def read_gallery(path: Path) -> Gallery:
    """Read a gallery. Raises ``DatasetError`` for a file that is none, damaged, or larger than ``MOST_BYTE``."""
    try:
        with zipfile.ZipFile(path) as archive:
            size_byte = sum(member.file_size for member in archive.infolist())
        if size_byte > MOST_BYTE:
            raise DatasetError(
                f"The gallery {path} unpacks to {size_byte} bytes, more than {MOST_BYTE}. Split the area."
            )
        with np.load(path, allow_pickle=False) as stored:
            arrays: dict[str, Any] = {key: stored[key] for key in _ARRAYS}
        return _checked(arrays, json.loads(bytes(arrays.pop("head")).decode()))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path} is no gallery: {error or type(error).__name__}. Make one with: subsolar gallery build."
        ) from error


def _checked(arrays: dict[str, Any], head: dict[str, Any]) -> Gallery:
    if head.pop("schema") != SCHEMA:
        raise ValueError(f"its schema is not {SCHEMA}")
    vectors, count = arrays["vectors"], len(arrays["vectors"])
    shapes = {"centre_m": (count, 2), "heading_deg": (count,), "tilt_deg": (count,)}
    fits = vectors.ndim == 2 and 0 < count <= MOST_VIEWS and arrays["null_lifts"].ndim == 1
    if not fits or any(arrays[key].shape != shape for key, shape in shapes.items()):
        raise ValueError(f"its arrays do not belong together ({vectors.shape} vectors)")
    if vectors.dtype != np.float16 or not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("its arrays hold values that are no number")
    head["sources"] = tuple(Source(**source) for source in head["sources"])
    made = Gallery(**arrays, **head)
    if not (made.tile_m > 0 and made.step_m > 0 and made.temperature > 0):
        raise ValueError("its scale is not above 0")
    return made
