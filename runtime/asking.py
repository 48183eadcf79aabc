"""Asking in words on a laptop: tiles of scenes that a text describes, and what the tiles of a scene answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from exporters.package import ModelPackage

from .engines import Engine, open_engine
from .errors import FrameError, MissionError
from .frames import LineFrame, RasterFrame, choose_bands, open_any
from .georeference import Box, footprints
from .records import FloatArray, Footprint, TileRef, UInt8Array
from .tasks.ask import Answered, Asker, surest, tally
from .tasks.embed import EmbeddingTask
from .tasks.search import RERANKED, Searcher, Understood
from .text_index import Hit, TextIndex
from .tiles import cut, skip_empty, tile_grid

Progress = Callable[[str], None]
_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The tiles nearest to a text, best first. ``scores``: the fine matcher's, where it was asked, else None."""

    text: str
    unknown: tuple[str, ...]
    packed_byte: int
    searched: int
    hits: tuple[Hit, ...]
    scores: tuple[float | None, ...]
    search_measured_s: float

    def summary(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        hits = [
            {
                **asdict(hit.ref),
                "cosine": hit.cosine,
                "score": score,
                "longitude_deg": None if math.isnan(hit.longitude_deg) else hit.longitude_deg,
                "latitude_deg": None if math.isnan(hit.latitude_deg) else hit.latitude_deg,
            }
            for hit, score in zip(self.hits, self.scores, strict=True)
        ]
        return {**asdict(self), "hits": hits}

    def table(self) -> str:
        """The result for a person: one line a tile."""
        doubt = f"; not known: {', '.join(self.unknown)}" if self.unknown else ""
        lines = [f"{self.text!r} ({self.packed_byte} bytes up) in {self.searched} tiles{doubt}"]
        for hit, score in zip(self.hits, self.scores, strict=True):
            fine = "" if score is None else f"  score {score:6.3f}"
            place = "" if math.isnan(hit.longitude_deg) else f"  {hit.longitude_deg:.5f} {hit.latitude_deg:.5f}"
            ref = hit.ref
            lines.append(f"  {hit.cosine:6.3f}{fine}  {ref.frame_id} row {ref.row_px} col {ref.col_px}{place}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskResult:
    """What the tiles of a scene answer; ``best`` is the surest."""

    question: str
    unknown: tuple[str, ...]
    packed_byte: int
    answers: tuple[Answered, ...]
    best: Answered | None

    def summary(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        return {**asdict(self), "tally": dict(tally(self.answers))}

    def table(self) -> str:
        """The result for a person."""
        if self.best is None:
            return f"{self.question!r}: no tile of it holds data, so nothing could be looked at"
        ref, kind = self.best.ref, "open" if self.best.is_open else "closed"
        doubt = f"\n  not known: {', '.join(self.unknown)}" if self.unknown else ""
        counts = ", ".join(f"{answer} {count}" for answer, count in tally(self.answers).items())
        return (
            f"{self.question!r} ({kind}): {self.best.answer}, confidence {self.best.confidence:.2f}, "
            f"{ref.frame_id} row {ref.row_px} col {ref.col_px}\n  {len(self.answers)} tiles: {counts}{doubt}"
        )


def search_scenes(
    package: ModelPackage,
    text: str,
    scenes: Sequence[Path],
    *,
    index: Path | None = None,
    count: int = 10,
    capacity: int = 100_000,
    progress: Progress = lambda line: None,
) -> SearchResult:
    """Embed the tiles of ``scenes``, and find those that ``text`` describes among them and all that ``index`` holds.

    Without ``index`` a new one is used and dropped. Tiles of ``scenes`` are put in order by the fine matcher where
    the package has one. Raises ``MissionError`` for a text that cannot be used, ``FrameError`` for scenes without data.
    """
    if not scenes and index is None:
        raise MissionError("There is nothing to search. Give scenes, or --index with a folder of an index.")
    searcher = Searcher.open(package)
    understood = searcher.understand(text)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "index" if index is None else index
        name, dim = f"{package.info.id} {package.sha256[:16]}", package.info.answer_shape[0]
        tiles = TextIndex.open(folder, network=name, dim=dim, capacity=capacity)
        if scenes:
            with closing(open_engine(package)) as engine:
                for scene in scenes:
                    progress(f"{scene.name}: {_add(tiles, engine, package, scene)} tiles")
            tiles.flush()
        if not len(tiles) and scenes:
            raise FrameError(f"No tile of {', '.join(one.name for one in scenes)} holds data. Give other scenes.")
        if not len(tiles):
            raise MissionError(f"The index in {folder} holds no tile. Add scenes to it first.")
        begin_s = time.perf_counter()
        hits = tiles.search(searcher.embed(understood), max(count, RERANKED if scenes else count))
        search_s = time.perf_counter() - begin_s
        hits, scores = _reranked(searcher, understood, package, hits, scenes)
        return SearchResult(
            text=text,
            unknown=understood.unknown,
            packed_byte=understood.packed_byte,
            searched=len(tiles),
            hits=tuple(hits[:count]),
            scores=tuple(scores[:count]),
            search_measured_s=search_s,
        )


def ask_scene(
    package: ModelPackage, question: str, scene: Path, *, progress: Progress = lambda line: None
) -> AskResult:
    """What each tile of ``scene`` answers. Raises ``MissionError`` for a question that cannot be used."""
    asker = Asker.open(package)
    asked = asker.understand(question)
    answers: list[Answered] = []
    with closing(open_engine(package)) as engine:
        for refs, vectors, _ in _embedded(engine, package, scene):
            answers += asker.answer(asked, refs, vectors)
    progress(f"{scene.name}: {len(answers)} tiles")
    return AskResult(
        question=question,
        unknown=asked.unknown,
        packed_byte=asked.packed_byte,
        answers=tuple(answers),
        best=surest(answers),
    )


def _add(tiles: TextIndex, engine: Engine, package: ModelPackage, scene: Path) -> int:
    total = 0
    for refs, vectors, places in _embedded(engine, package, scene):
        tiles.add(refs, vectors, captured_unix_s=scene.stat().st_mtime, footprints=places)
        total += len(refs)
    return total


def _embedded(
    engine: Engine, package: ModelPackage, scene: Path
) -> Iterator[tuple[list[TileRef], FloatArray, Sequence[Footprint | None]]]:
    """Tiles of a scene in batches, with their vectors and places; tiles that fail or lack data are left out."""
    task = EmbeddingTask(engine=engine, package=package)
    with open_any(scene) as frame:
        if isinstance(frame, LineFrame) or not isinstance(frame, RasterFrame):
            raise MissionError(f"{scene} is no image file, which this command needs. Store it as a GeoTIFF first.")
        edge = package.info.input.tile_edge_px
        grid = tile_grid(frame.width_px, frame.height_px, edge, frame_id=frame.frame_id)
        bands = choose_bands(frame.bands, package.info.bands, frame.frame_id)
        for batch in cut(frame, (window.ref for window in grid), bands, batch=_BATCH, keep=skip_empty()):
            if not batch.refs:
                continue
            found, outcomes = task.decode(batch.refs, engine.infer(batch.pixels))
            done = [n for n, outcome in enumerate(outcomes) if outcome.outcome == "done"]
            refs = [batch.refs[n] for n in done]
            places: Sequence[Footprint | None] = [None] * len(refs)
            if frame.georeference is not None:
                boxes = [Box(ref.row_px, ref.col_px, ref.edge_px, ref.edge_px) for ref in refs]
                places = list(footprints(frame.georeference, boxes))
            yield refs, found[done], places


def _reranked(
    searcher: Searcher, understood: Understood, package: ModelPackage, hits: list[Hit], scenes: Sequence[Path]
) -> tuple[list[Hit], list[float | None]]:
    """Hits whose pixels are at hand first, by the fine matcher's score; the others after them, as they were."""
    by_frame = {scene.stem: scene for scene in scenes}
    near = [hit for hit in hits[:RERANKED] if hit.ref.frame_id in by_frame]
    pixels = [_pixels(by_frame[hit.ref.frame_id], hit.ref, package) for hit in near]
    scores = searcher.scores(understood, np.stack(pixels)) if pixels else None
    if scores is None:
        return hits, [None] * len(hits)
    order = np.argsort(-scores, kind="stable").tolist()
    rest = [hit for hit in hits if hit not in near]
    return [near[n] for n in order] + rest, [float(scores[n]) for n in order] + [None] * len(rest)


def _pixels(scene: Path, ref: TileRef, package: ModelPackage) -> UInt8Array:
    with open_any(scene) as frame:
        bands = choose_bands(frame.bands, package.info.bands, frame.frame_id)
        if not isinstance(frame, RasterFrame):
            raise MissionError(f"{scene} is no image file, which this command needs. Store it as a GeoTIFF first.")
        pixels: UInt8Array = next(cut(frame, [ref], bands, batch=1)).pixels[0]
        return pixels
