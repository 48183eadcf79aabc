"""Answers that are places in a space of meaning: one vector per tile, near to those of tiles and texts alike it.

Output kind ``embedding``: (n, dim) float32, L2-normalised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from exporters.package import ModelPackage

from ..engines.engine import Engine
from ..errors import EngineError
from ..records import FloatArray, Product, TileOutcome, TileRef
from .answer import finite_outcomes, tile_products
from .classify import product_id

if TYPE_CHECKING:
    from ..answers import ViewOf, When

KIND = "embedding"


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingTask:
    """A loaded package whose answers are vectors, and the vector that tiles are compared with, if any."""

    engine: Engine
    package: ModelPackage
    class_value: Mapping[str, float] = field(default_factory=dict)
    """Worth of a right answer by label; 1 for labels not named."""
    query: FloatArray | None = None
    """(dim,), L2-normalised: tiles that are near to it are worth more."""

    def __post_init__(self) -> None:
        info = self.package.info
        if info.output.kind != KIND:
            raise EngineError(f"{info.id} answers {info.output.kind!r}; an index needs {KIND}.")
        if self.query is not None and self.query.shape != (self.dim,):
            raise EngineError(f"The query has shape {self.query.shape}; {info.id} answers vectors of {self.dim}.")

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.package.info.answer_shape[0]

    def decode(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[FloatArray, list[TileOutcome]]:
        """(n, dim) unit vectors and how each tile ended; one with NaN, Inf or no direction fails.

        Raises ``EngineError`` for answers of another shape.
        """
        outcomes = finite_outcomes(self.engine.name, self.package.info, refs, raw)
        with np.errstate(invalid="ignore"):
            length = np.linalg.norm(raw, axis=1, keepdims=True)
            vectors: FloatArray = (raw / np.where(length > 0, length, 1.0)).astype(np.float32)
        nowhere = f"{self.package.info.id} answered a vector without direction"
        return vectors, [
            TileOutcome(outcome.ref, "failed", nowhere) if size == 0 else outcome
            for outcome, size in zip(outcomes, length[:, 0].tolist(), strict=True)
        ]

    def score(self, vector: FloatArray) -> float:
        """How near a tile is to the query: 1 the same, 0 the opposite; one half where nobody asked."""
        return 0.5 if self.query is None else float(np.clip(0.5 + 0.5 * (vector @ self.query), 0.0, 1.0))

    def read(
        self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf
    ) -> tuple[list[tuple[TileRef, FloatArray]], list[TileOutcome]]:
        """See ``runtime.answers.Reader.read``: tiles that are done, with their vectors."""
        vectors, outcomes = self.decode(refs, raw)
        done = [n for n, outcome in enumerate(outcomes) if outcome.outcome == "done"]
        return [(refs[n], vectors[n]) for n in done], outcomes

    def products(self, findings: Sequence[list[tuple[TileRef, FloatArray]]], view: ViewOf, when: When) -> list[Product]:
        """See ``runtime.answers.Reader.products``: one product per tile, worth what the query says."""
        sha256 = self.package.sha256
        found = [
            (replace(ref, truth=None), product_id(ref, sha256, when.slot), self.package.info.task, self.score(vector))
            for part in findings
            for ref, vector in part
        ]
        return tile_products(self.package, found, kind=KIND, class_value=self.class_value, view=view, when=when)
