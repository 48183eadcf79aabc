"""Embeddings of a scene's tiles, written into an index as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..frame import Frame
from ..georeference import footprints
from ..records import FloatArray, TileOutcome
from ..tasks import EmbeddingTask, product_id
from ..tasks.index import IndexedTile, IndexWriter, index_writer
from ..tiles import Window


class EmbeddingSink:
    """One vector per tile; the tile's place is the part that it alone answers for."""

    def __init__(self, writer: IndexWriter, frame: Frame, task: EmbeddingTask) -> None:
        self._writer = writer
        self._frame = frame
        self._task = task
        self.labels: Counter[str] = Counter()

    def take(self, windows: Sequence[Window], raw: FloatArray) -> list[TileOutcome]:
        """See ``Sink.take``."""
        vectors, outcomes = self._task.decode([window.ref for window in windows], raw)
        place = self._frame.georeference
        rings = [None] * len(windows) if place is None else footprints(place, [window.core for window in windows])
        for window, ring, vector, outcome in zip(windows, rings, vectors, outcomes, strict=True):
            if outcome.outcome == "done":
                ref = window.ref
                identity = product_id(ref, self._task.package.sha256, 0)
                corners = None if ring is None else ring.ring_deg
                self._writer.add(IndexedTile(identity, ref.row_px, ref.col_px, ref.edge_px, corners), vector)
                self.labels["indexed"] += 1
        return outcomes

    def finish(self) -> None:
        """See ``Sink.finish``."""


@contextmanager
def embedding_sink(target: Path, frame: Frame, task: EmbeddingTask) -> Iterator[EmbeddingSink]:
    """A sink whose index becomes ``target`` and the ``.jsonl`` beside it when the block ends well, else neither."""
    info = task.package.info
    with index_writer(target, dim=task.dim, package=f"{info.id} v{info.version}") as writer:
        yield EmbeddingSink(writer, frame, task)
