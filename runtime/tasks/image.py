"""Answers that are pictures: restored images and masks, one value or class per pixel.

Output kind ``image``: (n, bands, edge, edge) float32, 0..255. Output kind ``mask``: (n, classes, edge, edge) float32
scores; the highest one is the pixel's class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage

from ..engines.engine import Engine
from ..errors import EngineError
from ..records import FloatArray, TileOutcome, TileRef, UInt8Array

KINDS = ("image", "mask")
MOST_CLASSES = 255
"""A mask is bytes, and 255 is what nobody answered for."""


@dataclass(frozen=True, kw_only=True)
class ImageTask:
    """A loaded package whose answers are pictures of the size of its tiles."""

    engine: Engine
    package: ModelPackage

    def __post_init__(self) -> None:
        info = self.package.info
        if info.output.kind not in KINDS:
            raise EngineError(f"{info.id} answers {info.output.kind!r}; a picture needs {' or '.join(KINDS)}.")
        if len(info.classes) > MOST_CLASSES:
            raise EngineError(f"{info.id} has {len(info.classes)} classes; a mask holds {MOST_CLASSES}. Use fewer.")

    @property
    def bands(self) -> int:
        """Of the picture that comes out."""
        return 1 if self.package.info.output.kind == "mask" else len(self.package.info.bands)

    def decode(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[UInt8Array, list[TileOutcome]]:
        """(n, bands, edge, edge) uint8 and how each tile ended; one with NaN or Inf fails.

        Raises ``EngineError`` for answers of another shape.
        """
        info = self.package.info
        edge = info.input.tile_edge_px
        channels = len(info.classes) if info.output.kind == "mask" else len(info.bands)
        expected = (len(refs), channels, edge, edge)
        if raw.shape != expected:
            raise EngineError(f"{self.engine.name} answered {raw.shape}, expected {expected}. Export it again.")
        sound: NDArray[np.bool_] = np.all(np.isfinite(raw), axis=(1, 2, 3))
        outcomes = [
            TileOutcome(ref, "done") if good else TileOutcome(ref, "failed", f"{info.id} answered NaN or Inf")
            for ref, good in zip(refs, sound.tolist(), strict=True)
        ]
        if info.output.kind == "mask":
            return raw.argmax(axis=1, keepdims=True).astype(np.uint8), outcomes
        with np.errstate(invalid="ignore"):
            return np.clip(np.rint(raw), 0, 255).astype(np.uint8), outcomes
