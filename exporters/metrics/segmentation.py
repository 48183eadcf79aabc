"""Land-cover maps by OA, AA and kappa from a confusion matrix; masks by accuracy, F1 and IoU where there is data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .change import Counts

Int64Array = NDArray[np.int64]


def confusion(truth: Int64Array, answer: Int64Array, classes: int) -> Int64Array:
    """(classes, classes) pixels, rows by truth. Labels from 0; a negative truth is unlabelled and left out."""
    if truth.shape != answer.shape:
        raise ValueError(f"Labels of {truth.shape} cannot be compared with answers of {answer.shape}. Cut them alike.")
    known = truth >= 0
    pairs = truth[known] * classes + answer[known]
    return np.bincount(pairs, minlength=classes * classes).astype(np.int64).reshape(classes, classes)


def land_cover_measures(matrix: Int64Array, prefix: str = "") -> dict[str, float]:
    """``oa``: right of all; ``aa``: mean recall of the classes that occur; ``kappa``: agreement beyond chance (Cohen).

    >>> [round(value, 6) for value in land_cover_measures(np.array([[50, 2, 3], [4, 30, 1], [0, 5, 5]])).values()]
    [0.85, 0.755411, 0.734278]
    """
    total, truths = float(matrix.sum()), matrix.sum(axis=1)
    if total == 0:
        return {prefix + name: 0.0 for name in ("oa", "aa", "kappa")}
    occurs = truths > 0
    oa = float(np.trace(matrix)) / total
    chance = float((truths * matrix.sum(axis=0)).sum()) / total**2
    kappa = (oa - chance) / (1.0 - chance) if chance < 1.0 else 0.0
    aa = float((np.diag(matrix)[occurs] / truths[occurs]).mean())
    return {prefix + "oa": oa, prefix + "aa": aa, prefix + "kappa": kappa}


def mask_counts(answer: NDArray[np.bool_], truth: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None) -> Counts:
    """Pixels by truth and answer; those that are not ``valid`` (no data) count nowhere."""
    return Counts.of(answer, truth) if valid is None else Counts.of(answer[valid], truth[valid])


def mask_measures(counts: Counts, prefix: str = "") -> dict[str, float]:
    """Accuracy, precision, recall, F1 and IoU of the positive class from one count over every pixel.

    >>> {name: round(value, 6) for name, value in mask_measures(Counts(80, 10, 20, 890)).items()}
    {'accuracy': 0.97, 'precision': 0.888889, 'recall': 0.8, 'f1': 0.842105, 'iou': 0.727273}
    """
    total = counts.tp + counts.fp + counts.fn + counts.tn
    accuracy = (counts.tp + counts.tn) / total if total else 0.0
    more = {name: getattr(counts, name) for name in ("precision", "recall", "f1", "iou")}
    return {prefix + name: value for name, value in {"accuracy": accuracy, **more}.items()}
