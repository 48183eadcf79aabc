"""Answers that are physical values per pixel: anomaly scores, heights.

Output kind ``map``: (n, channels, edge, edge) float32 in the unit that the package states. Where the task is
``anomaly``, connected pixels at or above the package's ``min_score`` are regions. A network that makes pixels up (task
``declouded``) marks them with more than one half in its last channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from exporters.package import ModelPackage

from ..engines.engine import Engine
from ..errors import EngineError
from ..frames.bands import GENERATED
from ..records import FloatArray, Product, TileOutcome, TileRef
from .answer import finite_outcomes, tile_products
from .classify import product_id
from .image import GENERATING

if TYPE_CHECKING:
    from ..answers import ViewOf, When

KIND = "map"
REGION_TASKS = ("anomaly",)
"""Tasks whose high values are findings."""


@dataclass(frozen=True, kw_only=True)
class MapTask:
    """A loaded package whose answers are values of the size of its tiles."""

    engine: Engine
    package: ModelPackage
    class_value: Mapping[str, float] = field(default_factory=dict)
    """Worth of a right answer by label; 1 for labels not named."""

    def __post_init__(self) -> None:
        info = self.package.info
        if info.output.kind != KIND:
            raise EngineError(f"{info.id} answers {info.output.kind!r}; values per pixel need {KIND}.")

    @property
    def bands(self) -> int:
        """Of the map that comes out."""
        return self.package.info.answer_shape[0]

    @property
    def band_names(self) -> tuple[str, ...]:
        """Of the map that comes out; ``generated`` marks made-up pixels with 1."""
        info = self.package.info
        if info.task in GENERATING:
            return (*info.bands[: self.bands - 1], GENERATED)
        return (info.task,) if self.bands == 1 else tuple(f"{info.task}_{n}" for n in range(1, self.bands + 1))

    @property
    def tags(self) -> dict[str, str]:
        """What the map's file says of how it was made."""
        return {}

    @property
    def label(self) -> str:
        """What its findings are called."""
        info = self.package.info
        return info.classes[0] if info.classes else info.task

    @property
    def finds_regions(self) -> bool:
        """Whether high values are findings."""
        return self.package.info.task in REGION_TASKS

    def levels(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[FloatArray, list[TileOutcome]]:
        """(n, channels, edge, edge) as they are, and how each tile ended; one with NaN or Inf fails.

        Raises ``EngineError`` for answers of another shape.
        """
        outcomes = finite_outcomes(self.engine.name, self.package.info, refs, raw)
        if self.band_names[-1] != GENERATED:
            return raw, outcomes
        values = raw.copy()
        values[:, -1] = raw[:, -1] > 0.5
        return values, outcomes

    def score(self, peak: float) -> float:
        """How sure a finding with this highest value is, 0..1: one half at ``min_score``, more above."""
        limit = self.package.info.thresholds.min_score
        if not self.finds_regions:
            return 1.0
        high = max(peak, 0.0)
        return high / (high + limit) if limit > 0 else min(high, 1.0)

    def read(
        self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf
    ) -> tuple[list[tuple[TileRef, float]], list[TileOutcome]]:
        """See ``runtime.answers.Reader.read``: tiles that are done, with their highest value."""
        values, outcomes = self.levels(refs, raw)
        peaks = values[:, 0].max(axis=(1, 2)).tolist()
        done = [n for n, outcome in enumerate(outcomes) if outcome.outcome == "done"]
        return [(refs[n], peaks[n]) for n in done], outcomes

    def products(self, findings: Sequence[list[tuple[TileRef, float]]], view: ViewOf, when: When) -> list[Product]:
        """See ``runtime.answers.Reader.products``: one product per tile, worth what its highest value says."""
        sha256 = self.package.sha256
        found = [
            (replace(ref, truth=None), product_id(ref, sha256, when.slot), self.label, self.score(peak))
            for part in findings
            for ref, peak in part
        ]
        return tile_products(self.package, found, kind=KIND, class_value=self.class_value, view=view, when=when)
