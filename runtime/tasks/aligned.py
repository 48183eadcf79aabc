"""A stack of two dates whose reference is moved under the new scene by the shift that was found between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import FrameError
from ..frame import Frame, Patch, read_square
from ..frames.bands import ROLE, canonical_name
from ..georeference import Box
from ..records import TileArray
from .change import REFERENCE, Registration, check_dates, judge
from .shift import Shift, estimate_shift, moved

_LOOK_PX = 512
"""Side of the window in the middle that the shift is estimated on."""


class AlignedFrame:
    """A frame like ``stack`` in all but the place of its reference bands.

    The shift is estimated once, in the middle. Raises ``FrameError`` where it is beyond the limit of ``rules``, where
    it cannot be told and ``rules`` are strict, and where ``reference_unix_s`` is not before the scene's own time.
    """

    def __init__(
        self, stack: Frame, rules: Registration | None = None, *, reference_unix_s: float | None = None
    ) -> None:
        self._stack, rules = stack, rules or Registration()
        self.frame_id, self.bands = stack.frame_id, stack.bands
        self.width_px, self.height_px = stack.width_px, stack.height_px
        self.dtype, self.tile_dtype = stack.dtype, stack.tile_dtype
        self.gsd_m, self.georeference, self.captured_unix_s = stack.gsd_m, stack.georeference, stack.captured_unix_s
        check_dates(reference_unix_s, stack.captured_unix_s)
        self.shift: Shift = self._estimated()
        self.done = judge(self.shift, rules)
        """``left``, ``moved`` or ``unverified``."""

    def __getattr__(self, name: str) -> Any:
        """What else the stack has, such as its file."""
        return getattr(self._stack, name)

    def close(self) -> None:
        """Release the stack's files."""
        self._stack.close()

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        """See ``Frame.window``; bands of the reference come from where the new scene shows the same."""
        old = [at for at, band in enumerate(bands) if _flat(self._stack.bands[band]).startswith(REFERENCE)]
        if self.done != "moved" or not old:
            return self._stack.window(box, bands)
        margin = math.ceil(max(abs(self.shift.down_px), abs(self.shift.right_px))) + 1
        top, left = max(box.row_px - margin, 0), max(box.col_px - margin, 0)
        bottom = min(box.row_px + box.rows_px + margin, self._stack.height_px)
        right = min(box.col_px + box.cols_px + margin, self._stack.width_px)
        patch = self._stack.window(Box(top, left, bottom - top, right - left), bands)
        pixels = patch.pixels.copy()
        pixels[old] = moved(pixels[old], self.shift.down_px, self.shift.right_px)
        here = (
            slice(box.row_px - top, box.row_px - top + box.rows_px),
            slice(box.col_px - left, box.col_px - left + box.cols_px),
        )
        return Patch(pixels[:, here[0], here[1]], None if patch.valid is None else patch.valid[here])

    def read(self, row_px: int, col_px: int, edge_px: int, bands: Sequence[int]) -> TileArray:
        """A square tile; see ``Frame.read``."""
        return read_square(self, row_px, col_px, edge_px, bands).pixels

    def _estimated(self) -> Shift:
        stack = self._stack
        names = [_flat(name) for name in stack.bands]
        new = [at for at, name in enumerate(names) if REFERENCE + name in names]
        old = [names.index(REFERENCE + names[at]) for at in new]
        if not new:
            raise FrameError(
                f"{stack.frame_id} has no reference with bands of the same names. Add one: reference=FILE."
            )
        rows, cols = min(_LOOK_PX, stack.height_px), min(_LOOK_PX, stack.width_px)
        box = Box((stack.height_px - rows) // 2, (stack.width_px - cols) // 2, rows, cols)
        patch = stack.window(box, [*old, *new])
        pixels = np.nan_to_num(patch.pixels.astype(np.float64))
        if patch.valid is not None:
            pixels = np.where(patch.valid, pixels, 0.0)
        return estimate_shift(pixels[: len(old)], pixels[len(old) :])


def _flat(name: str) -> str:
    """A band's name as packages write it: ``reference:red`` is ``reference_red``."""
    role, sign, band = name.partition(ROLE)
    return f"{role}_{canonical_name(band)}" if sign else canonical_name(name)
