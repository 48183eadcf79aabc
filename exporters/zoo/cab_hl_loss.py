"""Cross-entropy with the weights that uneven classes ask for (specs/09-hsi-lidar.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253
from torch.nn import functional  # noqa: TID253

WEIGHTS = ("none", "sqrt-inverse-frequency")


def class_weights(counts: Sequence[int], how: str = "none") -> Tensor:
    """(classes,) weights whose mean over the training pixels is 1; a class without pixels gets 0.

    >>> class_weights([1, 4], "sqrt-inverse-frequency").tolist()  # 1 / 1 and 1 / 2, times 5 / 3
    [1.6666666269302368, 0.8333333134651184]
    """
    if how not in WEIGHTS:
        raise ValueError(f"Classes cannot be weighted by {how!r}. Use one of {WEIGHTS}.")
    many = torch.tensor(counts, dtype=torch.float32)
    raw = torch.where(many > 0, many.clamp(min=1).rsqrt() if how != "none" else torch.ones_like(many), 0.0)
    return raw * many.sum() / (raw * many).sum()


def land_cover_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over the patches of the weighted cross-entropy; ``labels`` from 0."""
    return (functional.cross_entropy(logits, labels, reduction="none") * weights[labels]).mean()
