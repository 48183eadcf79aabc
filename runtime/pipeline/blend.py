"""Tiles of pixels put together row by row: each pixel from the tile that answers for it, or faded across overlaps.

Holds one row of tiles. A fade is a raised cosine over the overlap, divided by the sum of all weights at a pixel: where
all tiles agree nothing changes, and where they differ there is no step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..frame import BoolArray
from ..records import FloatArray
from ..tiles import Window

PutRows = Callable[[int, FloatArray, BoolArray], None]
"""First row, (channels, rows, width) values, and (rows, width) whether a pixel has any."""


def fade(edge_px: int, overlap_px: int) -> FloatArray:
    """(edge,) weights that rise over the first ``overlap_px`` pixels and fall over the last; never 0.

    >>> [round(weight, 3) for weight in fade(6, 2).tolist()]
    [0.146, 0.854, 1.0, 1.0, 0.854, 0.146]
    """
    step = (np.minimum(np.arange(edge_px), np.arange(edge_px)[::-1]) + 0.5) / max(overlap_px, 1)
    weights: FloatArray = (0.5 - 0.5 * np.cos(np.pi * np.minimum(step, 1.0))).astype(np.float32)
    return weights if overlap_px else np.ones(edge_px, dtype=np.float32)


class Mosaic:
    """Takes tiles in the order of the grid and hands out rows that no tile to come can change."""

    def __init__(
        self, *, width_px: int, height_px: int, edge_px: int, channels: int, overlap_px: int, put: PutRows
    ) -> None:
        self._width_px, self._height_px = width_px, height_px
        self._put = put
        self._sum = np.zeros((channels, edge_px, width_px), dtype=np.float32)
        self._weight = np.zeros((edge_px, width_px), dtype=np.float32)
        self._void = np.zeros((edge_px, width_px), dtype=bool)
        ramp = fade(edge_px, overlap_px)
        self._ramp = np.outer(ramp, ramp) if overlap_px else None
        self._row_px = 0

    def add(self, window: Window, pixels: FloatArray, valid: BoolArray | None) -> None:
        """Lay a tile's answer, (channels, edge, edge), into place. What is not ``valid`` comes out as missing."""
        ref = window.ref
        self._settle(ref.row_px)
        box = window.core
        top, left, rows, cols = box.row_px, box.col_px, box.rows_px, box.cols_px
        if self._ramp is not None:
            top, left = ref.row_px, ref.col_px
            rows, cols = min(ref.edge_px, self._height_px - top), min(ref.edge_px, self._width_px - left)
        here = slice(top - self._row_px, top - self._row_px + rows), slice(left, left + cols)
        tile = slice(top - ref.row_px, top - ref.row_px + rows), slice(left - ref.col_px, left - ref.col_px + cols)
        weight = np.ones((rows, cols), dtype=np.float32) if self._ramp is None else self._ramp[tile]
        self._sum[:, here[0], here[1]] += pixels[:, tile[0], tile[1]] * weight
        self._weight[here] += weight
        if valid is not None:
            self._void[here] |= ~valid[tile]

    def finish(self) -> None:
        """Hand out what is left."""
        self._settle(self._height_px)

    def _settle(self, row_px: int) -> None:
        """Hand out the rows above ``row_px``."""
        edge = self._weight.shape[0]
        while self._row_px < row_px:
            count = min(row_px - self._row_px, edge)
            weight, present = self._weight[:count], (self._weight[:count] > 0) & ~self._void[:count]
            if present.any():
                values = np.zeros_like(self._sum[:, :count])
                np.divide(self._sum[:, :count], weight, out=values, where=weight > 0)
                self._put(self._row_px, values, present)
            for rows in (self._sum.swapaxes(0, 1), self._weight, self._void):
                rows[: edge - count] = rows[count:].copy()
                rows[edge - count :] = 0
            self._row_px += count
