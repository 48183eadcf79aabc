"""One scene on its way through one network: cut, infer, collect, at the same time and in flat memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from exporters.package import ModelPackage

from ..engines import Engine
from ..errors import EngineError, FrameError
from ..frame import Frame, Patch
from ..frames import LineFrame, RasterFrame, Stack, choose_bands
from ..frames.scaling import to_uint8
from ..prefilter import NODATA, screen
from ..records import FloatArray, TileOutcome, TileRef
from ..tiles import Batch, Filter, TileGrid, Window, cut, growing_windows, tile_grid
from .overlap import ahead, in_order
from .sinks import NoteCall, Seen, Sink

ProgressCall = Callable[[int, int, str], None]
AdmitCall = Callable[[Window], str]
"""Why a window is not worth reading, empty if it is."""


LEAST_VALID_FRAC = {"image": 0.0, "mask": 0.0}
"""How much of a tile must hold data, by the kind of answer; half of it elsewhere. Pictures are made as far as the scene
goes: what it lacks stays nodata, pixel by pixel."""


class TileEnergy(Protocol):
    """Knows what tiles cost."""

    def of(self, tiles: int) -> float:
        """Joules of each of the ``tiles`` that were inferred since the last call."""
        ...


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

    fill: float = 0.0
    """Stands for missing values in float32 tiles; NaN leaves them to the network."""

    def as_table(self) -> dict[str, object]:
        """What decides the answers, for the record."""
        fill = {} if self.fill == 0.0 else {"fill": str(self.fill)}
        return {"overlap_px": self.overlap_px, "batch": self.batch, "skip": dict(self.skip), **fill}


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

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.tiles + other.tiles, self.done + other.done, self.shed + other.shed, self.failed + other.failed
        )


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
    *,
    note: NoteCall | None = None,
    admit: AdmitCall | None = None,
    energy: TileEnergy | None = None,
) -> Tally:
    """Send every tile of ``frame`` through ``engine`` into ``sink`` and count how each ended.

    ``note`` hears before each batch of answers what else is known of it; ``admit`` sheds windows before they are read;
    ``energy`` says what tiles cost.

    A line stream is followed while it grows. An engine's failure fails the tiles of its batch and no others. Raises
    ``FrameError`` where the file is damaged: answers for half a scene must not pass for the whole.
    """
    bands = choose_bands(frame.bands, package.info.bands, frame.frame_id)
    _check_dtype(frame, package)
    least_frac = LEAST_VALID_FRAC.get(package.info.output.kind, 0.5)
    chosen = screen(cutting.skip, package.info.bands, frame.bands, frame.frame_id, min_valid_frac=least_frac)
    looks = frame.tile_dtype != "uint8" and cutting.skip.keys() - {NODATA}
    keep = _by_levels(frame, chosen.keep) if looks else chosen.keep
    waiting: dict[TileRef, Window] = {}
    tally, turned_away = Tally(), Tally()
    windows = _admitted(_windows(frame, package, cutting.overlap_px), admit, turned_away)
    parts = cut(
        frame,
        _refs(windows, waiting),
        bands,
        batch=cutting.batch,
        keep=keep,
        beside=chosen.beside,
        fill=None if math.isnan(cutting.fill) else cutting.fill,
        with_valid=note is not None,
    )
    with ahead(parts, cutting.ahead_batch) as batches:
        for part, raw in in_order(batches, lambda part: _infer(engine, part), cutting.workers):
            if note is not None:
                note(Seen(part.valid, energy.of(len(part.refs)) if energy is not None and part.refs else None))
            tally.count(_collect(part, raw, sink, waiting))
            if progress is not None:
                progress(tally.tiles, max(_expected(frame, package, cutting), tally.tiles), frame.frame_id)
    sink.finish()
    return tally.plus(turned_away)


def _check_dtype(frame: Frame, package: ModelPackage) -> None:
    wanted = package.info.input.dtype
    if frame.tile_dtype != wanted:
        raise FrameError(
            f"{package.info.id} takes {wanted} tiles, but {frame.frame_id} was opened for {frame.tile_dtype}. "
            f"Open it with tile_dtype={wanted!r}."
        )


def _by_levels(frame: Frame, keep: Filter) -> Filter:
    """A pre-filter's look at physical values: what it knows are levels 0..255 of the frame's value range."""
    scale = frame.value_range if isinstance(frame, (RasterFrame, Stack)) else None
    if scale is None:
        raise FrameError(
            f"Pre-filters need to know which values of {frame.frame_id} are dark and bright. Give its value range."
        )

    def judge(patch: Patch) -> str:
        return keep(Patch(to_uint8(patch.pixels, scale), patch.valid))

    return judge


def _windows(frame: Frame, package: ModelPackage, overlap_px: int) -> Iterable[Window]:
    if isinstance(frame, LineFrame):
        return growing_windows(frame, package.info.input.tile_edge_px, overlap_px)
    return grid_for(frame, package, overlap_px)


def _admitted(windows: Iterable[Window], admit: AdmitCall | None, tally: Tally) -> Iterator[Window]:
    for window in windows:
        reason = admit(window) if admit is not None else ""
        if reason:
            tally.count([TileOutcome(window.ref, "shed", reason)])
        else:
            yield window


def _refs(windows: Iterable[Window], waiting: dict[TileRef, Window]) -> Iterator[TileRef]:
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
