"""The loss of ACF (equation 15 with the sign of its negative term put right, D8 and D9)."""

from __future__ import annotations

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor  # noqa: TID253

MARGIN = 0.2


def triplet(scores: Tensor, margin: float = MARGIN, *, sign: float = 1.0) -> Tensor:
    """Hinge over all wrong pairs of a batch, both ways, divided by the batch.

    ``scores``: (b, b), picture i beside text j, right pairs on the diagonal, no picture twice. ``sign`` -1 is the
    printed form, which rewards wrong pairs; for the negative control alone.
    """
    right = scores.diagonal()
    per_row = F.relu(margin + sign * (scores - right[:, None]))
    per_col = F.relu(margin + sign * (scores - right[None, :]))
    wrong = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return (per_row[wrong].sum() + per_col[wrong].sum()) / len(scores)


def acf_loss(score: Tensor, sim_g: Tensor, *, global_loss: bool = True) -> Tensor:
    """The hinge on the score, and the same on the global cosine."""
    return triplet(score) + triplet(sim_g) if global_loss else triplet(score)
