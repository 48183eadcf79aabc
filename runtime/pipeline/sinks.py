"""What a scene's answers become, by the kind of answer: here features with labels and features with boxes.

A sink takes raw outputs in the order of the tiles and keeps no more than one row of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np

from exporters.package import ModelPackage

from ..engines import Engine
from ..frame import BoolArray, Frame
from ..georeference.place import corners_of
from ..georeference.rings import Float64Array
from ..records import FloatArray, TileOutcome
from ..tasks import Boxes, Classifier, Detector, EmbeddingTask, ImageTask, MapTask, StreamingMerge, product_id
from ..tasks.change import ChangeTask
from ..tasks.detect import box_id
from ..tiles import Window
from .geojson import FeatureWriter, geometry_texts


class Sink(Protocol):
    """Takes the answers of one scene."""

    labels: Counter[str]
    """What was found, by class."""

    def take(self, windows: Sequence[Window], raw: FloatArray) -> list[TileOutcome]:
        """Answers of a batch. Raises ``EngineError`` for answers of another shape."""
        ...

    def finish(self) -> None:
        """No more tiles will come."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What else is known of the batch whose answers come next."""

    valid: Sequence[BoolArray | None] = ()
    """(edge, edge) of each tile, None where all of its pixels hold data."""
    energy_j: float | None = None
    """Of one tile."""


NoteCall = Callable[[Seen], None]


class PluginTask(Protocol):
    """A task that another distribution brings, with a sink of its own making."""

    @property
    def engine(self) -> Engine:
        """What runs the network."""
        ...

    @property
    def package(self) -> ModelPackage:
        """What was loaded."""
        ...

    def sink(self, target: Path, frame: Frame) -> AbstractContextManager[Sink]:
        """A sink that writes ``target``, whole when the block ends well and not at all otherwise."""
        ...


SETTLE_BOX = 2048
"""Boxes that wait before those above the present row are settled: less often costs less, and this many fit anywhere."""
_PLACED_AT_ONCE = 512
"""Labels that wait for their places on the ground."""
BarCall = Callable[[Sequence[float]], bool]
"""Whether nothing may be said of a box: left, top, right, bottom."""
SceneTask = Classifier | Detector | ImageTask | MapTask | EmbeddingTask | ChangeTask | PluginTask


class FeatureSink:
    """A GeoJSON collection being written: what labels and boxes have in common."""

    geometry = ""
    """What the polygons are, in words."""

    def __init__(self, file: TextIO, frame: Frame, task: Classifier | Detector | MapTask, product: str) -> None:
        self._file = file
        self._frame = frame
        file.write('{"type": "FeatureCollection",\n"features": [')
        self._writer = FeatureWriter(file, task.package.info, product, frame.captured_unix_s)
        self.labels: Counter[str] = Counter()
        self.energy_j: float | None = None
        """Of a tile of the latest batch."""

    def note(self, seen: Seen) -> None:
        """Take what is known of the batch to come."""
        self.energy_j = seen.energy_j

    def close_with(self, provenance: str) -> None:
        """End the collection with a foreign member that says what made it."""
        self._file.write("\n],\n" + '"subsolar": ' + provenance + "\n}\n")

    def placed(
        self, corners_px: Float64Array, middles_px: Float64Array
    ) -> tuple[Sequence[str], Sequence[float | None]]:
        """Polygons of (n, 4, 2) corners and standard errors of places, as far as the frame knows them."""
        place, count = self._frame.georeference, len(corners_px)
        if place is None or not count:
            return ["null"] * count, [None] * count
        lon, lat = place.to_wgs84(corners_px[..., 0].ravel(), corners_px[..., 1].ravel())
        error_m = place.error_m(middles_px[:, 0], middles_px[:, 1])
        polygons = geometry_texts(lon.reshape(count, 4), lat.reshape(count, 4))
        return polygons, [None] * count if error_m is None else error_m.tolist()


@dataclass(frozen=True, slots=True)
class _Label:
    window: Window
    class_id: int
    score: float
    energy_j: float | None


