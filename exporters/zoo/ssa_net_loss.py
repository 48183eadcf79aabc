"""SSA-Net's loss: binary cross-entropy plus Dice with squared sums (specs/08-building-change.md, section 3)."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253
from torch.nn import functional  # noqa: TID253


def dice_loss(probability: Tensor, truth: Tensor, *, eps: float = 1e-6) -> Tensor:
    """1 - 2 sum(p y) / (sum y^2 + sum p^2 + eps) per image of (n, ...), averaged; 1 where nothing is to be found."""
    p, y = probability.flatten(1), truth.flatten(1)
    return (1 - 2 * (p * y).sum(1) / (y.square().sum(1) + p.square().sum(1) + eps)).mean()


def change_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy plus Dice of (n, 1, rows, cols) logits against 0 or 1."""
    entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    return entropy + dice_loss(torch.sigmoid(logits), truth)
