"""What networks say of a slot's tiles, batch by batch, and the products that it comes to once the slot is over.

A batch is read into *findings* of the task's own kind; only when all of a slot's batches are in are they made into
products, so that an object that several tiles show is one product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from .errors import EngineError
from .georeference import Georeference, outlines
from .georeference.place import corners_of
from .georeference.rings import Float64Array
from .records import FloatArray, Footprint, Product, TileOutcome, TileRef
from .tasks import Boxes, Classifier, Detector, ImageTask, product_id, suppress
from .tasks.answer import by_frame, product_of, tile_products
from .tasks.detect import box_id


@dataclass(frozen=True, slots=True)
class View:
    """What is known of a frame that tiles are cut from."""

    width_px: int
    height_px: int
    georeference: Georeference | None = None


ViewOf = Callable[[str], View]
"""The view of a frame by its id."""


@dataclass(frozen=True, slots=True)
class When:
    """The slot that products are of."""

    slot: int
    captured_unix_s: float


class Reader(Protocol):
    """Turns raw outputs of one task into products. A plug-in's task that has both methods flies as it is."""

    def read(self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf) -> tuple[Any, list[TileOutcome]]:
        """What one batch says, in the task's own words, and how each tile ended.

        Raises ``EngineError`` for answers of another shape.
        """
        ...

    def products(self, findings: Sequence[Any], view: ViewOf, when: When) -> list[Product]:
        """The products of all that a slot's batches said."""
        ...


@dataclass(frozen=True, slots=True)
class LabelReader:
    """One label per tile, for classifiers."""

    task: Classifier

    def read(
        self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf
    ) -> tuple[list[tuple[TileRef, int, float]], list[TileOutcome]]:
        """See ``Reader.read``: tile, class and score of those that are done."""
        best, score, outcomes = self.task.decode(refs, raw)
        done = [n for n, outcome in enumerate(outcomes) if outcome.outcome == "done"]
        return [(refs[n], int(best[n]), float(score[n])) for n in done], outcomes

    def products(self, findings: Sequence[list[tuple[TileRef, int, float]]], view: ViewOf, when: When) -> list[Product]:
        """See ``Reader.products``."""
        found = [one for part in findings for one in part]
        classes, package = self.task.package.info.classes, self.task.package
        labels = [
            (ref, product_id(ref, package.sha256, when.slot), classes[class_id], score)
            for ref, class_id, score in found
        ]
        return tile_products(package, labels, kind="label", class_value=self.task.class_value, view=view, when=when)


@dataclass(frozen=True, slots=True)
class MaskReader:
    """One label per tile, for masks: the class of most pixels, its share as the score."""

    task: ImageTask

    def read(
        self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf
    ) -> tuple[list[tuple[TileRef, str, float]], list[TileOutcome]]:
        """See ``Reader.read``."""
        pictures, outcomes = self.task.decode(refs, raw)
        info = self.task.package.info
        found = []
        for ref, picture, outcome in zip(refs, pictures, outcomes, strict=True):
            if outcome.outcome == "done" and info.output.kind == "mask":
                share = np.bincount(picture.ravel(), minlength=len(info.classes)) / picture.size
                found.append((ref, info.classes[int(share.argmax())], float(share.max())))
            elif outcome.outcome == "done":
                found.append((ref, info.task, 1.0))
        return found, outcomes

    def products(self, findings: Sequence[list[tuple[TileRef, str, float]]], view: ViewOf, when: When) -> list[Product]:
        """See ``Reader.products``. The tile's true class says nothing about a picture."""
        package = self.task.package
        labels = [
            (replace(ref, truth=None), product_id(ref, package.sha256, when.slot), label, score)
            for part in findings
            for ref, label, score in part
        ]
        return tile_products(package, labels, kind=package.info.output.kind, class_value={}, view=view, when=when)


