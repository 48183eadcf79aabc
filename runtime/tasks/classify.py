"""Scene classification: one label per tile."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage

from ..engines.engine import Engine
from ..errors import EngineError
from ..records import FloatArray, Footprint, Product, TileOutcome, TileRef, UInt8Array
from .answer import product_of

_SLACK = 1e-3


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A loaded classification package: engine, class names and what each class is worth."""

    engine: Engine
    package: ModelPackage
    class_value: Mapping[str, float] = field(default_factory=dict)
    """Worth of a right answer by class; 1 for classes not named."""

    def __post_init__(self) -> None:
        info = self.package.info
        if info.output.kind != "probabilities":
            raise EngineError(f"{info.id} answers {info.output.kind!r}; classification needs probabilities.")

    def answer(
        self,
        refs: Sequence[TileRef],
        pixels: UInt8Array,
        *,
        slot: int,
        captured_unix_s: float,
        footprints: Sequence[Footprint | None] | None = None,
    ) -> tuple[list[Product], list[TileOutcome]]:
        """Infer one batch. Each tile gets one outcome, and a product if it is ``done``.

        A run that fails, or an answer that is no probability (NaN, Inf, beyond 0..1), fails its tiles and nothing else.
        """
        try:
            best, score, outcomes = self.decode(refs, self.engine.infer(pixels))
        except EngineError as error:
            return [], [TileOutcome(ref, "failed", str(error)) for ref in refs]
        places = footprints if footprints is not None else [None] * len(refs)
        products = [
            self._product(ref, int(best[row]), float(score[row]), slot, captured_unix_s, place)
            for row, (ref, place, outcome) in enumerate(zip(refs, places, outcomes, strict=True))
            if outcome.outcome == "done"
        ]
        return products, outcomes

    def decode(
        self, refs: Sequence[TileRef], raw: FloatArray
    ) -> tuple[NDArray[np.int64], FloatArray, list[TileOutcome]]:
        """Class and score of each tile, (n,) each, and how it ended; class and score of a failed one mean nothing.

        Raises ``EngineError`` for answers of another shape.
        """
        info = self.package.info
        expected = (len(refs), len(info.classes))
        if raw.shape != expected:
            raise EngineError(f"{self.engine.name} answered {raw.shape}, expected {expected}. Export it again.")
        sound = np.all((raw >= -_SLACK) & (raw <= 1.0 + _SLACK), axis=1)  # false for NaN
        unsound = f"{info.id} answered no probabilities (NaN, Inf or beyond 0..1)"
        outcomes = [
            TileOutcome(ref, "done") if good else TileOutcome(ref, "failed", unsound)
            for ref, good in zip(refs, sound.tolist(), strict=True)
        ]
        best = raw.argmax(axis=1)
        return best, raw[np.arange(len(raw)), best], outcomes

    def _product(
        self, ref: TileRef, best: int, score: float, slot: int, captured_unix_s: float, place: Footprint | None
    ) -> Product:
        label = self.package.info.classes[best]
        return product_of(
            self.package,
            ref,
            product_id=product_id(ref, self.package.sha256, slot),
            kind="label",
            label=label,
            score=score,
            class_value=self.class_value.get(label, 1.0),
            slot=slot,
            captured_unix_s=captured_unix_s,
            place=place,
        )


def product_id(ref: TileRef, package_sha256: str, slot: int) -> str:
    """16 hexadecimal digits that are the same for the same tile, package and slot, on any machine."""
    text = f"{ref.frame_id}\n{ref.row_px}\n{ref.col_px}\n{ref.edge_px}\n{package_sha256}\n{slot}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
