"""Unlabelled tiles as an export takes them: what a network without classes is proven and measured on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DatasetError


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Real tiles. ``pixels``: (n, bands, edge, edge), uint8 or float32, as the package will be fed."""

    name: str
    pixels: NDArray[Any]

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 4 or shape[2] != shape[3] or not len(self.pixels) or dtype not in (np.uint8, np.float32):
            raise DatasetError(
                f"{self.name} are {dtype} {shape}; tiles are (n, bands, edge, edge) of uint8 or float32. Convert them."
            )
        if dtype == np.float32 and not np.isfinite(self.pixels).all():
            raise DatasetError(f"{self.name} hold values that are no number. Fill them before they become tiles.")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def classes(self) -> tuple[str, ...]:
        """None: there are no labels."""
        return ()

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) of -1."""
        return np.full(len(self), -1, dtype=np.int64)

    def take(self, index: NDArray[np.int64], name: str) -> Tiles:
        """The tiles at ``index``, under another name."""
        return Tiles(name, self.pixels[index])


def spans(size_px: int, edge_px: int, overlap_px: int) -> list[tuple[int, int, int]]:
    """Start of each tile along an axis, and the pixels it answers for: halfway through each overlap.

    >>> spans(100, 64, 16)
    [(0, 0, 50), (36, 50, 100)]
    """
    starts = [*range(0, max(size_px - edge_px, 0), edge_px - overlap_px), max(size_px - edge_px, 0)]
    cuts = [0, *((one + other + edge_px) // 2 for one, other in pairwise(starts)), size_px]
    return list(zip(starts, cuts, cuts[1:], strict=False))
