"""The loss of ACR: the answer's cross-entropy, and the router's, which the answer cannot teach (D7)."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: TID253
from torch import Tensor  # noqa: TID253

TYPE_WEIGHT = 1.0


def acr_loss(answer_logits: Tensor, type_logits: Tensor, answer: Tensor, is_open: Tensor) -> dict[str, Tensor]:
    """Logits (n, answers) and (n, 2), answer (n,) int64, -1 where it is none of the answers; is_open (n,) bool."""
    answered = F.cross_entropy(answer_logits, answer, ignore_index=-1)
    sorted_ = F.cross_entropy(type_logits, is_open.long())
    return {"loss": answered + TYPE_WEIGHT * sorted_, "answer": answered, "type": sorted_}
