"""Object detection: boxes per tile, merged across tiles.

A detector's graph answers (n, k, 6) float32: left, top, right and bottom in tile pixels, score, class; rows that hold
no detection have score 0. This is output kind ``boxes``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage

from ..engines.engine import Engine
from ..errors import EngineError
from ..georeference.rings import Float64Array
from ..records import FloatArray, Footprint, Product, TileOutcome, TileRef, UInt8Array
from .answer import product_of
from .boxes import Boxes, IntArray, Overlap, suppress

KIND = "boxes"
_BORDER_PX = 1.0


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A loaded detection package: engine, class names, what each class is worth, and when two boxes are one."""

    engine: Engine
    package: ModelPackage
    class_value: Mapping[str, float] = field(default_factory=dict)
    """Worth of a right answer by class; 1 for classes not named."""
    overlap: Overlap = field(default_factory=Overlap)

    def __post_init__(self) -> None:
        info = self.package.info
        if info.output.kind != KIND:
            raise EngineError(f"{info.id} answers {info.output.kind!r}; detection needs {KIND}.")

    def decode(
        self, refs: Sequence[TileRef], raw: FloatArray, width_px: int, height_px: int
    ) -> tuple[Boxes, list[TileOutcome]]:
        """Boxes in frame pixels, clipped to the frame, and how each tile ended.

        Answers with NaN, Inf or a class that does not exist fail their tile. Raises ``EngineError`` for answers of
        another shape.
        """
        info = self.package.info
        if raw.ndim != 3 or raw.shape[0] != len(refs) or raw.shape[2] != 6:
            raise EngineError(
                f"{self.engine.name} answered {raw.shape}, expected ({len(refs)}, k, 6). Export it again."
            )
        with np.errstate(invalid="ignore"):
            found = raw[:, :, 4] >= info.thresholds.min_score
            known = (raw[:, :, 5] >= 0) & (raw[:, :, 5] < len(info.classes)) | ~found
        sound: NDArray[np.bool_] = np.all(np.isfinite(raw), axis=(1, 2)) & np.all(known, axis=1)
        unsound = f"{info.id} answered boxes with NaN, Inf or an unknown class"
        outcomes = [
            TileOutcome(ref, "done") if good else TileOutcome(ref, "failed", unsound)
            for ref, good in zip(refs, sound.tolist(), strict=True)
        ]
        tile, row = np.nonzero(found & sound[:, None])
        places = np.array([(ref.row_px, ref.col_px) for ref in refs], dtype=np.int64).reshape(-1, 2)
        return _boxes(raw[tile, row].astype(np.float64), places[tile], refs, width_px, height_px), outcomes

    def answer(
        self,
        refs: Sequence[TileRef],
        pixels: UInt8Array,
        *,
        slot: int,
        captured_unix_s: float,
        footprints: Sequence[Footprint | None] | None = None,
    ) -> tuple[list[Product], list[TileOutcome]]:
        """Infer one batch of tiles that need not touch: boxes are merged within it, and carry their tile's place."""
        try:
            boxes, outcomes = self.decode(refs, self.engine.infer(pixels), 2**31, 2**31)
        except EngineError as error:
            return [], [TileOutcome(ref, "failed", str(error)) for ref in refs]
        by_place = {(ref.row_px, ref.col_px): number for number, ref in enumerate(refs)}
        products = []
        for one in suppress(boxes, self.overlap).tolist():
            number = by_place[int(boxes.tile_px[one, 0]), int(boxes.tile_px[one, 1])]
            place = None if footprints is None else footprints[number]
            products.append(self._product(refs[number], boxes, one, slot, captured_unix_s, place))
        return products, outcomes

    def _product(
        self, ref: TileRef, boxes: Boxes, one: int, slot: int, captured_unix_s: float, place: Footprint | None
    ) -> Product:
        score, label = float(boxes.score[one]), self.package.info.classes[int(boxes.class_id[one])]
        return product_of(
            self.package,
            ref,
            product_id=box_id(ref.frame_id, boxes.sides_px[one].tolist(), label, self.package.sha256, slot),
            kind="geometry",
            label=label,
            score=score,
            class_value=self.class_value.get(label, 1.0),
            slot=slot,
            captured_unix_s=captured_unix_s,
            place=place,
        )


def box_id(frame_id: str, sides_px: Sequence[float], label: str, package_sha256: str, slot: int) -> str:
    """16 hexadecimal digits that are the same for the same box, class, package and slot, on any machine."""
    left, top, right, bottom = sides_px
    text = f"{frame_id}\n{left:.2f}\n{top:.2f}\n{right:.2f}\n{bottom:.2f}\n{label}\n{package_sha256}\n{slot}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _boxes(
    rows: Float64Array,
    places: IntArray,
    refs: Sequence[TileRef],
    width_px: int,
    height_px: int,
) -> Boxes:
    """``rows``: (n, 6) detections; ``places``: (n, 2) rows and columns of their tiles."""
    if not len(rows):
        return Boxes.none()
    edge = refs[0].edge_px
    local = np.clip(rows[:, :4], 0.0, edge)
    shift = places[:, [1, 0, 1, 0]]
    limit = np.array([width_px, height_px, width_px, height_px], dtype=np.float64)
    at_border = np.concatenate([local[:, :2] < _BORDER_PX, local[:, 2:] > edge - _BORDER_PX], axis=1)
    outer = np.concatenate([places[:, [1, 0]] == 0, places[:, [1, 0]] + edge >= limit[:2]], axis=1)
    sides = np.minimum(local + shift, limit)
    real = (sides[:, 2] > sides[:, 0]) & (sides[:, 3] > sides[:, 1])
    cut: NDArray[np.bool_] = np.any(at_border & ~outer, axis=1, keepdims=True)[:, 0]
    boxes = Boxes(sides, rows[:, 4], rows[:, 5].astype(np.int64), places, cut)
    return boxes if real.all() else boxes.take(real)
