"""Engines with known answers, for tests: they look at a tile's pixels and nothing else, as a network would."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from exporters.package import ModelPackage
from exporters.records import OutputSpec
from runtime.records import FloatArray, UInt8Array


def package_of(package: ModelPackage, kind: str, classes: tuple[str, ...]) -> ModelPackage:
    """``package`` with another kind of output."""
    info = replace(package.info, output=OutputSpec(name="out", kind=kind), classes=classes)
    return replace(package, info=info)


@dataclass
class SquareFinder:
    """Finds each connected square of pixels whose first band is the brightest value, and whose green band names it."""

    name: str = "squares v1"
    provider: str = "cpu"
    most: int = 64

    def infer(self, batch: UInt8Array) -> FloatArray:
        found = np.zeros((len(batch), self.most, 6), dtype=np.float32)
        for number, tile in enumerate(batch):
            marked = np.where(tile[0] == 255, tile[1], 0)
            for row, mark in enumerate(np.unique(marked[marked > 0])):
                rows, cols = np.nonzero(marked == mark)
                box = cols.min(), rows.min(), cols.max() + 1, rows.max() + 1
                found[number, row] = (*box, 0.5 + len(rows) / 1e5, 0)
        return found

    def close(self) -> None:
        pass


@dataclass
class Inverter:
    """Restores a negative."""

    name: str = "inverter v1"
    provider: str = "cpu"

    def infer(self, batch: UInt8Array) -> FloatArray:
        return (255 - batch).astype(np.float32)

    def close(self) -> None:
        pass


@dataclass
class BrightestBand:
    """Scores of a mask: each pixel belongs to its brightest band."""

    name: str = "mask v1"
    provider: str = "cpu"

    def infer(self, batch: UInt8Array) -> FloatArray:
        return batch.astype(np.float32)

    def close(self) -> None:
        pass
