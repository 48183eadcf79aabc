"""What quantising does to the answers of a network, as one number by kind of output: what a sweep ranks layers by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .metrics.boxes import overlaps

Answers = NDArray[np.float32]
MIN_SCORE = 0.05
"""Boxes with less are not looked at: their order alone changes with every rounding."""

ENDLESS = float(np.finfo(np.float32).max)
"""Of answers that are no numbers: worse than all that are, and JSON can hold it."""


def damage(source: Answers, answers: Answers, kind: str) -> float:
    """How far ``answers`` are from those of the ``source``, (n, ...) both; 0 where they are equal.

    An answer that is no number counts as ``ENDLESS``.

    Boxes: the share of the scores, of both sides, that finds no box of its class in the same place with the same score;
    0 to 1, whatever order they stand in. Other kinds: the mean L1 change of a tile's answer.
    """
    if not np.isfinite(answers).all():
        return ENDLESS
    if kind == "boxes":
        return _lost(source, answers)
    return float(np.abs(answers - source).reshape(len(answers), -1).sum(1).mean())


def scale_of(answers: Answers, kind: str) -> float:
    """What a relative bar of damage is multiplied by: the mean L1 of an answer (of probabilities 1), and 3 for boxes.

    A box must find its like in place, class and score, so that a damage of 0.045 costs a detector half a point of AP.
    """
    return 3.0 if kind == "boxes" else float(np.abs(answers).reshape(len(answers), -1).sum(1).mean())


def _lost(source: Answers, answers: Answers) -> float:
    found = whole = 0.0
    for ours, theirs in zip(source, answers, strict=True):
        one, other = (boxes[boxes[:, 4] > MIN_SCORE] for boxes in (ours, theirs))
        whole += float(one[:, 4].sum() + other[:, 4].sum())
        if not len(one) or not len(other):
            continue
        low, high = (pick(one[:, None, 4], other[None, :, 4]) for pick in (np.minimum, np.maximum))
        alike = overlaps(one, other) * (one[:, None, 5] == other[None, :, 5]) * (low / high)
        found += float((one[:, 4] * alike.max(1)).sum() + (other[:, 4] * alike.max(0)).sum())
    return 1.0 - found / whole if whole else 0.0
