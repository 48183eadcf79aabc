"""The seam between images and everything that works on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .georeference import Box, Georeference
from .records import TileArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One window. ``pixels``: (bands, rows, cols) uint8 or float32. ``valid``: (rows, cols), None where all are."""

    pixels: TileArray
    valid: BoolArray | None = None


class Frame(Protocol):
    """One image, read window by window: no reader ever holds the whole of it."""

    @property
    def frame_id(self) -> str:
        """Names the frame in every product that comes of it."""
        ...

    @property
    def width_px(self) -> int:
        """Columns."""
        ...

    @property
    def height_px(self) -> int:
        """Rows."""
        ...

    @property
    def bands(self) -> tuple[str, ...]:
        """Band names in file order: ``red``, ``nir``, ..., or ``band_3`` where nothing is known."""
        ...

    @property
    def dtype(self) -> str:
        """What the file stores."""
        ...

    @property
    def tile_dtype(self) -> str:
        """What reads give: ``uint8``, or ``float32`` for physical values with NaN where there are none."""
        ...

    @property
    def gsd_m(self) -> float | None:
        """Ground length of a pixel's side at the middle, None without a georeference."""
        ...

    @property
    def georeference(self) -> Georeference | None:
        """Where the frame lies, if it says."""
        ...

    @property
    def captured_unix_s(self) -> float | None:
        """When it was taken, if it says (read as UTC)."""
        ...

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        """Pixels of a window that lies within the frame; ``bands`` are positions in ``self.bands``.

        Raises ``FrameError`` where the file cannot be decoded there.
        """
        ...

    def read(self, row_px: int, col_px: int, edge_px: int, bands: Sequence[int]) -> TileArray:
        """A square tile (bands, edge, edge); what lies beyond the frame repeats its last row and column."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def pad_to(patch: Patch, rows_px: int, cols_px: int) -> Patch:
    """``patch`` enlarged to (rows, cols) by repeating its last row and column, in pixels and validity alike."""
    below, beside = rows_px - patch.pixels.shape[1], cols_px - patch.pixels.shape[2]
    if below == 0 and beside == 0:
        return patch
    pixels = np.pad(patch.pixels, ((0, 0), (0, below), (0, beside)), mode="edge")
    return Patch(pixels, None if patch.valid is None else np.pad(patch.valid, ((0, below), (0, beside)), mode="edge"))


def read_square(frame: Frame, row_px: int, col_px: int, edge_px: int, bands: Sequence[int]) -> Patch:
    """The square window at (row, col), padded where the frame is smaller than it."""
    rows, cols = min(edge_px, frame.height_px - row_px), min(edge_px, frame.width_px - col_px)
    return pad_to(frame.window(Box(row_px, col_px, rows, cols), bands), edge_px, edge_px)
