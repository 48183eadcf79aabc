"""InfoNCE over the pairs of a batch, both ways (equation 12, D12)."""

from __future__ import annotations

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor  # noqa: TID253

from .geo_encoder import MAX_SCALE

SMOOTHING = 0.1


def info_nce(query: Tensor, reference: Tensor, scale: Tensor | float, *, smoothing: float = SMOOTHING) -> Tensor:
    """Mean cross-entropy of telling the pairs apart; ``query``, ``reference``: (n, dim) of length 1, pair by pair.

    ``scale`` is 1 / tau, kept at or below 100.
    """
    size = torch.as_tensor(scale, dtype=query.dtype, device=query.device).clamp(max=MAX_SCALE)
    logits = size * (query @ reference.T)
    right = torch.arange(len(query), device=query.device)
    there = F.cross_entropy(logits, right, label_smoothing=smoothing)
    back = F.cross_entropy(logits.T, right, label_smoothing=smoothing)
    return 0.5 * (there + back)
