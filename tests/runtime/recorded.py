"""Engines with known answers, for tests: they look at a tile's pixels and nothing else, as a network would."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exporters.package import ModelPackage
from exporters.records import OutputSpec
from runtime.errors import EngineError
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


@dataclass
class MoodyEngine:
    """Answers the mean of each tile; the first pixel of a batch orders it to hang, abort, exit or fail.

    With ``once``, a file that is not there yet, it does so a single time.
    """

    once: Path | None = None
    name: str = "moody v1"
    provider: str = "cpu"

    def infer(self, batch: UInt8Array) -> FloatArray:
        order = int(batch[0, 0, 0, 0])
        if order in ORDERS and (self.once is None or not self.once.exists()):
            if self.once is not None:
                self.once.touch()
            ORDERS[order]()
        return batch.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)[:, None]

    def close(self) -> None:
        pass


def fail() -> None:
    raise EngineError("it would not. Ask again.")


ORDERS = {251: lambda: time.sleep(600), 252: os.abort, 253: lambda: os._exit(3), 254: fail}
HANG, ABORT, EXIT, FAIL = ORDERS


def open_moody(once: Path | None = None) -> MoodyEngine:
    return MoodyEngine(once)


def open_nothing(reason: str) -> MoodyEngine:
    raise EngineError(reason)


def die() -> MoodyEngine:
    os.abort()
