"""VHeat C2f: the heat conduction operator of vHeat (Wang et al., 2024) inside C2f, as VMC-DETR's backbone has it.

A map is taken to frequencies by a cosine transform, each frequency decays as heat would let it, and the map is taken
back. Both transforms are products with constant matrices, so the graph needs no operator of its own.
"""

from __future__ import annotations

import math

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .vmc_detr_blocks import C2f

NORM_EPS = 1e-6


def dct_matrix(count: int) -> Tensor:
    """(count, count) orthonormal DCT-II: row n is s_n cos(pi n (i + 0.5) / count).

    >>> [round(value, 4) + 0.0 for value in (dct_matrix(4) @ torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist()]
    [5.0, -2.2304, 0.0, -0.1585]
    """
    n, i = torch.arange(count, dtype=torch.float64)[:, None], torch.arange(count, dtype=torch.float64)[None]
    scale = torch.full((count, 1), math.sqrt(2.0 / count), dtype=torch.float64)
    scale[0] = math.sqrt(1.0 / count)
    return (scale * torch.cos(math.pi * n * (i + 0.5) / count)).float()


def squared_frequency(edge: int) -> Tensor:
    """(edge, edge, 1): wx^2 + wy^2, with w_n = pi n / edge."""
    w2 = (math.pi * torch.arange(edge) / edge) ** 2
    return (w2[:, None] + w2[None])[..., None]


class HeatDecay(nn.Module):
    """exp(-k w^2) of every frequency and channel; k >= 0 is predicted from the frequency value embeddings (FVE).

    Depends on no picture: when deployed it is a constant.
    """

    w2: Tensor

    def __init__(self, channels: int, edge: int) -> None:
        super().__init__()
        self.fve = nn.Parameter(torch.zeros(edge, edge, channels))
        nn.init.trunc_normal_(self.fve, std=0.02)
        self.to_k = nn.Linear(channels, channels)
        self.register_buffer("w2", squared_frequency(edge), persistent=False)

    def forward(self) -> Tensor:
        """(edge, edge, channels), 0..1."""
        return torch.exp(-torch.relu(self.to_k(self.fve)) * self.w2)

    def resize(self, edge: int) -> None:
        """Other sizes: embeddings by bilinear interpolation, frequencies anew (DECISION D4)."""
        moved = nn.functional.interpolate(
            self.fve.data.permute(2, 0, 1)[None], size=(edge, edge), mode="bilinear", align_corners=False
        )
        self.fve = nn.Parameter(moved[0].permute(1, 2, 0).contiguous())
        self.w2 = squared_frequency(edge).to(self.fve.device)


class HeatConduction(nn.Module):
    """The heat conduction operator, gated by a second branch."""

    matrix: Tensor

    def __init__(self, channels: int, edge: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.enter = nn.Linear(channels, 2 * channels)
        self.decay = HeatDecay(channels, edge)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.leave = nn.Linear(channels, channels)
        self.register_buffer("matrix", dct_matrix(edge), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, edge, edge) in, (n, edge, edge, channels) out."""
        u, z = self.enter(self.depthwise(x).permute(0, 2, 3, 1)).chunk(2, -1)
        spread = _both_ways(self.matrix, u) * self.decay()
        back = _both_ways(self.matrix.transpose(0, 1), spread)
        out: Tensor = self.leave(self.norm(back) * nn.functional.silu(z))
        return out

    def resize(self, edge: int) -> None:
        """Take maps of another size from now on."""
        self.decay.resize(edge)
        self.matrix = dct_matrix(edge).to(self.matrix.device)


def _both_ways(matrix: Tensor, x: Tensor) -> Tensor:
    """(n, edge, edge, c) multiplied along rows and along columns."""
    rows = (matrix @ x.flatten(2)).reshape(x.shape)
    return matrix @ rows


class HeatBlock(nn.Module):
    """Heat conduction and a small network, each normalised and added to what came in (post-norm)."""

    def __init__(self, channels: int, edge: int) -> None:
        super().__init__()
        self.conduct = HeatConduction(channels, edge)
        self.norm1 = nn.LayerNorm(channels, eps=NORM_EPS)
        self.ffn = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.Conv2d(4 * channels, channels, 1))
        self.norm2 = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, edge, edge) in and out."""
        x = x + self.norm1(self.conduct(x)).permute(0, 3, 1, 2)
        mixed: Tensor = self.norm2(self.ffn(x).permute(0, 2, 3, 1))
        return x + mixed.permute(0, 3, 1, 2)


class VHeatC2f(C2f):
    """C2f with a HeatBlock in place of its bottleneck."""

    def __init__(self, channels: int, edge: int) -> None:
        super().__init__(channels, HeatBlock(channels // 2, edge))
