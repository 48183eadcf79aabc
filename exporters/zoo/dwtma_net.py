"""DWTMA-Net (Guan et al., "DWTMA-Net: Discrete Wavelet Transform and Multi-Dimensional Attention Network for Remote
Sensing Image Dehazing", Remote Sensing 2025): haze and thin cloud off RGB images.

Where the paper leaves something open, the choice and its reason stand in ``docs/zoo/dwtma-net.md`` under DECISIONS.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

from .dwtma_net_fourier import FAM
from .dwtma_net_haar import DWT, IDWT

MULTIPLE_PX = 8
"""Rows and columns of the input are multiples of this: two halvings and a wavelet transform at the lowest level."""


class SAOD(nn.Module):
    """Small AOD network on the low band: transmission map K and airlight b, then K f - K + b (equations 3 to 6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.transmission = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1, bias=False),
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(hidden, channels, 3, padding=1, bias=False),
        )
        self.airlight = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in and out."""
        k = torch.sigmoid(self.transmission(x))
        b = torch.sigmoid(self.airlight(x))
        return k * x - k + b


class DilateRes(nn.Module):
    """Dilated residual block, rates 1, 2, 1 (figure 3), shared by the three detail bands (equation 8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=2, dilation=2)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in and out."""
        return x + self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))  # type: ignore[no-any-return]


class DWB(nn.Module):
    """Discrete wavelet block: SAOD on the low band, one dilated block on the details (equations 3 to 8).

    There is no residual around it: with one, and no rescaling, training starts at a loss four hundred times as high.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwt, self.idwt = DWT(channels), IDWT(channels)
        self.saod, self.dilate_res = SAOD(channels), DilateRes(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w), h and w even, in and out. The detail bands share a batch, so its size is free."""
        _, c, h, w = x.shape
        bands = self.dwt(x).reshape(-1, c, 4, h // 2, w // 2)
        low = self.saod(bands[:, :, 0])
        details = bands[:, :, 1:].transpose(1, 2).reshape(-1, c, h // 2, w // 2)
        details = self.dilate_res(details).reshape(-1, 3, c, h // 2, w // 2).transpose(1, 2)
        together = torch.cat([low.unsqueeze(2), details], dim=2)
        return self.idwt(together.reshape(-1, 4 * c, h // 2, w // 2))  # type: ignore[no-any-return]


class PixelAttention(nn.Module):
    """Where to look (equation 10), hidden width c / 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 8, 1)
        self.gate = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in and out."""
        return x * self.gate(x)  # type: ignore[no-any-return]


class ChannelAttention(nn.Module):
    """What to look at (equation 10), hidden width c / 16."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 16, 1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in and out."""
        return x * self.gate(x)  # type: ignore[no-any-return]


class MAB(nn.Module):
    """Multi-dimensional attention block (equations 9 to 11); ``ca``, ``pa`` and ``fam`` switch its attentions."""

    def __init__(self, channels: int, *, ca: bool = True, pa: bool = True, fam: bool = True) -> None:
        super().__init__()
        hidden = 2 * channels
        self.dw1, self.norm = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.BatchNorm2d(channels)
        self.expand1 = nn.Conv2d(channels, hidden, 1)
        self.expand3 = nn.Conv2d(channels, hidden, 3, padding=1)
        self.refine = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.pa = PixelAttention(hidden) if pa else None
        self.ca = ChannelAttention(hidden) if ca else None
        self.fam = FAM(hidden) if fam else None
        self.project = nn.Conv2d(hidden, channels, 1)
        self.dw2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in and out."""
        x0 = self.norm(self.dw1(x))
        x1 = self.refine(F.relu(self.expand1(x0) + self.expand3(x0)))
        attended = [attention(x1) for attention in (self.pa, self.ca) if attention is not None]
        xa = torch.stack(attended).sum(0) if len(attended) > 1 else (attended or [x1])[0]
        if self.fam is not None:
            xa = xa * torch.sigmoid(self.fam(x1)).to(xa.dtype)
        return x + self.dw2(self.project(xa))  # type: ignore[no-any-return]


class StarBlock(nn.Module):
    """The block that the paper's baseline is made of (Ma et al., "Rewrite the Stars", CVPR 2024), expansion 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.dw1, self.norm = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.BatchNorm2d(channels)
        self.f1, self.f2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(channels, hidden, 1)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.dw2 = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in and out."""
        x0 = self.norm(self.dw1(x))
        return x + self.dw2(self.project(F.relu6(self.f1(x0)) * self.f2(x0)))  # type: ignore[no-any-return]


class WDM(nn.Module):
    """Wavelet downsampling: a strided convolution plus the four bands mixed (equation 2)."""

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__()
        self.dwt = DWT(channels)
        self.spatial = nn.Conv2d(channels, channels_out, 3, 2, 1)
        self.frequency = nn.Conv2d(4 * channels, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in, (n, channels_out, h/2, w/2) out."""
        return self.spatial(x) + self.frequency(self.dwt(x))  # type: ignore[no-any-return]


