"""Joules from a package's profile, for machines that cannot measure any."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..errors import EngineError


@dataclass
class EstimateMeter:
    """Adds up what the profile says each tile costs. Whoever infers tells it so with ``spend``."""

    rails: tuple[str, ...] = ("profile",)
    kind: str = "estimated"
    error_frac: float = math.inf
    _total_j: float = field(default=0.0, init=False)

    def spend(self, tile: int, energy_j_per_tile: float) -> None:
        """Account for ``tile`` tiles. Raises ``EngineError`` for a negative or non-finite cost."""
        spent_j = tile * energy_j_per_tile
        if not 0.0 <= spent_j < float("inf"):
            raise EngineError(f"{tile} tiles at {energy_j_per_tile} J each is no energy. Measure the profile again.")
        self._total_j += spent_j

    def energy_j(self) -> float:
        """All that was spent so far."""
        return self._total_j