@dataclass(frozen=True, slots=True)
class BoxReader:
    """One product per object, whole and once within a slot and frame, for detectors."""

    task: Detector

    def read(
        self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf
    ) -> tuple[dict[str, Boxes], list[TileOutcome]]:
        """See ``Reader.read``: boxes by frame."""
        found: dict[str, Boxes] = {}
        ended: dict[TileRef, TileOutcome] = {}
        for frame_id, rows in by_frame(refs).items():
            one, part = view(frame_id), [refs[row] for row in rows]
            found[frame_id], outcomes = self.task.decode(part, _rows(raw, rows, refs), one.width_px, one.height_px)
            ended.update(zip(part, outcomes, strict=True))
        return found, [ended[ref] for ref in refs]

    def products(self, findings: Sequence[dict[str, Boxes]], view: ViewOf, when: When) -> list[Product]:
        """See ``Reader.products``: boxes that overlap across tiles are one."""
        frames = dict.fromkeys(frame_id for part in findings for frame_id in part)
        products: list[Product] = []
        for frame_id in frames:
            boxes = Boxes.together([part[frame_id] for part in findings if frame_id in part])
            kept = boxes.take(suppress(boxes, self.task.overlap))
            products += self._of_frame(frame_id, kept, view(frame_id), when)
        return products

    def _of_frame(self, frame_id: str, boxes: Boxes, view: View, when: When) -> list[Product]:
        package = self.task.package
        places = places_of(view, boxes.sides_px[:, [1, 0, 3, 2]])
        products = []
        for number, place in enumerate(places):
            label = package.info.classes[int(boxes.class_id[number])]
            products.append(
                product_of(
                    package,
                    window_of(frame_id, boxes.sides_px[number], view),
                    product_id=box_id(frame_id, boxes.sides_px[number].tolist(), label, package.sha256, when.slot),
                    kind="geometry",
                    label=label,
                    score=float(boxes.score[number]),
                    class_value=self.task.class_value.get(label, 1.0),
                    slot=when.slot,
                    captured_unix_s=when.captured_unix_s,
                    place=place,
                )
            )
        return products


def reader_of(task: Any) -> Reader:
    """The reader of a task. Raises ``EngineError`` for a plug-in's task that cannot fly."""
    if isinstance(task, Classifier):
        return LabelReader(task)
    if isinstance(task, Detector):
        return BoxReader(task)
    if isinstance(task, ImageTask):
        return MaskReader(task)
    if callable(getattr(task, "read", None)) and callable(getattr(task, "products", None)):
        reader: Reader = task
        return reader
    info = task.package.info
    raise EngineError(
        f"{info.id} answers {info.output.kind!r}, whose task has no methods read and products: it cannot fly. "
        "Give it both (runtime.answers.Reader), or run it with subsolar infer."
    )


def window_of(frame_id: str, sides_px: Float64Array, view: View) -> TileRef:
    """The square window of a frame that shows a box (left, top, right, bottom) with a quarter of it on each side."""
    left, top, right, bottom = sides_px.tolist()
    edge = min(math.ceil(1.5 * max(right - left, bottom - top, 1.0)), view.width_px, view.height_px)
    col = min(max(round((left + right - edge) / 2), 0), view.width_px - edge)
    row = min(max(round((top + bottom - edge) / 2), 0), view.height_px - edge)
    return TileRef(frame_id, row, col, edge)


def places_of(view: View, sides_px: Float64Array) -> list[Footprint | None]:
    """Ground polygons of (n, 4) boxes given as top, left, bottom, right; ``None`` where the frame has no place."""
    if view.georeference is None:
        return [None] * len(sides_px)
    return list(outlines(view.georeference, corners_of(sides_px)))


def _rows(raw: FloatArray, rows: list[int], refs: Sequence[TileRef]) -> FloatArray:
    """The answers of some tiles; an answer of another shape goes on as it is, for the task to refuse."""
    if raw.ndim == 0 or len(raw) != len(refs) or len(rows) == len(refs):
        return raw
    part: FloatArray = raw[rows]
    return part
