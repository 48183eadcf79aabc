"""Where a stage of a chain looks: at what an earlier stage found, within a budget, and not at what was made up."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from ..frames import GENERATED, RasterFrame, open_frame
from ..georeference import Box
from ..georeference.rings import Float64Array
from ..records import TileRef
from ..tasks.chain import Condition
from ..tiles import Window
from .geojson import properties_of
from .scene import AdmitCall

NOWHERE, MADE_UP = "not where an earlier stage points", "generated pixels"


class Look(Protocol):
    """What an earlier stage says of a window."""

    def worth(self, window: Window) -> float:
        """How promising it is, above 0 where it is worth a look at all."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LabelLook:
    """Tiles of wanted labels. ``sides_px``: (n, 4) left, top, right, bottom; ``score``: (n,)."""

    sides_px: Float64Array
    score: Float64Array

    @classmethod
    def read(cls, path: Path, wanted: Condition) -> LabelLook:
        """From a label stage's GeoJSON."""
        found = [one for one in properties_of(path) if one["class"] in wanted.classes]
        kept = [one for one in found if float(one["score"]) >= wanted.min_score]
        sides = np.array([one["px_bbox"] for one in kept], dtype=np.float64).reshape(-1, 4)
        return cls(sides, np.array([one["score"] for one in kept], dtype=np.float64))

    def worth(self, window: Window) -> float:
        """See ``Look.worth``: the best score of a label that the window's core meets."""
        box, (left, top, right, bottom) = window.core, self.sides_px.T
        meets = (left < box.col_px + box.cols_px) & (right > box.col_px)
        meets &= (top < box.row_px + box.rows_px) & (bottom > box.row_px)
        return float(self.score[meets].max(initial=0.0))


@dataclass(frozen=True, slots=True, eq=False)
class MaskLook:
    """Pixels of wanted classes in a mask."""

    mask: RasterFrame
    class_ids: tuple[int, ...]
    min_frac: float

    def worth(self, window: Window) -> float:
        """See ``Look.worth``: the share of the core's pixels that are of a wanted class."""
        pixels = self.mask.window(window.core, (0,)).pixels[0]
        share = float(np.isin(pixels, self.class_ids).mean())
        return share if share >= self.min_frac else 0.0


@dataclass
class Guard:
    """Knows which pixels earlier stages made up. Has files of its own open: another thread reads the frame."""

    pictures: Sequence[Path]
    _open: ExitStack = field(default_factory=ExitStack)
    _frames: list[tuple[RasterFrame, int]] = field(default_factory=list)

    def __enter__(self) -> Guard:
        for path in self.pictures:
            frame = self._open.enter_context(open_frame(path, tile_dtype="float32"))
            if GENERATED in frame.bands:
                self._frames.append((frame, frame.bands.index(GENERATED)))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def watches(self) -> bool:
        """Whether any picture has made-up pixels marked."""
        return bool(self._frames)

    def made_up_frac(self, box: Box) -> float:
        """Share of a window's pixels that were made up; more where several pictures say so of others."""
        return sum(float((frame.window(box, (band,)).pixels > 0).mean()) for frame, band in self._frames)

    def tile_frac(self, ref: TileRef) -> float:
        """The same of a tile, as far as it lies in the frame."""
        if not self._frames:
            return 0.0
        frame = self._frames[0][0]
        rows, cols = min(ref.edge_px, frame.height_px - ref.row_px), min(ref.edge_px, frame.width_px - ref.col_px)
        return self.made_up_frac(Box(ref.row_px, ref.col_px, rows, cols))

    def bars(self, sides_px: Sequence[float]) -> bool:
        """Whether a box, left, top, right, bottom, shows a made-up pixel."""
        if not self._frames:
            return False
        frame = self._frames[0][0]
        left, top = max(int(sides_px[0]), 0), max(int(sides_px[1]), 0)
        right = min(max(int(np.ceil(sides_px[2])), left + 1), frame.width_px)
        bottom = min(max(int(np.ceil(sides_px[3])), top + 1), frame.height_px)
        return self.made_up_frac(Box(top, left, bottom - top, right - left)) > 0


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many tiles, and what to say of the others."""

    most_tile: int
    reason: str


def admit_by(
    windows: Iterable[Window], look: Look | None, limit: Limit | None, allowed: Callable[[Window], bool]
) -> AdmitCall:
    """Which windows are read: those that are ``allowed`` and worth it by ``look``, within the ``limit``, best first.

    Ties, and all windows without a ``look``, go in the order of the grid.
    """
    if limit is None:
        return lambda window: _why_not(window, look, allowed)
    ranked = (
        (worth, -number, window.ref)
        for number, window in enumerate(windows)
        if allowed(window) and (worth := 1.0 if look is None else look.worth(window)) > 0
    )
    best = {ref for _, _, ref in heapq.nlargest(limit.most_tile, ranked, key=lambda one: one[:2])}
    return lambda window: "" if window.ref in best else _why_not(window, look, allowed) or limit.reason


def _why_not(window: Window, look: Look | None, allowed: Callable[[Window], bool]) -> str:
    if not allowed(window):
        return MADE_UP
    return NOWHERE if look is not None and look.worth(window) <= 0 else ""
