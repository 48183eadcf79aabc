"""Cross-entropy and self-distillation of Hybrid-SegUFormer (specs/10-hybrid-segufomer.md, section 3).

The teacher is a running average of the student. It is never trained, and never part of a checkpoint.
"""

from __future__ import annotations

import copy

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

CONSISTENCY, SLOWEST = 0.1, 0.99


def segmentation_loss(
    student: Tensor, truth: Tensor, *, teacher: Tensor | None = None, valid: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of the logits, plus a tenth of the mean squared difference to the teacher's probability.

    Pixels that are not ``valid`` (no data) count nowhere.
    """
    weight = torch.ones_like(truth) if valid is None else valid.to(truth.dtype)
    many = weight.sum().clamp(min=1.0)
    loss = (functional.binary_cross_entropy_with_logits(student, truth, reduction="none") * weight).sum() / many
    if teacher is None:
        return loss
    apart = (torch.sigmoid(student) - torch.sigmoid(teacher.detach())) ** 2
    return loss + CONSISTENCY * (apart * weight).sum() / many


class Teacher:
    """Follows a student. ``step`` after every step of the optimiser, or before the next: the same."""

    def __init__(self) -> None:
        self.network: nn.Module | None = None
        self.steps = 0

    def step(self, student: nn.Module) -> nn.Module:
        """The teacher, moved towards ``student``: at first a copy of it, later by a hundredth a step."""
        if self.network is None:
            self.network = copy.deepcopy(student).requires_grad_(False).eval()
        else:
            self.steps += 1
            move_teacher(self.network, student, min(SLOWEST, 1.0 - 1.0 / (self.steps + 1)))
        return self.network


def move_teacher(teacher: nn.Module, student: nn.Module, alpha: float) -> None:
    """Weights become ``alpha`` of themselves and the rest of the student's; statistics of normalisation are copied."""
    with torch.no_grad():
        for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.mul_(alpha).add_(theirs, alpha=1.0 - alpha)
        for kept, seen in zip(teacher.buffers(), student.buffers(), strict=True):
            kept.copy_(seen)
