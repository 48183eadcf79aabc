"""One scene on its way through one network: cut, infer, collect, at the same time and in flat memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from exporters.package import ModelPackage

from ..engines import Engine
from ..errors import EngineError, FrameError
from ..frame import Frame
from ..frames import LineFrame, choose_bands
from ..prefilter import screen
from ..records import FloatArray, TileOutcome, TileRef
from ..tiles import Batch, TileGrid, Window, cut, growing_windows, tile_grid
from .overlap import ahead, in_order
from .sinks import Sink

ProgressCall = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How scenes are cut and fed."""

    batch: int = 32
    overlap_px: int = 0
    skip: Mapping[str, float] = field(default_factory=dict)
    """Pre-filters with the share of a tile that each must find; see ``prefilter``."""
    workers: int = 1
    """Batches inferred at once."""
    ahead_batch: int = 2
    """Batches cut in advance by a thread of their own; 0 cuts where inference waits."""

    def as_table(self) -> dict[str, object]:
        """What decides the answers, for the record."""
        return {"overlap_px": self.overlap_px, "batch": self.batch, "skip": dict(self.skip)}


@dataclass
class Tally:
    """How the tiles of a scene ended."""

    tiles: int = 0
    done: int = 0
    shed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def count(self, outcomes: list[TileOutcome]) -> None:
        """Add outcomes, each of another tile."""
        self.tiles += len(outcomes)
        for outcome in outcomes:
            if outcome.outcome == "done":
                self.done += 1
            else:
                (self.shed if outcome.outcome == "shed" else self.failed)[outcome.reason] += 1


def grid_for(frame: Frame, package: ModelPackage, overlap_px: int) -> TileGrid:
    """The windows that ``package`` needs to see all of ``frame``."""
    edge = package.info.input.tile_edge_px
    return tile_grid(frame.width_px, frame.height_px, edge, overlap_px, frame_id=frame.frame_id)


def run_scene(
    frame: Frame,
    package: ModelPackage,
    engine: Engine,
    sink: Sink,
    cutting: Cutting,
    progress: ProgressCall | None = None,
) -> Tally:
    """Send every tile of ``frame`` through ``engine`` into ``sink`` and count how each ended.

    A line stream is followed while it grows. An engine's failure fails the tiles of its batch and no others. Raises
    ``FrameError`` where the file is damaged: answers for half a scene must not pass for the whole.
    """
    bands = choose_bands(frame.bands, package.info.bands, frame.frame_id)
    chosen = screen(cutting.skip, package.info.bands, frame.bands, frame.frame_id)
    waiting: dict[TileRef, Window] = {}
    tally = Tally()
    refs = _refs(frame, package, cutting.overlap_px, waiting)
    parts = cut(frame, refs, bands, batch=cutting.batch, keep=chosen.keep, beside=chosen.beside)
    with ahead(parts, cutting.ahead_batch) as batches:
        for part, raw in in_order(batches, lambda part: _infer(engine, part), cutting.workers):
            tally.count(_collect(part, raw, sink, waiting))
            if progress is not None:
                progress(tally.tiles, max(_expected(frame, package, cutting), tally.tiles), frame.frame_id)
    sink.finish()
    return tally


def _refs(frame: Frame, package: ModelPackage, overlap_px: int, waiting: dict[TileRef, Window]) -> Iterator[TileRef]:
    windows = (
        growing_windows(frame, package.info.input.tile_edge_px, overlap_px)
        if isinstance(frame, LineFrame)
        else grid_for(frame, package, overlap_px)
    )
    for window in windows:
        waiting[window.ref] = window
        yield window.ref


def _infer(engine: Engine, part: Batch) -> FloatArray | EngineError | None:
    """Raw outputs, None for a batch without tiles, or what went wrong."""
    try:
        return engine.infer(part.pixels) if part.refs else None
    except EngineError as error:
        return error


def _collect(
    part: Batch, raw: FloatArray | EngineError | None, sink: Sink, waiting: dict[TileRef, Window]
) -> list[TileOutcome]:
    damaged = [outcome.reason for outcome in part.left_out if outcome.outcome == "failed"]
    if damaged:
        raise FrameError(damaged[0])
    for outcome in part.left_out:
        del waiting[outcome.ref]
    windows = [waiting.pop(ref) for ref in part.refs]
    if raw is None:
        return list(part.left_out)
    try:
        if isinstance(raw, EngineError):
            raise raw
        return [*part.left_out, *sink.take(windows, raw)]
    except EngineError as error:
        return [*part.left_out, *(TileOutcome(ref, "failed", str(error)) for ref in part.refs)]


def _expected(frame: Frame, package: ModelPackage, cutting: Cutting) -> int:
    return len(grid_for(frame, package, cutting.overlap_px)) if frame.height_px else 0
