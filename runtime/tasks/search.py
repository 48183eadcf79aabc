"""Finding the tiles that a text describes, and making them worth more to the downlink.

A package of kind ``embedding`` can be asked that has the companions ``text.onnx`` (tokens (n, length) int64 to unit
vectors (n, dim), and words), ``vocabulary.txt`` and perhaps ``rerank.onnx`` (tiles, words, vectors and tokens to scores
(tiles, texts)). The index is searched by the cosine; the best tiles, where their pixels are still at hand, are put in
order by ``rerank.onnx``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage
from exporters.vocabulary import Vocabulary

from ..errors import EngineError, MissionError
from ..records import FloatArray, Product, TileRef, UInt8Array
from ..text_index import Hit, TextIndex
from .graphs import companion_session, run_graph
from .request import UplinkRequest

TEXT, RERANK, VOCABULARY = "text.onnx", "rerank.onnx", "vocabulary.txt"
LONGEST_WORD, LEAST_WORD = 64, 2
RERANKED = 200
"""Tiles that the fine matcher is asked about, at most."""
MOST_UNKNOWN_FRAC = 0.5


@dataclass(frozen=True, slots=True)
class Understood:
    """A text as the network reads it. ``unknown``: words that it never learned."""

    text: str
    tokens: NDArray[np.int64]
    unknown: tuple[str, ...]
    packed_byte: int
    """What its words take on the uplink."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Searcher:
    """The text side of a package: what turns words into the vector that tiles are compared with."""

    package: ModelPackage
    vocabulary: Vocabulary
    text: Any
    rerank: Any | None

    @classmethod
    def open(cls, package: ModelPackage, *, threads: int = 1) -> Searcher:
        """Load the companions. Raises ``EngineError`` where the package cannot be asked."""
        info = package.info
        if info.output.kind != "embedding" or TEXT not in package.sums or VOCABULARY not in package.sums:
            raise EngineError(
                f"{info.id} cannot be asked in words: it answers {info.output.kind!r} and has "
                f"{'a' if TEXT in package.sums else 'no'} {TEXT}. Use a package of a text-image network, such as acf."
            )
        rerank = companion_session(package, RERANK, threads=threads) if RERANK in package.sums else None
        vocabulary = Vocabulary.parse(package.read(VOCABULARY))
        return cls(
            package=package,
            vocabulary=vocabulary,
            text=companion_session(package, TEXT, threads=threads),
            rerank=rerank,
        )

    def understand(self, text: str) -> Understood:
        """The words' numbers. Raises ``MissionError`` for a text without words, or mostly of words it never learned."""
        numbers, unknown = self.vocabulary.numbers(text), self.vocabulary.unknown(text)
        if not numbers:
            raise MissionError(
                f"The query {text!r:.60} has no words. Describe what the tiles show, such as 'a harbour'."
            )
        if len(unknown) == len(numbers):
            raise MissionError(
                f"{self.package.info.id} knows none of the words {', '.join(unknown)}. It knows "
                f"{len(self.vocabulary.words)}, such as {', '.join(_examples(self.vocabulary))}."
            )
        if len(unknown) > MOST_UNKNOWN_FRAC * len(numbers):
            raise MissionError(
                f"{self.package.info.id} does not know {', '.join(unknown)}, {len(unknown)} of {len(numbers)} words. "
                "Use other words."
            )
        width = min(max(len(numbers), LEAST_WORD), LONGEST_WORD)
        return Understood(text, self.vocabulary.tokens([text], width), unknown, 2 * len(numbers))

    def embed(self, understood: Understood) -> FloatArray:
        """(dim,) of length 1."""
        vector = self._read(understood)[0]
        length = float(np.linalg.norm(vector[0]))
        if vector.shape != (1, *self.package.info.answer_shape) or not math.isfinite(length) or length == 0.0:
            raise EngineError(
                f"{self.package.info.id} {TEXT} answered {vector.shape} of length {length:g}. Export it again."
            )
        unit: FloatArray = (vector[0] / length).astype(np.float32)
        return unit

    def scores(self, understood: Understood, pixels: UInt8Array, *, batch: int = 16) -> FloatArray | None:
        """(n,): the whole network's score of tiles (n, bands, edge, edge); None without ``rerank.onnx``."""
        if self.rerank is None:
            return None
        what = f"{self.package.info.id} {RERANK}"
        t_global, words = self._read(understood)
        text: dict[str, NDArray[Any]] = {"words": words, "t_global": t_global, "tokens": understood.tokens}
        parts = [
            run_graph(self.rerank, {"tiles": pixels[start : start + batch], **text}, what=what)[0][:, 0]
            for start in range(0, len(pixels), batch)
        ]
        scores: FloatArray = np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)
        return scores

    def _read(self, understood: Understood) -> list[FloatArray]:
        return run_graph(self.text, {"tokens": understood.tokens}, what=f"{self.package.info.id} {TEXT}")


