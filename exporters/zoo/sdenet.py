"""SDENet: background reconstruction of hyperspectral cubes (specs/02-sdenet.md, section 2).

A U-shaped autoencoder of two scales whose blocks are cross-shaped windows (CSWin) and whose bottleneck is a
variational mapping. What it cannot reconstruct is anomalous; the score itself is worked out from the residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

PAD_PX = 4
BLOCKS = ("cswin", "swin", "none")
_SWIN_WINDOW_PX = 4


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (n, channels, rows, cols)."""

    def forward(self, input: Tensor) -> Tensor:
        """Same shape in and out."""
        normed: Tensor = super().forward(input.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)


class LocalPosition(nn.Conv2d):
    """LePE: a depthwise 3 x 3 convolution of the values inside each stripe, with zeros beyond it."""

    def __init__(self, channels: int, stripe: int, *, vertical: bool) -> None:
        super().__init__(channels, channels, 3, 1, 1, groups=channels)
        self.stripe, self.vertical = stripe, vertical

    def forward(self, input: Tensor) -> Tensor:
        """Same shape in and out. A stripe of one pixel sees only the kernel's middle column (or row)."""
        _, channels, rows, cols = input.shape
        s, v = self.stripe, input
        if s == 1:
            middle, pad = (self.weight[..., 1:2], (1, 0)) if self.vertical else (self.weight[..., 1:2, :], (0, 1))
            return functional.conv2d(v, middle, self.bias, padding=pad, groups=channels)
        if self.vertical:
            stripes = v.reshape(-1, channels, rows, cols // s, s).permute(0, 3, 1, 2, 4)
            found = super().forward(stripes.reshape(-1, channels, rows, s)).reshape(-1, cols // s, channels, rows, s)
            return found.permute(0, 2, 3, 1, 4).reshape(-1, channels, rows, cols)
        stripes = v.reshape(-1, channels, rows // s, s, cols).permute(0, 2, 1, 3, 4)
        found = super().forward(stripes.reshape(-1, channels, s, cols)).reshape(-1, rows // s, channels, s, cols)
        return found.permute(0, 2, 1, 3, 4).reshape(-1, channels, rows, cols)


class StripeAttention(nn.Module):
    """Attention inside stripes, ``stripe`` px wide and as long as the map, with LePE inside each stripe."""

    def __init__(self, channels: int, heads: int, stripe: int, *, vertical: bool) -> None:
        super().__init__()
        self.heads, self.stripe, self.vertical = heads, stripe, vertical
        self.scale = (channels // heads) ** -0.5
        self.lepe = LocalPosition(channels, stripe, vertical=vertical)

    def forward(self, qkv: Tensor) -> Tensor:
        """(n, 3, channels, rows, cols) in, (n, channels, rows, cols) out."""
        _, _, channels, rows, cols = qkv.shape
        part = self._split(qkv, self.heads, channels // self.heads, rows, cols)
        q, k, v = part[0], part[1], part[2]
        attended = torch.softmax((q * self.scale) @ k.transpose(-2, -1), dim=-1) @ v
        return self._join(attended, channels, rows, cols) + self.lepe(qkv[:, 2])  # type: ignore[no-any-return]

    def _split(self, x: Tensor, heads: int, depth: int, rows: int, cols: int) -> Tensor:
        """(3, n, stripes, heads, pixels of a stripe, depth)."""
        s = self.stripe
        if self.vertical:
            parts = x.reshape(-1, 3, heads, depth, rows, cols // s, s).permute(1, 0, 5, 2, 4, 6, 3)
            return parts.reshape(3, -1, cols // s, heads, rows * s, depth)
        parts = x.reshape(-1, 3, heads, depth, rows // s, s, cols).permute(1, 0, 4, 2, 5, 6, 3)
        return parts.reshape(3, -1, rows // s, heads, s * cols, depth)

    def _join(self, x: Tensor, channels: int, rows: int, cols: int) -> Tensor:
        s, depth = self.stripe, channels // self.heads
        if self.vertical:
            parts = x.reshape(-1, cols // s, self.heads, rows, s, depth).permute(0, 2, 5, 3, 1, 4)
        else:
            parts = x.reshape(-1, rows // s, self.heads, s, cols, depth).permute(0, 2, 5, 1, 3, 4)
        return parts.reshape(-1, channels, rows, cols)


class WindowAttention(nn.Module):
    """Attention inside square windows (Liu et al., ICCV 2021), for the ablation without cross-shaped windows."""

    def __init__(self, channels: int, heads: int, shift_px: int) -> None:
        super().__init__()
        self.heads, self.shift_px, window = heads, shift_px, _SWIN_WINDOW_PX
        self.scale = (channels // heads) ** -0.5
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        offset = place[:, :, None] - place[:, None, :] + window - 1
        self.register_buffer("index", offset[0] * (2 * window - 1) + offset[1], persistent=False)

    def forward(self, qkv: Tensor) -> Tensor:
        """(n, 3, channels, rows, cols) in, (n, channels, rows, cols) out. Shifted windows wrap around unmasked."""
        _, _, channels, rows, cols = qkv.shape
        w, h, d, s = _SWIN_WINDOW_PX, self.heads, channels // self.heads, self.shift_px
        x = torch.roll(qkv, (-s, -s), (3, 4)) if s else qkv
        x = x.reshape(-1, 3, h, d, rows // w, w, cols // w, w).permute(1, 0, 4, 6, 2, 5, 7, 3)
        q, k, v = x.reshape(3, -1, h, w * w, d)
        index: Any = self.index
        attended = torch.softmax((q * self.scale) @ k.transpose(-2, -1) + self.bias[index].permute(2, 0, 1), dim=-1) @ v
        x = attended.reshape(-1, rows // w, cols // w, h, w, w, d).permute(0, 3, 6, 1, 4, 2, 5)
        x = x.reshape(-1, channels, rows, cols)
        return torch.roll(x, (s, s), (2, 3)) if s else x


class CSWin(nn.Module):
    """Pre-norm block: half of the channels attend in vertical stripes, half in horizontal ones; then an MLP."""

    def __init__(self, channels: int, heads: int, stripe: int, *, mlp_ratio: int = 2) -> None:
        super().__init__()
        half, self.channels = channels // 2, channels
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.qkv, self.project = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        self.vertical = StripeAttention(half, heads // 2, stripe, vertical=True)
        self.horizontal = StripeAttention(half, heads // 2, stripe, vertical=False)
        self.mlp = _mlp(channels, mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, rows, cols) in and out; rows and cols are multiples of the stripe."""
        rows, cols = x.shape[2:]
        halves = self.qkv(self.norm1(x)).reshape(-1, 3, 2, self.channels // 2, rows, cols)
        crossed = torch.cat([self.vertical(halves[:, :, 0]), self.horizontal(halves[:, :, 1])], dim=1)
        x = x + self.project(crossed)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Swin(nn.Module):
    """One block of plain or shifted windows, MLP ratio 4: what the lineage has in place of ``CSWin``."""

    def __init__(self, channels: int, heads: int, shift_px: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.qkv, self.project = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        self.attention = WindowAttention(channels, heads, shift_px)
        self.mlp = _mlp(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, rows, cols) in and out; rows and cols are multiples of 4."""
        qkv = self.qkv(self.norm1(x)).reshape(-1, 3, self.channels, *x.shape[2:])
        x = x + self.project(self.attention(qkv))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class VariationalMapping(nn.Module):
    """A narrow Gaussian code per pixel: sampled in training, its mean otherwise.

    The paper calls the second branch a variance; it is a log-scale.
    """

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.mu, self.log_scale = nn.Conv2d(channels, latent, 1), nn.Conv2d(channels, latent, 1)
        self.back = nn.Conv2d(latent, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, rows, cols) in and out. Noise comes from torch's current seed."""
        z = self.mu(x)
        if self.training:
            z = z + torch.exp(self.log_scale(x).clamp(-10.0, 5.0)) * torch.randn_like(z)
        return self.back(z)  # type: ignore[no-any-return]


class SDENet(nn.Module):
    """The background of a cube. Defaults are the published network (342,368 parameters).

    ``block`` "swin" and ``variational`` False are the paper's ablations, ``block`` "none" leaves attention out;
    ``global_residual`` adds the input to the output as the lineage does. Rows and columns plus 8 must be multiples of 4
    (of 8 for ``block`` "swin").
    """

    def __init__(
        self,
        bands: int = 50,
        width: int = 32,
        latent: int = 32,
        *,
        heads: Sequence[int] = (2, 4),
        stripes: Sequence[int] = (1, 2),
        block: str = "cswin",
        variational: bool = True,
        global_residual: bool = False,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"SDENet has no block {block!r}. Use one of {BLOCKS}.")
        d0, d1, d2 = width, 2 * width, 4 * width
        self.bands, self.global_residual = bands, global_residual
        self.embed = nn.Conv2d(bands, d0, 3, 1, 1, bias=False)
        self.enc0, self.enc1 = (_block(block, c, h, s) for c, h, s in zip((d0, d1), heads, stripes, strict=True))
        self.down0 = nn.Conv2d(d0, d1, 4, 2, 1, bias=False)
        self.down1 = nn.Conv2d(d1, d2, 4, 2, 1, bias=False)
        self.bottleneck = VariationalMapping(d2, latent) if variational else _block(block, d2, 2 * heads[1], stripes[1])
        self.up1, self.fuse1 = nn.ConvTranspose2d(d2, d1, 2, 2), nn.Conv2d(2 * d1, d1, 1, bias=False)
        self.up0, self.fuse0 = nn.ConvTranspose2d(d1, d0, 2, 2), nn.Conv2d(2 * d0, d0, 1, bias=False)
        self.dec0, self.dec1 = (_block(block, c, h, s) for c, h, s in zip((d0, d1), heads, stripes, strict=True))
        self.map = nn.Conv2d(d0, bands, 3, 1, 1, bias=False)
        self.residual_mean: Tensor
        self.whitening: Tensor
        self.register_buffer("residual_mean", torch.zeros(bands))
        self.register_buffer("whitening", torch.eye(bands))

    def forward(self, hsi: Tensor) -> Tensor:
        """(n, bands, rows, cols) scaled to -0.1..0.1 in, the background in the same shape and scale out."""
        x = functional.pad(hsi, (PAD_PX, PAD_PX, PAD_PX, PAD_PX), mode="reflect")
        skip0 = self.enc0(self.embed(x))
        skip1 = self.enc1(self.down0(skip0))
        y = self.bottleneck(self.down1(skip1))
        y = self.dec1(self.fuse1(torch.cat([self.up1(y), skip1], dim=1)))
        y = self.dec0(self.fuse0(torch.cat([self.up0(y), skip0], dim=1)))
        y = self.map(y)[:, :, PAD_PX:-PAD_PX, PAD_PX:-PAD_PX]
        return y + hsi if self.global_residual else y  # type: ignore[no-any-return]

    def set_background(self, mean: Tensor, whitening: Tensor) -> None:
        """Keep what the scenes that were fitted leave as residual: its mean (bands,) and whitening (bands, bands)."""
        self.residual_mean.copy_(mean)
        self.whitening.copy_(whitening)

    def score(self, hsi: Tensor) -> Tensor:
        """(n, 1, rows, cols) squared Mahalanobis distances of the residual, by the background that was set."""
        off = hsi - self(hsi) - self.residual_mean[:, None, None]
        return functional.conv2d(off, self.whitening[:, :, None, None]).square().sum(1, keepdim=True)


def _block(kind: str, channels: int, heads: int, stripe: int) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    if kind == "swin":
        return nn.Sequential(Swin(channels, heads, 0), Swin(channels, heads, _SWIN_WINDOW_PX // 2))
    return CSWin(channels, heads, stripe)


def _mlp(channels: int, ratio: int) -> nn.Sequential:
    """Two layers with the exact (erf) GELU between them."""
    return nn.Sequential(nn.Conv2d(channels, ratio * channels, 1), nn.GELU(), nn.Conv2d(ratio * channels, channels, 1))
