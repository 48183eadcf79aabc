"""Hybrid-SegUFormer: slopes that move in a line-of-sight velocity image (specs/10-hybrid-segufomer.md, section 2).

A transformer encoder at 1/2 to 1/16 of the size, a U-Net decoder, and a multi-scale decoder (MSD) that adds up what
every scale says. Full attention over all pixels of a scale: its score matrix is computed in strips of ``chunk`` rows,
which changes nothing but the memory it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .hybrid_segufomer_unet import UNet, double_conv

ENCODERS = ("transformer", "convolution")
_RATIOS = (1, 2, 5, 8)
STRIDE = 16
"""Rows and columns are multiples of it."""


class MHSA(nn.Module):
    """Multi-head self-attention over all tokens: no reduction, no positions. ``chunk`` 0 keeps the whole matrix."""

    def __init__(self, width: int, heads: int, chunk: int = 0) -> None:
        super().__init__()
        self.heads, self.chunk = heads, chunk
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens, width) in and out."""
        many, width = tokens.shape[1:]
        query, key, value = (
            made(tokens).reshape(-1, many, self.heads, width // self.heads).transpose(1, 2)
            for made in (self.query, self.key, self.value)
        )
        mixed = attend(query, key, value, self.chunk).transpose(1, 2).reshape(-1, many, width)
        return self.out(mixed)  # type: ignore[no-any-return]


def attend(query: Tensor, key: Tensor, value: Tensor, chunk: int = 0) -> Tensor:
    """Softmax of scaled products, (n, heads, tokens, d) each; the query is scaled first, as engines fuse it.

    With ``chunk`` so many rows of scores exist at a time: exact, since softmax works row by row.
    """
    query, key = query * query.shape[-1] ** -0.5, key.transpose(-2, -1)
    strips = torch.split(query, chunk, dim=2) if 0 < chunk < query.shape[2] else (query,)
    return torch.cat([torch.softmax(strip @ key, dim=-1) @ value for strip in strips], dim=2)


class Block(nn.Module):
    """Attention and a two-layer network, each behind a normalisation and beside a short cut."""

    def __init__(self, width: int, heads: int, *, ffn: int = 2, chunk: int = 0) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), MHSA(width, heads, chunk)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, ffn * width), nn.GELU(), nn.Linear(ffn * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens, width) in and out."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.ffn(self.norm2(tokens))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """One level of the encoder: a convolution that halves the size, then blocks over its pixels."""

    def __init__(self, channels_in: int, width: int, heads: int, depth: int, **block: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels_in, width, 3, 2, 1), nn.BatchNorm2d(width), nn.GELU())
        self.blocks = nn.ModuleList(Block(width, heads, **block) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, rows, cols) in, (n, width, rows / 2, cols / 2) out."""
        y: Tensor = self.stem(x)
        if not self.blocks:
            return y
        tokens = y.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.transpose(1, 2).reshape(-1, y.shape[1], y.shape[2], y.shape[3])


class ConvolutionStage(nn.Module):
    """The ablation's level: the same halving, then two convolutions as in a U-Net."""

    def __init__(self, channels_in: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels_in, width, 3, 2, 1), nn.BatchNorm2d(width), nn.GELU())
        self.body = double_conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """As ``Stage``."""
        return self.body(self.stem(x))  # type: ignore[no-any-return]


class HybridSegUFormer(nn.Module):
    """Logit of deformation for each pixel. Defaults are the published network (12,552,513 parameters).

    Ablations: ``encoder`` "convolution" has no attention, ``multi_scale`` False reads the last map alone, ``raw`` False
    does not show the input to the last stage again. ``chunk``: rows of scores computed at a time, 0 for all.
    """

    def __init__(
        self,
        width: int = 64,
        *,
        bands: int = 3,
        depths: Sequence[int] = (1, 2, 2, 2),
        ffn: int = 2,
        chunk: int = 1024,
        encoder: str = "transformer",
        multi_scale: bool = True,
        raw: bool = True,
    ) -> None:
        super().__init__()
        if encoder not in ENCODERS or len(depths) != len(_RATIOS):
            raise ValueError(f"Hybrid-SegUFormer has no encoder {encoder!r} of depths {tuple(depths)}; use {ENCODERS}")
        self.raw = raw
        widths = [width * ratio for ratio in _RATIOS]
        inner = {"ffn": ffn, "chunk": chunk}
        self.encoder = nn.ModuleList(
            Stage(before, here, ratio, depth, **inner) if encoder == "transformer" else ConvolutionStage(before, here)
            for (before, here), ratio, depth in zip(pairwise([bands, *widths]), _RATIOS, depths, strict=True)
        )
        sources, targets = [widths[3], widths[2], widths[1], width], [widths[2], widths[1], width, width]
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in zip(sources, targets, strict=True))
        beside = [widths[2], widths[1], width, width + (bands if raw else 0)]
        self.decoder = nn.ModuleList(double_conv(b + c, b) for b, c in zip(targets, beside, strict=True))
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.msd = MSD(targets, width) if multi_scale else None
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(n, bands, rows, cols) in 0..1, rows and cols multiples of 16; (n, 1, rows, cols) logits out."""
        rows, cols = image.shape[2:]
        if rows % STRIDE or cols % STRIDE:
            raise ValueError(f"Hybrid-SegUFormer takes rows and columns in multiples of {STRIDE}, not {rows} x {cols}.")
        features, x = [], image
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        maps = self.decode(features, image)
        return self.head(maps[-1] if self.msd is None else self.msd(maps))  # type: ignore[no-any-return]

    def decode(self, features: Sequence[Tensor], image: Tensor) -> list[Tensor]:
        """D4 (1/8 of the size), D3, D2 and D1 (the full size), from F1..F4 and the image."""
        again = self.grow(features[0])
        last = torch.cat([again, image], dim=1) if self.raw else again
        x, maps = features[3], []
        for up, conv, skip in zip(self.up, self.decoder, (features[2], features[1], features[0], last), strict=True):
            x = conv(torch.cat([up(x), skip], dim=1))
            maps.append(x)
        return maps


class MSD(nn.Module):
    """Each scale's map brought to one width and the full size, then fused."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(many, width, 1) for many in channels)
        self.grow = nn.ModuleList(
            nn.Upsample(scale_factor=2 ** (3 - level), mode="bilinear", align_corners=False)
            if level < 3
            else nn.Identity()
            for level in range(4)
        )
        self.fuse = nn.Sequential(nn.Conv2d(4 * width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """D4, D3, D2 and D1 in, (n, width, rows, cols) out."""
        grown = [g(p(m)) for g, p, m in zip(self.grow, self.project, maps, strict=True)]
        return self.fuse(torch.cat(grown, dim=1))  # type: ignore[no-any-return]


def segmenter(width: int = 64, *, baseline: str = "", **switches: Any) -> nn.Module:
    """The network, or its baseline: ``baseline`` "unet" is a plain U-Net of half the width, without switches."""
    if baseline not in ("", "unet"):
        raise ValueError(f"there is no baseline {baseline!r}; use 'unet'")
    if baseline:
        return UNet(width // 2, **switches)
    return HybridSegUFormer(width, **switches)
