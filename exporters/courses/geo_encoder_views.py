"""Views of places as the geo-localisation encoder is trained on them: normalised, reduced, and varied at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

if TYPE_CHECKING:
    from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(views: Tensor) -> Tensor:
    """(n, 3, e, e) of 0..1 as the network wants it."""
    import torch

    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (views - mean) / std


def coloured(views: Tensor, rng: np.random.Generator, strength: float = 0.3) -> Tensor:
    """Brightness, contrast, saturation and white balance of each view changed by up to ``strength``; some turn grey."""
    import torch

    count = len(views)

    def draw(*shape: int, low: float = -strength, high: float = strength) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, *shape)).astype(np.float32))

    grey = views.mean(1, keepdim=True)
    mild = draw(1, 1, 1) + 1.0
    mild = torch.where(torch.from_numpy(rng.random(count) < 0.1)[:, None, None, None], torch.zeros(()), mild)
    views = grey + (views - grey) * mild
    mean = views.mean((1, 2, 3), keepdim=True)
    views = mean + (views - mean) * (1.0 + draw(1, 1, 1))
    balance = 1.0 + 0.5 * draw(3, 1, 1)
    return ((views * balance + 0.5 * draw(1, 1, 1)).clamp(1e-4, 1.0) ** (2.0 ** draw(1, 1, 1))).clamp(0.0, 1.0)


def reduced(pixels: NDArray[np.uint8], edge_px: int) -> NDArray[np.uint8]:
    """(n, 3, E, E) to (n, 3, edge, edge), the mean of what each pixel covers."""
    side = pixels.shape[-1]
    if side == edge_px:
        return pixels
    if side % edge_px:
        raise DatasetError(f"Places of {side} px cannot be reduced evenly to {edge_px} px. Use a divisor of {side}.")
    part = side // edge_px
    blocks = pixels.reshape(*pixels.shape[:2], edge_px, part, edge_px, part)
    out: NDArray[np.uint8] = np.rint(blocks.mean((3, 5))).astype(np.uint8)
    return out


def mirrored(views: Tensor, flip: NDArray[np.bool_]) -> Tensor:
    """(n, 3, rows, cols), left and right exchanged where ``flip`` (n,) says so."""
    import torch

    return torch.where(torch.from_numpy(flip)[:, None, None, None], views.flip(3), views)


def wobbled(views: Tensor, edge_px: int, rng: np.random.Generator) -> Tensor:
    """Each view turned, moved and scaled a little, and reduced to ``edge_px``; ``views`` are larger than that."""
    import torch
    import torch.nn.functional as F

    count = len(views)
    angle, zoom = np.deg2rad(rng.uniform(-8.0, 8.0, count)), rng.uniform(0.8, 0.95, count)
    theta = np.zeros((count, 2, 3), dtype=np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom * np.cos(angle)
    theta[:, 0, 1], theta[:, 1, 0] = -zoom * np.sin(angle), zoom * np.sin(angle)
    theta[:, :, 2] = rng.uniform(-0.08, 0.08, (count, 2))
    side = 2 * edge_px
    grid = F.affine_grid(torch.from_numpy(theta), [count, 3, side, side], align_corners=False)
    return F.avg_pool2d(F.grid_sample(views, grid, padding_mode="reflection", align_corners=False), 2)