class LabelSink(FeatureSink):
    """One feature per tile: the part of it that it alone answers for."""

    geometry = "the part of each tile that it alone answers for"

    def __init__(self, file: TextIO, frame: Frame, task: Classifier) -> None:
        super().__init__(file, frame, task, "label")
        self._task = task
        self._waiting: list[_Label] = []

    def take(self, windows: Sequence[Window], raw: FloatArray) -> list[TileOutcome]:
        """See ``Sink.take``. Many labels are placed at once, for a transformation costs as much as a hundred places."""
        best, scores, outcomes = self._task.decode([window.ref for window in windows], raw)
        for window, class_id, score, outcome in zip(windows, best.tolist(), scores.tolist(), outcomes, strict=True):
            if outcome.outcome == "done":
                self._waiting.append(_Label(window, class_id, score, self.energy_j))
        if len(self._waiting) >= _PLACED_AT_ONCE:
            self._write()
        return outcomes

    def finish(self) -> None:
        """See ``Sink.finish``."""
        self._write()

    def _write(self) -> None:
        cores = [label.window.core for label in self._waiting]
        sides = np.array([(c.row_px, c.col_px, c.row_px + c.rows_px, c.col_px + c.cols_px) for c in cores], np.float64)
        corners = corners_of(sides.reshape(-1, 4))
        places, errors = self.placed(corners, corners.mean(axis=1))
        names, sha256 = self._task.package.info.classes, self._task.package.sha256
        for label, place, error_m in zip(self._waiting, places, errors, strict=True):
            ref, class_id = label.window.ref, label.class_id
            right, bottom = ref.col_px + ref.edge_px, ref.row_px + ref.edge_px
            bbox = ref.col_px, ref.row_px, min(right, self._frame.width_px), min(bottom, self._frame.height_px)
            identity = product_id(ref, sha256, 0)
            self._writer.write(
                *(identity, place, class_id, label.score, (ref.row_px, ref.col_px), bbox, error_m),
                energy_j=label.energy_j,
            )
            self.labels[names[class_id]] += 1
        self._waiting.clear()


class BoxSink(FeatureSink):
    """One feature per object, whole and once, however many tiles show it."""

    geometry = "the box of each object, merged across tiles"

    def __init__(self, file: TextIO, frame: Frame, task: Detector, bar: BarCall | None = None) -> None:
        super().__init__(file, frame, task, "geom")
        self._bar = bar
        self.barred = 0
        """Boxes that ``bar`` refused."""
        self._task = task
        self._merge = StreamingMerge(task.overlap)
        self._row_px = 0

    def take(self, windows: Sequence[Window], raw: FloatArray) -> list[TileOutcome]:
        """See ``Sink.take``. Boxes are settled row by row, so that their order does not depend on the batches."""
        refs = [window.ref for window in windows]
        boxes, outcomes = self._task.decode(refs, raw, self._frame.width_px, self._height_px())
        for row_px in dict.fromkeys(ref.row_px for ref in refs):
            if row_px != self._row_px and self._merge.waiting >= SETTLE_BOX:
                self._write(self._merge.settle(row_px))
            self._row_px = row_px
            self._merge.add(boxes.take(boxes.tile_px[:, 0] == row_px))
        return outcomes

    def finish(self) -> None:
        """See ``Sink.finish``."""
        self._write(self._merge.finish())

    def _height_px(self) -> int:
        return max(self._frame.height_px, 1)

    def _write(self, boxes: Boxes) -> None:
        if not len(boxes):
            return
        frame, info = self._frame, self._task.package.info
        corners = corners_of(boxes.sides_px[:, [1, 0, 3, 2]])
        places, errors = self.placed(corners, corners.mean(axis=1))
        rows = zip(
            *(boxes.sides_px.tolist(), boxes.tile_px.tolist(), boxes.class_id.tolist(), boxes.score.tolist()),
            *(places, errors),
            strict=True,
        )
        for sides, (row, col), class_id, score, place, error_m in rows:
            if self._bar is not None and self._bar(sides):
                self.barred += 1
                continue
            label = info.classes[class_id]
            identity = box_id(frame.frame_id, sides, label, self._task.package.sha256, 0)
            self._writer.write(identity, place, class_id, score, (row, col), sides, error_m, energy_j=self.energy_j)
            self.labels[label] += 1


def feature_sink(
    file: TextIO, frame: Frame, task: Classifier | Detector, bar: BarCall | None = None
) -> LabelSink | BoxSink:
    """The sink that fits the task."""
    return BoxSink(file, frame, task, bar) if isinstance(task, Detector) else LabelSink(file, frame, task)
