"""The seam between the pipeline and whatever runs a network, and the self-test of every engine after a load."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from exporters.package import ModelPackage

from ..errors import EngineError
from ..records import FloatArray, TileArray


class Engine(Protocol):
    """One loaded network. Answers depend on the tiles alone; several threads may ask at once."""

    @property
    def name(self) -> str:
        """Which package this is: id and version."""
        ...

    @property
    def provider(self) -> str:
        """What really runs it, such as ``cpu``, ``cuda`` or ``tensorrt``."""
        ...

    def infer(self, batch: TileArray) -> FloatArray:
        """(n, bands, edge, edge) in, uint8 or float32 as the package's input says, (n, ...) float32 out, NaN included.

        Raises ``EngineError`` if the run fails.
        """
        ...

    def close(self) -> None:
        """Give memory and processes back. Nothing may be asked of it afterwards; closing twice is fine."""
        ...


def self_test(engine: Engine, package: ModelPackage) -> None:
    """Run the package's golden tiles. Raises ``EngineError`` if the answers are not those of the export."""
    golden = package.golden_for(engine.provider)
    difference = golden.mismatch(engine.infer(np.ascontiguousarray(golden.tiles)))
    if difference is not None:
        raise EngineError(
            f"{engine.name} on {engine.provider} fails its self-test: {difference}. "
            "Reload it; if it fails again, take the package from its source or use another provider."
        )
