"""Answers that are pixels, as a Cloud Optimized GeoTIFF: restored images in the scene's own values, masks, maps.

Restored images and maps fade across overlaps; a mask takes each pixel from the tile that answers for it. Pixels that
the scene does not have stay nodata.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError
from ..frame import BoolArray
from ..frames import GENERATED, RANGE_TAG, RasterFrame, Stack
from ..frames.scaling import from_levels
from ..georeference import Box
from ..georeference.place import corners_of
from ..records import FloatArray, TileOutcome
from ..tasks import ImageTask, MapTask
from ..tasks.detect import box_id
from ..tasks.regions import Region, StreamingRegions
from ..tiles import Window
from .blend import Mosaic
from .cog import Canvas, Layout, cog
from .files import whole_file
from .sinks import FeatureSink, Seen

PixelFrame = RasterFrame | Stack
MASK_NODATA = 255


@dataclass(frozen=True, slots=True)
class Stored:
    """How rows of answers become what the file stores."""

    kind: str
    """``image``, ``mask`` or ``map``."""
    dtype: str
    nodata: float | None
    value_range: tuple[float, float] | None
    generated: bool
    """Whether the last band marks made-up pixels, with 1."""

    def of(self, values: FloatArray, present: BoolArray) -> NDArray[Any]:
        """(bands, rows, cols) of the file's type; nodata where nothing is ``present``."""
        if self.kind == "image":
            stored = from_levels(values, self.value_range, self.dtype)
            if self.nodata is not None and not math.isnan(self.nodata):
                stored = _away_from(stored, self.nodata)
        else:
            stored = values.astype(self.dtype)
        if self.generated:
            stored[-1] = values[-1] > 0  # faded in from one tile is made up, too
        if self.nodata is not None:
            stored[:, ~present] = np.asarray(self.nodata).astype(self.dtype)
        else:
            stored[:, ~present] = 0
        return stored


class RegionSink(FeatureSink):
    """One feature per region of a map that stands out."""

    geometry = "the box around each region at or above the package's threshold"

    def __init__(self, file: Any, frame: PixelFrame, task: MapTask) -> None:
        super().__init__(file, frame, task, "geom")
        self._task = task
        self._regions = StreamingRegions(task.package.info.thresholds.min_score)

    def take_rows(self, row_px: int, values: FloatArray, present: BoolArray) -> None:
        """Rows of (rows, width) values of the map's first channel."""
        self._write(self._regions.take(row_px, values, present))

    def finish(self) -> None:
        """See ``Sink.finish``."""
        self._write(self._regions.finish())

    def _write(self, regions: Sequence[Region]) -> None:
        if not regions:
            return
        sides = np.array([region.sides_px for region in regions], dtype=np.float64)
        corners = corners_of(sides[:, [1, 0, 3, 2]])
        places, errors = self.placed(corners, corners.mean(axis=1))
        label, edge = self._task.label, self._task.package.info.input.tile_edge_px
        for region, place, error_m in zip(regions, places, errors, strict=True):
            left, top, _, _ = region.sides_px
            identity = box_id(self._frame.frame_id, region.sides_px, label, self._task.package.sha256, 0)
            more = f', "area_px": {region.area_px}, "peak": {region.peak:.6g}'
            tile = top // edge * edge, left // edge * edge
            score = self._task.score(region.peak)
            self._writer.write(
                *(identity, place, 0, score, tile, region.sides_px, error_m), energy_j=self.energy_j, more=more
            )
            self.labels[label] += 1


class PixelSink:
    """A picture of the scene's size, written as its rows become final."""

    def __init__(
        self,
        canvas: Canvas,
        frame: PixelFrame,
        task: ImageTask | MapTask,
        stored: Stored,
        overlap_px: int,
        regions: RegionSink | None = None,
    ) -> None:
        self._canvas = canvas
        self._task = task
        self._stored = stored
        self.regions = regions
        self.labels: Counter[str] = Counter() if regions is None else regions.labels
        self._seen = Seen()
        self._mosaic = Mosaic(
            width_px=frame.width_px,
            height_px=frame.height_px,
            edge_px=task.package.info.input.tile_edge_px,
            channels=task.bands,
            overlap_px=0 if stored.kind == "mask" else overlap_px,
            put=self._put,
        )

    def note(self, seen: Seen) -> None:
        """Take what is known of the batch to come."""
        self._seen = seen
        if self.regions is not None:
            self.regions.note(seen)

    def take(self, windows: Sequence[Window], raw: FloatArray) -> list[TileOutcome]:
        """See ``Sink.take``."""
        levels, outcomes = self._task.levels([window.ref for window in windows], raw)
        valid = self._seen.valid if self._stored.nodata is not None else ()
        for at, (window, outcome) in enumerate(zip(windows, outcomes, strict=True)):
            if outcome.outcome == "done":
                self._mosaic.add(window, levels[at], valid[at] if valid else None)
        return outcomes

    def finish(self) -> None:
        """See ``Sink.finish``."""
        self._mosaic.finish()
        if self.regions is not None:
            self.regions.finish()

    def _put(self, row_px: int, values: FloatArray, present: BoolArray) -> None:
        rows, cols = present.shape
        self._canvas.put(Box(row_px, 0, rows, cols), self._stored.of(values, present))
        if self.regions is not None:
            self.regions.take_rows(row_px, values[0], present)


