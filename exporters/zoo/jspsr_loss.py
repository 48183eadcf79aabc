"""JSPSR's loss in the scaled domain: L1 + L2 + a tenth of the difference of edges (specs/11-jspsr.md, section 3)."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253
from torch.nn import functional  # noqa: TID253

_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
EDGE_WEIGHT = 0.1


def sobel(heights: Tensor) -> Tensor:
    """(n, 1, rows, cols) in, (n, 2, rows, cols) out: change to the right and downwards, kernels divided by 8."""
    across = torch.tensor(_SOBEL, dtype=heights.dtype, device=heights.device) / 8
    kernels = torch.stack([across, across.T])[:, None]
    return functional.conv2d(functional.pad(heights, (1, 1, 1, 1), mode="replicate"), kernels)


def height_loss(found: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """``loss`` and its three parts, all means over (n, 1, rows, cols)."""
    difference = found - truth
    parts = {
        "l1": difference.abs().mean(),
        "l2": difference.square().mean(),
        "edges": (sobel(found) - sobel(truth)).abs().mean(),
    }
    return {"loss": parts["l1"] + parts["l2"] + EDGE_WEIGHT * parts["edges"], **parts}
