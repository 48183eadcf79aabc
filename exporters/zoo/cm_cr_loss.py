"""What CM-CR's teacher and student minimise (equations 6 to 12, in the card's terms)."""

from __future__ import annotations

from collections.abc import Callable

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

from .cm_cr import SIGMA_DATA

LEVEL_MEAN, LEVEL_STD = -1.2, 1.2
"""Of ln t, the noise levels that the teacher learns on (Karras et al., NeurIPS 2022, table 1)."""
Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t, t, sar) to the clear image."""


def teacher_weight(t: Tensor) -> Tensor:
    """lambda(t) = (t^2 + 0.25) / (0.5 t)^2, so that every level counts alike.

    >>> float(teacher_weight(torch.tensor(0.5)))
    8.0
    """
    return (t**2 + SIGMA_DATA**2) / (SIGMA_DATA * t) ** 2


def teacher_loss(denoise: Denoise, clear: Tensor, sar: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """Mean of lambda(t) |D(x + t z, t, sar) - x|^2 over pixels and images; ``z``: (n, 3, h, w), ``t``: (n,)."""
    noisy = clear + t[:, None, None, None] * z
    error = ((denoise(noisy, t, sar) - clear) ** 2).mean(dim=(1, 2, 3))
    return (teacher_weight(t) * error).mean()


def heun_step(denoise: Denoise, x: Tensor, t: Tensor, below: Tensor, sar: Tensor) -> Tensor:
    """One step of the teacher's ODE dx/dt = (x - D(x, t)) / t from ``t`` down to ``below``, (n,) each, second order."""
    here, there = t[:, None, None, None], below[:, None, None, None]
    slope = (x - denoise(x, t, sar)) / here
    euler = x + (there - here) * slope
    beyond = (euler - denoise(euler, below, sar)) / there
    return x + (there - here) * 0.5 * (slope + beyond)


def distillation_loss(
    student: Denoise, target: Denoise, teacher: Denoise, clear: Tensor, sar: Tensor, z: Tensor, t: Tensor, below: Tensor
) -> Tensor:
    """|G(x_{n+1}) - G_ema(x_n)|^2, mean over pixels; x_{n+1} = clear + t z, x_n one Heun step below it (D12, D13)."""
    noisy = clear + t[:, None, None, None] * z
    with torch.no_grad():
        wanted = target(heun_step(teacher, noisy, t, below, sar), below, sar)
    return ((student(noisy, t, sar) - wanted) ** 2).mean()