class SKFusion(nn.Module):
    """Fuses two maps by a softmax over the pair, per channel (Song et al., DehazeFormer, TIP 2023); without bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 8, 4)
        self.channels = channels
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, 2 * channels, 1, bias=False),
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two (n, c, h, w) in, one out."""
        weights = self.weigh(a + b).reshape(-1, 2, self.channels, 1, 1).softmax(dim=1)
        return weights[:, 0] * a + weights[:, 1] * b  # type: ignore[no-any-return]


class DWTMANet(nn.Module):
    """The five-level U. ``widths`` and ``depths`` are per level; the switches are the paper's ablations (table 5).

    Without ``mab`` the blocks are those of StarNet, without ``wdm`` the downsampling is the strided convolution alone,
    without ``dwb`` nothing stands before the attention. The answer depends on the size of the image, because the
    gates and the Fourier attention see the whole of it.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 96, 48, 24),
        depths: Sequence[int] = (2, 2, 4, 2, 2),
        *,
        dwb: bool = True,
        mab: bool = True,
        wdm: bool = True,
        ca: bool = True,
        pa: bool = True,
        fam: bool = True,
    ) -> None:
        super().__init__()
        if len(widths) != 5 or len(depths) != 5 or (widths[0], widths[1]) != (widths[4], widths[3]):
            raise ValueError(f"widths {widths} and depths {depths} must be five each, the widths symmetric.")

        def level(place: int) -> nn.Sequential:
            channels = widths[place]
            blocks: list[nn.Module] = []
            for _ in range(depths[place]):
                blocks += [DWB(channels)] if dwb else []
                blocks += [MAB(channels, ca=ca, pa=pa, fam=fam) if mab else StarBlock(channels)]
            return nn.Sequential(*blocks)

        def down(channels: int, channels_out: int) -> nn.Module:
            return WDM(channels, channels_out) if wdm else nn.Conv2d(channels, channels_out, 3, 2, 1)

        def up(channels: int, channels_out: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(channels, 4 * channels_out, 1), nn.PixelShuffle(2))

        c1, c2, c3 = widths[:3]
        self.stem, self.out = nn.Conv2d(3, c1, 3, padding=1), nn.Conv2d(c1, 3, 3, padding=1)
        self.level1, self.level2, self.level3, self.level4, self.level5 = (level(place) for place in range(5))
        self.down1, self.down2, self.up1, self.up2 = down(c1, c2), down(c2, c3), up(c3, c2), up(c2, c1)
        self.skip1, self.skip2 = nn.Conv2d(c1, c1, 1), nn.Conv2d(c2, c2, 1)
        self.fuse1, self.fuse2 = SKFusion(c2), SKFusion(c1)

    def forward(self, hazy: Tensor) -> Tensor:
        """(n, 3, h, w) in 0..1 in, the same without haze out, not clamped; h and w multiples of 8."""
        s1 = self.level1(self.stem(hazy))
        s2 = self.level2(self.down1(s1))
        u = self.up1(self.level3(self.down2(s2)))
        u = self.level4(self.fuse1(u, self.skip2(s2)) + u)
        v = self.up2(u)
        v = self.level5(self.fuse2(v, self.skip1(s1)) + v)
        return hazy + self.out(v)  # type: ignore[no-any-return]


def restore_any_size(network: nn.Module, hazy: Tensor) -> Tensor:
    """(n, 3, h, w) in 0..1 of any size in, dehazed and clamped out: mirrored to a multiple of 8, cut back after."""
    rows, cols = hazy.shape[2:]
    pad = (0, -cols % MULTIPLE_PX, 0, -rows % MULTIPLE_PX)
    mode = "reflect" if max(pad) < min(rows, cols) else "replicate"
    padded = F.pad(hazy, pad, mode=mode) if any(pad) else hazy
    return network(padded)[:, :, :rows, :cols].clamp(0.0, 1.0)  # type: ignore[no-any-return]
