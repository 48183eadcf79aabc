"""Anomaly maps: how far a tile's strangest pixel stands out from the tile's own background.

Output kind ``map`` with one channel: (n, 1, edge, edge) float32 scores of at least 0, such as squared Mahalanobis
distances. A product's score is the robust z of the tile's highest pixel, and its value grows with it, so that the
downlink sends the strangest tiles first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..records import FloatArray, Product, TileOutcome, TileRef
from .answer import tile_products
from .classify import product_id
from .values import KIND, MapTask

if TYPE_CHECKING:
    from ..answers import ViewOf, When

LABEL = "anomaly"
_NORMAL = 1.4826
"""Median absolute deviations in a standard deviation of a normal distribution."""
Finding = tuple[TileRef, float]


@dataclass(frozen=True, kw_only=True)
class AnomalyTask(MapTask):
    """A loaded package that scores pixels by how little they look like background.

    ``class_value`` says what a tile with a sure anomaly is worth; at a z of ``half_z`` it is half of that.
    """

    half_z: float = 30.0
    min_z: float = 0.0
    """Tiles that stand out less make no product."""

    def __post_init__(self) -> None:
        info = self.package.info
        if info.output.kind != KIND or info.output.channels != 1:
            raise EngineError(
                f"{info.id} answers {info.output.kind!r} of {info.output.channels} channels; anomalies need a {KIND!r} "
                "of one."
            )
        if not self.half_z > 0.0:
            raise EngineError(f"half_z is {self.half_z}; the value grows with the score: give a number above 0.")

    def decode(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[NDArray[np.float64], list[TileOutcome]]:
        """Robust z of each tile's highest pixel, (n,), and how it ended: NaN, Inf or scores below 0 fail their tile.

        Raises ``EngineError`` for answers of another shape.
        """
        scores, outcomes = self.levels(refs, raw)
        flat = scores.reshape(len(refs), -1)
        below = f"{self.package.info.id} answered scores below 0"
        outcomes = [
            TileOutcome(outcome.ref, "failed", below) if outcome.outcome == "done" and low < 0.0 else outcome
            for outcome, low in zip(outcomes, flat.min(axis=1).tolist(), strict=True)
        ]
        sound = [outcome.outcome == "done" for outcome in outcomes]
        z = np.zeros(len(refs))
        z[sound] = peak_z(flat[sound])
        return z, outcomes

    def read(self, refs: Sequence[TileRef], raw: FloatArray, view: ViewOf) -> tuple[list[Finding], list[TileOutcome]]:
        """See ``runtime.answers.Reader.read``: tile and z of those that are done."""
        z, outcomes = self.decode(refs, raw)
        done = [number for number, outcome in enumerate(outcomes) if outcome.outcome == "done"]
        return [(refs[number], float(z[number])) for number in done], outcomes

    def products(self, findings: Sequence[list[Finding]], view: ViewOf, when: When) -> list[Product]:
        """See ``runtime.answers.Reader.products``: one a tile, worth more the further it stands out."""
        found = [one for part in findings for one in part if one[1] >= self.min_z]
        sha256, worth = self.package.sha256, self.class_value.get(LABEL, 1.0)
        named = [(replace(ref, truth=None), product_id(ref, sha256, when.slot), LABEL, z) for ref, z in found]
        made = tile_products(self.package, named, kind="label", class_value={}, view=view, when=when)
        return [replace(product, value=worth * product.score / (product.score + self.half_z)) for product in made]


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