def serve_search(
    request: UplinkRequest, searcher: Searcher, index: TextIndex, pending: Sequence[Product]
) -> tuple[list[Hit], list[Product]]:
    """What the daemon does with a request: the tiles found, and those of the ``pending`` products that gain by it.

    The store then takes the new values; what is not returned is as it was. Raises ``MissionError`` for a text that
    cannot be used: that line goes down as the answer.
    """
    if request.kind != "search":
        raise MissionError(f"Request {request.request_id!r:.40} is of kind {request.kind!r}, not search.")
    query = searcher.embed(searcher.understand(request.text))
    hits = index.search(query, request.count, frame_id=request.frame_id)
    fractions = relevance(np.array([hit.cosine for hit in hits], dtype=np.float32), middle=index.middle(query))
    gains = {hit.ref: float(frac) for hit, frac in zip(hits, fractions, strict=True)}
    return hits, boost(pending, gains, request.worth)


def relevance(cosines: FloatArray, middle: float | None = None) -> FloatArray:
    """How much each of some tiles has to do with a text, 0..1, from their cosines with it.

    Cosines of one network crowd around some value of its own. So a tile as near as the middle one of all (None: of
    these) counts 0, the nearest 1, evenly between; where all are alike nobody gains.

    >>> relevance(np.array([0.1, 0.2, 0.2, 0.3, 0.6], dtype=np.float32)).tolist()
    [0.0, 0.0, 0.0, 0.25, 1.0]
    """
    if not len(cosines):
        return cosines
    low, top = float(np.median(cosines)) if middle is None else middle, float(cosines.max())
    if top - low < 1e-6:
        return np.zeros_like(cosines)
    fractions: FloatArray = np.round(np.clip((cosines - low) / (top - low), 0.0, 1.0), 6).astype(np.float32)
    return fractions


def boost(products: Sequence[Product], relevance_frac: Mapping[TileRef, float], worth: float) -> list[Product]:
    """Those of ``products`` that gain, with ``worth`` times the relevance of their tile added to their value.

    A product gains by a tile of its frame that its own middle lies in, whatever task it is of and however large its own
    tile is; by the most relevant one, where several do. What it truly shows plays no part.
    """
    if not (math.isfinite(worth) and worth > 0.0):
        raise MissionError(f"A worth of {worth} cannot be given to tiles. Use a number above 0.")
    by_frame: dict[str, list[tuple[TileRef, float]]] = {}
    for ref, frac in relevance_frac.items():
        by_frame.setdefault(ref.frame_id, []).append((ref, min(frac, 1.0)))
    raised = []
    for product in products:
        near = [frac for ref, frac in by_frame.get(product.frame_id, ()) if _holds(ref, product)]
        if near and max(near) > 0.0:
            raised.append(replace(product, value=product.value + worth * max(near)))
    return raised


def _holds(ref: TileRef, product: Product) -> bool:
    row, col = product.row_px + product.edge_px / 2, product.col_px + product.edge_px / 2
    return ref.row_px <= row < ref.row_px + ref.edge_px and ref.col_px <= col < ref.col_px + ref.edge_px


def _examples(vocabulary: Vocabulary, count: int = 8) -> list[str]:
    long = [word for word in vocabulary.words if len(word) > 4]
    return list(long or vocabulary.words)[:: max(1, len(long or vocabulary.words) // count)][:count]