@contextmanager
def pixel_sink(target: Path, frame: PixelFrame, task: ImageTask | MapTask, overlap_px: int) -> Iterator[PixelSink]:
    """A sink whose picture becomes the COG ``target`` when the block ends well, and ``NAME.geojson`` for regions.

    The caller ends the collection of ``regions`` before the block ends. Raises ``FrameError`` where restored pixels
    cannot be brought back to the scene's values, ``StoreError`` where nothing can be written.
    """
    stored = _stored(frame, task)
    with ExitStack() as stack:
        regions = None
        if isinstance(task, MapTask) and task.finds_regions:
            file = stack.enter_context(whole_file(target.with_suffix(".geojson")))
            regions = RegionSink(file, frame, task)
        canvas = stack.enter_context(
            cog(
                target,
                width_px=frame.width_px,
                height_px=frame.height_px,
                georeference=frame.georeference,
                layout=_layout(frame, task, stored),
            )
        )
        yield PixelSink(canvas, frame, task, stored, overlap_px, regions)


def _stored(frame: PixelFrame, task: ImageTask | MapTask) -> Stored:
    if isinstance(task, MapTask):
        return Stored("map", "float32", math.nan, None, task.band_names[-1] == GENERATED)
    if task.is_mask:
        return Stored("mask", "uint8", MASK_NODATA, None, False)
    if frame.value_range is None and frame.dtype != "uint8":
        raise FrameError(
            f"{frame.frame_id} stores {frame.dtype} and has no {RANGE_TAG} tag, so restored pixels cannot be brought "
            f"back to its values. Set the tag {RANGE_TAG}=LOW,HIGH or give --range LOW HIGH."
        )
    generated = task.band_names[-1] == GENERATED
    return Stored("image", frame.dtype, frame.gap, frame.value_range, generated)


def _layout(frame: PixelFrame, task: ImageTask | MapTask, stored: Stored) -> Layout:
    if isinstance(task, MapTask):
        units = ["" if name == GENERATED else task.package.info.output.unit for name in task.band_names]
        levels = frame.value_range or ((0.0, 255.0) if frame.dtype == "uint8" else None)
        tags = task.tags | _range_tag(levels if stored.generated else None)  # others are not in the scene's values
        return Layout(bands=task.bands, dtype="float32", nodata=math.nan, names=task.band_names, units=units, tags=tags)
    if stored.kind == "mask":
        return Layout(bands=1, nodata=MASK_NODATA, resampling="nearest")
    alike = set(frame.physical.scale), set(frame.physical.offset)
    scales = [*alike[0]] * task.bands if len(alike[0]) == 1 else []
    offsets = [*alike[1]] * task.bands if len(alike[1]) == 1 else []
    return Layout(
        bands=task.bands,
        dtype=stored.dtype,
        nodata=stored.nodata,
        names=task.band_names,
        scales=scales,
        offsets=offsets,
        tags=_range_tag(stored.value_range),
    )


def _range_tag(levels: tuple[float, float] | None) -> dict[str, str]:
    return {} if levels is None else {RANGE_TAG: f"{levels[0]!r},{levels[1]!r}"}


def _away_from(stored: NDArray[Any], nodata: float) -> NDArray[Any]:
    """A restored pixel that happens to be the nodata value becomes its neighbour."""
    if stored.dtype.kind == "f":
        return np.where(stored == nodata, np.nextafter(stored, np.inf), stored)
    limits = np.iinfo(stored.dtype)
    if not limits.min <= nodata <= limits.max:
        return stored
    beside = int(nodata) + (1 if nodata < limits.max else -1)
    return np.where(stored == int(nodata), np.asarray(beside, dtype=stored.dtype), stored)
