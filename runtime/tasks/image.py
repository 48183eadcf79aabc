"""Answers that are pictures: restored images and masks, one value or class per pixel.

Output kind ``image``: (n, bands, edge, edge) float32, 0..255 of the frame's value range. Output kind ``mask``:
(n, classes, edge, edge) float32 scores; the highest one is the pixel's class. A network that makes pixels up (task
``declouded``) marks them with more than half of 255 in its last band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporters.package import ModelPackage

from ..engines.engine import Engine
from ..errors import EngineError
from ..frames.bands import GENERATED
from ..records import FloatArray, TileOutcome, TileRef, UInt8Array
from .answer import finite_outcomes

KINDS = ("image", "mask")
GENERATING = ("declouded",)
"""Tasks whose last band marks what was made up."""
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
    def is_mask(self) -> bool:
        """Whether pixels are classes."""
        return self.package.info.output.kind == "mask"

    @property
    def bands(self) -> int:
        """Of the picture that comes out."""
        return 1 if self.is_mask else self.package.info.answer_shape[0]

    @property
    def band_names(self) -> tuple[str, ...]:
        """Of the picture that comes out; ``generated`` marks made-up pixels with 1."""
        info = self.package.info
        if self.is_mask:
            return (info.task,)
        if info.task in GENERATING:
            return (*info.bands[: self.bands - 1], GENERATED)
        return info.bands[: self.bands]

    def decode(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[UInt8Array, list[TileOutcome]]:
        """(n, bands, edge, edge) uint8 and how each tile ended; one with NaN or Inf fails.

        Raises ``EngineError`` for answers of another shape.
        """
        levels, outcomes = self.levels(refs, raw)
        with np.errstate(invalid="ignore"):
            return np.rint(levels).astype(np.uint8), outcomes

    def levels(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[FloatArray, list[TileOutcome]]:
        """(n, bands, edge, edge) float32, not rounded: 0..255, classes of a mask, 0 or 1 of the band ``generated``."""
        outcomes = finite_outcomes(self.engine.name, self.package.info, refs, raw)
        if self.is_mask:
            return raw.argmax(axis=1, keepdims=True).astype(np.float32), outcomes
        levels: FloatArray = np.clip(raw, 0.0, 255.0)
        if self.band_names[-1] == GENERATED:
            levels[:, -1] = raw[:, -1] > 127.5
        return levels, outcomes
