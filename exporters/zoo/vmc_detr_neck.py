"""What mixes the three maps: MFADM and CAGFM of VMC-DETR, or RT-DETR's own two ways up and down.

``MFADM``: multi-scale aggregation by large depthwise kernels. ``CAGFM``: fusion gated by the context of all inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .vmc_detr_blocks import AIFI, ADown, ConvNorm, RepC3
from .yolo_blocks import Conv

KERNELS = (5, 7, 9, 11)


def twice(x: Tensor) -> Tensor:
    """Nearest-neighbour upsampling by two."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Spread(nn.Module):
    """The input and what depthwise kernels of several sizes make of it, added. Deployed, it is one convolution."""

    def __init__(self, channels: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.channels = channels
        self.kernels = nn.ModuleList(nn.Conv2d(channels, channels, k, padding=k // 2, groups=channels) for k in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        out = x
        for kernel in self.kernels:
            out = out + kernel(x)
        return out


class MFADM(nn.Module):
    """Three neighbouring maps brought to the size of the middle one and mixed; ``hidden`` channels from each.

    Without ``kernels`` the maps are put side by side and merged by the last convolution alone: the ablation.
    """

    def __init__(self, low: int, middle: int, high: int, hidden: int, out: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.low, self.middle, self.high = Conv(low, hidden, 1), Conv(middle, hidden, 1), ADown(high, hidden)
        self.spread = Spread(3 * hidden, kernels) if kernels else None
        self.mix = Conv(3 * hidden, 3 * hidden, 1) if kernels else None
        self.merge = Conv(3 * hidden, out, 1)

    def forward(self, low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
        """Maps at half, at its own and at twice the size in, (n, out, h, w) out."""
        x = torch.cat([self.low(twice(low)), self.middle(middle), self.high(high)], 1)
        if self.spread is not None and self.mix is not None:
            x = x + self.mix(self.spread(x))
        out: Tensor = self.merge(x)
        return out


class ESE(nn.Module):
    """Effective squeeze and excitation (Lee and Park, CenterMask, 2020) with a plain sigmoid: a weight a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in, (n, channels, 1, 1) 0..1 out."""
        return torch.sigmoid(self.weigh(x.mean((2, 3), keepdim=True)))


class CAGFM(nn.Module):
    """Inputs of one size side by side, each gated and joined by all others: out_i = A_i X_i + sum of X_j, j != i.

    Equation 9 of the paper; its Algorithm 1 slips in an index. ``gate=False`` puts them side by side: the ablation.
    """

    def __init__(self, widths: Sequence[int], channels: int, *, gate: bool) -> None:
        super().__init__()
        self.align = nn.ModuleList(nn.Identity() if w == channels else Conv(w, channels, 1) for w in widths)
        self.ese = ESE(len(widths) * channels) if gate else None

    def forward(self, *inputs: Tensor) -> Tensor:
        """Maps (n, width, h, w) in, (n, inputs * channels, h, w) out."""
        aligned = [align(x) for align, x in zip(self.align, inputs, strict=True)]
        joined = torch.cat(aligned, 1)
        if self.ese is None:
            return joined
        total = aligned[0]
        for x in aligned[1:]:
            total = total + x
        gated: Tensor = joined * (self.ese(joined) - 1.0)
        return gated + torch.cat([total] * len(aligned), 1)


class AggregationNeck(nn.Module):
    """VMC-DETR's: two rounds of aggregation, each spread to the finer and the coarser map."""

    def __init__(
        self, widths: Sequence[int], channels: int, heads: int, edge: int, *, kernels: Sequence[int], gate: bool
    ) -> None:
        super().__init__()
        c3, c4, c5 = widths
        self.top = TopMap(c5, channels, heads, edge)
        self.mfadm1 = MFADM(channels, c4, c3, c4 // 2, channels, kernels)
        self.mfadm2 = MFADM(channels, channels, channels, channels // 2, channels, kernels)
        self.down1, self.down2 = ADown(channels, channels), ADown(channels, channels)
        self.coarse1 = CAGFM((channels, channels), channels, gate=gate)
        self.fine1 = CAGFM((c3, channels), channels, gate=gate)
        self.coarse2 = CAGFM((channels,) * 3, channels, gate=gate)
        self.fine2 = CAGFM((channels,) * 3, channels, gate=gate)
        self.rep_coarse1, self.rep_fine1 = RepC3(2 * channels, channels), RepC3(2 * channels, channels)
        self.rep_coarse2, self.rep_fine2 = RepC3(3 * channels, channels), RepC3(3 * channels, channels)

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> list[Tensor]:
        """Three maps of the backbone in, three maps of one width out, fine to coarse."""
        f5 = self.top(c5)
        m1 = self.mfadm1(f5, c4, c3)
        d1, u1 = self.down1(m1), twice(m1)
        q5 = self.rep_coarse1(self.coarse1(f5, d1))
        q3 = self.rep_fine1(self.fine1(c3, u1))
        m2 = self.mfadm2(q5, m1, q3)
        d2, u2 = self.down2(m2), twice(m2)
        r5 = self.rep_coarse2(self.coarse2(q5, d1, d2))
        r3 = self.rep_fine2(self.fine2(q3, u1, u2))
        return [r3, m2, r5]


class TopMap(nn.Module):
    """The coarsest map narrowed, its cells attending to each other, and a 1x1 convolution."""

    def __init__(self, c_in: int, channels: int, heads: int, edge: int) -> None:
        super().__init__()
        self.narrow = ConvNorm(c_in, channels, 1)
        self.attend = AIFI(channels, heads, edge)
        self.lateral = Conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, edge, edge) in, (n, channels, edge, edge) out."""
        out: Tensor = self.lateral(self.attend(self.narrow(x)))
        return out


class PanNeck(nn.Module):
    """RT-DETR's hybrid encoder (Zhao et al., CVPR 2024): from coarse to fine, and back."""

    def __init__(self, widths: Sequence[int], channels: int, heads: int, edge: int) -> None:
        super().__init__()
        c3, c4, c5 = widths
        self.top = TopMap(c5, channels, heads, edge)
        self.narrow4, self.narrow3 = ConvNorm(c4, channels, 1), ConvNorm(c3, channels, 1)
        self.up4, self.up3 = RepC3(2 * channels, channels), RepC3(2 * channels, channels)
        self.lateral = Conv(channels, channels, 1)
        self.shrink3, self.shrink4 = Conv(channels, channels, 3, 2), Conv(channels, channels, 3, 2)
        self.down4, self.down5 = RepC3(2 * channels, channels), RepC3(2 * channels, channels)

    def forward(self, c3: Tensor, c4: Tensor, c5: Tensor) -> list[Tensor]:
        """Three maps of the backbone in, three maps of one width out, fine to coarse."""
        f5 = self.top(c5)
        f4 = self.lateral(self.up4(torch.cat([twice(f5), self.narrow4(c4)], 1)))
        p3 = self.up3(torch.cat([twice(f4), self.narrow3(c3)], 1))
        p4 = self.down4(torch.cat([self.shrink3(p3), f4], 1))
        p5 = self.down5(torch.cat([self.shrink4(p4), f5], 1))
        return [p3, p4, p5]
