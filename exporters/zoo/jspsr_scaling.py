"""Heights in metres above a tile's lowest one, and what JSPSR sees of them (specs/11-jspsr.md, section 2.1)."""

from __future__ import annotations

import math

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

LOW_M, HIGH_M = -80.0, 929.0
"""The published constants at 8 m; at 3 m the upper one is 933."""
SCALINGS = ("log", "linear")


def scaled(height_m: Tensor, *, scaling: str = "log", low_m: float = LOW_M, high_m: float = HIGH_M) -> Tensor:
    """0 at 1 m above ``low_m`` (linear: at ``low_m``), 1 at ``high_m``; what lies lower is taken to lie there.

    >>> round(float(scaled(torch.tensor(100.0))), 6)
    0.750784
    """
    above = height_m - low_m
    if scaling == "linear":
        return above / (high_m - low_m)
    return torch.log(above.clamp(min=1.0)) / math.log(high_m - low_m)


def unscaled(share: Tensor, *, scaling: str = "log", low_m: float = LOW_M, high_m: float = HIGH_M) -> Tensor:
    """The inverse."""
    if scaling == "linear":
        return share * (high_m - low_m) + low_m
    return torch.exp(share * math.log(high_m - low_m)) + low_m
