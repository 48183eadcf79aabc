"""Precision, recall, F1, IoU and kappa of change masks, from one count over every pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels by truth and answer. Where a measure has nothing to divide by it is 0."""

    tp: int
    fp: int
    fn: int
    tn: int

    @staticmethod
    def of(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Counts:
        """Of two masks of one shape."""
        if answer.shape != truth.shape:
            raise ValueError(f"A mask of {answer.shape} cannot be compared with one of {truth.shape}. Cut them alike.")
        tp, said, there = int((answer & truth).sum()), int(answer.sum()), int(truth.sum())
        return Counts(tp, said - tp, there - tp, truth.size - said - there + tp)

    @staticmethod
    def sum(parts: Iterable[Counts]) -> Counts:
        """All pixels of all parts: not the mean of the parts' measures."""
        kept = list(parts)
        return Counts(*(sum(getattr(part, name) for part in kept) for name in ("tp", "fp", "fn", "tn")))

    @property
    def precision(self) -> float:
        """Of what was called change, the share that is."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Of what changed, the share that was found."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """F1 / (2 - F1)."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def kappa(self) -> float:
        """Agreement beyond chance (Cohen, 1960)."""
        n = self.tp + self.fp + self.fn + self.tn
        said, there = self.tp + self.fp, self.tp + self.fn
        chance = _ratio(said * there + (n - said) * (n - there), n * n)
        return _ratio(_ratio(self.tp + self.tn, n) - chance, 1.0 - chance)

    def measures(self, prefix: str = "") -> dict[str, float]:
        """All five by name."""
        return {prefix + name: getattr(self, name) for name in ("precision", "recall", "f1", "iou", "kappa")}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
