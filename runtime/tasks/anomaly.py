"""Anomaly maps: how far a tile's strangest pixel stands out from the tile's own background.

Output kind ``map`` with one channel: (n, 1, edge, edge) float32 scores of at least 0, such as squared Mahalanobis
distances. A product's score is the robust z of the tile's highest pixel, and its value grows with it, so that the
downlink sends the strangest tiles first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exporters.package import ModelPackage

from ..engines.engine import Engine
from ..errors import EngineError
from ..georeference import Box, footprints
from ..records import FloatArray, Footprint, Product, TileOutcome, TileRef
from .answer import product_of
from .classify import product_id

if TYPE_CHECKING:
    from ..answers import ViewOf, When

KIND, LABEL = "map", "anomaly"
_NORMAL = 1.4826
"""Median absolute deviations in a standard deviation of a normal distribution."""
Finding = tuple[TileRef, float]


@dataclass(frozen=True, kw_only=True)
class AnomalyTask:
    """A loaded package that scores pixels by how little they look like background.

    ``class_value`` says what a tile with a sure anomaly is worth; at a z of ``half_z`` half of that.
    """

    engine: Engine
    package: ModelPackage
    class_value: Mapping[str, float] = field(default_factory=dict)
    half_z: float = 30.0
    min_z: float = 0.0
    """Tiles that stand out less make no product."""

    def __post_init__(self) -> None:
        info = self.package.info
        if info.output.kind != KIND:
            raise EngineError(f"{info.id} answers {info.output.kind!r}; anomalies need a {KIND!r} of one channel.")
        if not self.half_z > 0.0:
            raise EngineError(f"half_z is {self.half_z}; the value grows with the score: give a number above 0.")

    def decode(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[NDArray[np.float64], list[TileOutcome]]:
        """Robust z of each tile's highest pixel, (n,), and how it ended: NaN, Inf or scores below 0 fail their tile.

        Raises ``EngineError`` for answers of another shape.
        """
        info = self.package.info
        edge = info.input.tile_edge_px
        if raw.shape != (len(refs), 1, edge, edge):
            raise EngineError(
                f"{self.engine.name} answered {raw.shape}, expected {(len(refs), 1, edge, edge)}. Export it again."
            )
        flat = raw.reshape(len(refs), edge * edge)
        sound: NDArray[np.bool_] = np.all(np.isfinite(flat) & (flat >= 0.0), axis=1)
        unsound = f"{info.id} answered scores that are NaN, infinite or below 0"
        outcomes = [
            TileOutcome(ref, "done") if good else TileOutcome(ref, "failed", unsound)
            for ref, good in zip(refs, sound.tolist(), strict=True)
        ]
        z = np.zeros(len(refs))
        z[sound] = peak_z(flat[sound])
        return z, outcomes

    def read(self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf) -> tuple[list[Finding], list[TileOutcome]]:
        """See ``runtime.answers.Reader.read``: tile and z of those that are done."""
        z, outcomes = self.decode(refs, raw)
        done = [number for number, outcome in enumerate(outcomes) if outcome.outcome == "done"]
        return [(refs[number], float(z[number])) for number in done], outcomes

    def products(self, findings: Sequence[list[Finding]], view: ViewOf, when: When) -> list[Product]:
        """See ``runtime.answers.Reader.products``: one a tile, valued by how far it stands out."""
        found = [one for part in findings for one in part if one[1] >= self.min_z]
        return [self._product(ref, z, place_of(ref, view), when) for ref, z in found]

    def _product(self, ref: TileRef, z: float, place: Footprint | None, when: When) -> Product:
        worth = self.class_value.get(LABEL, 1.0)
        product = product_of(
            self.package,
            replace(ref, truth=None),
            product_id=product_id(ref, self.package.sha256, when.slot),
            kind="label",
            label=LABEL,
            score=z,
            class_value=worth,
            slot=when.slot,
            captured_unix_s=when.captured_unix_s,
            place=place,
        )
        return replace(product, value=worth * z / (z + self.half_z))


def peak_z(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n,) distance of the highest of (n, pixels) to their median in robust standard deviations; 0 for a flat tile.

    >>> peak_z(np.array([[0.0, 1.0, 2.0, 3.0, 100.0]])).round(2)
    array([66.1])
    """
    values = scores.astype(np.float64)
    middle = np.median(values, axis=1)
    spread = _NORMAL * np.median(np.abs(values - middle[:, None]), axis=1)
    high = values.max(axis=1) - middle
    z: NDArray[np.float64] = np.divide(high, spread, out=np.zeros_like(high), where=spread > 0)
    return z


def place_of(ref: TileRef, view: ViewOf) -> Footprint | None:
    """Ground polygon of a tile, None where its frame has no place."""
    georeference = view(ref.frame_id).georeference
    if georeference is None:
        return None
    return footprints(georeference, [Box(ref.row_px, ref.col_px, ref.edge_px, ref.edge_px)])[0]
