"""What CAB-HL is measured against: one pixel, no neighbours, no deep network.

A least-squares support vector machine (Suykens and Vandewalle, Neural Processing Letters 9, 1999): Gaussian kernel, one
class against the others, width and ridge chosen on data held back from training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
WIDTHS, RIDGES = (0.25, 0.5, 1.0, 2.0), (0.01, 0.1, 1.0)
"""Kernel widths as shares of the median distance, ridges as shares of the kernel's diagonal."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelMachine:
    """``answer`` is the class whose function is the highest."""

    support: Float64Array
    weights: Float64Array
    gamma: float

    def answer(self, features: Float64Array) -> Int64Array:
        """(n,) classes from 0 of (n, features)."""
        kernel = np.exp(-self.gamma * _squared(features, self.support))
        best: Int64Array = np.argmax(kernel @ self.weights, axis=1).astype(np.int64)
        return best


def fit_kernel_machine(
    train: tuple[Float64Array, Int64Array], held: tuple[Float64Array, Int64Array], classes: int
) -> KernelMachine:
    """The machine that is right most often on ``held``; features (n, features), labels (n,) from 0."""
    features, labels = train
    signs = np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)
    distance = _squared(features, features)
    median = float(np.median(distance[distance > 0])) if (distance > 0).any() else 1.0
    best: tuple[float, KernelMachine] | None = None
    for width in WIDTHS:
        gamma = 1.0 / (2.0 * width**2 * median)
        kernel = np.exp(-gamma * distance)
        for ridge in RIDGES:
            weights: Float64Array = np.linalg.solve(kernel + ridge * np.eye(len(kernel)), signs).astype(np.float64)
            machine = KernelMachine(features, weights, gamma)
            right = float((machine.answer(held[0]) == held[1]).mean())
            if best is None or right > best[0]:
                best = right, machine
    assert best is not None
    return best[1]


def _squared(one: Float64Array, other: Float64Array) -> Float64Array:
    """(n, m) squared distances."""
    lengths = (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1)
    squared: Float64Array = np.maximum(lengths - 2.0 * one @ other.T, 0.0)
    return squared
