"""Terrain: the ground below a coarse surface model, in metres.

Output kind ``map`` with one channel in m: (n, 1, edge, edge) float32. A package answers NaN to a tile that it cannot
refine, and missing heights must reach it as NaN: 0 m is a height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..errors import EngineError
from ..records import FloatArray, TileOutcome, TileRef
from .values import KIND, MapTask

UNIT = "m"


@dataclass(frozen=True, kw_only=True)
class TerrainTask(MapTask):
    """A loaded package that answers heights; each tile is worth the same."""

    fill: ClassVar[float] = math.nan
    """What stands for missing heights in its tiles."""

    def __post_init__(self) -> None:
        output = self.package.info.output
        if (output.kind, output.unit, output.channels) != (KIND, UNIT, 1):
            raise EngineError(
                f"{self.package.info.id} answers {output.kind!r} of {output.channels} channels in {output.unit!r}; "
                f"terrain needs a {KIND!r} of one in {UNIT!r}."
            )

    def levels(self, refs: Sequence[TileRef], raw: FloatArray) -> tuple[FloatArray, list[TileOutcome]]:
        """(n, 1, edge, edge) heights in m, and how each tile ended: a tile that cannot be refined fails, with why.

        Raises ``EngineError`` for answers of another shape.
        """
        values, outcomes = super().levels(refs, raw)
        reason = (
            f"{self.package.info.id} cannot refine it: under half of its heights are known, they span more than the "
            "network knows, or one is no height on Earth. Check the elevation model and its nodata value"
        )
        return values, [replace(one, reason=reason) if one.outcome == "failed" else one for one in outcomes]
