"""The image side of ACR: ResNet-50 (v1.5) with the Dual-Reconstruction Feature Enhancer in each bottleneck (D1).

The enhancer is the pair SRU and CRU of SCConv (Li et al., CVPR 2023): the first gives informative channels to
uninformative ones, the second replaces redundant channels by cheap ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

GROUPS = 16
_LEAST_SUM = 1e-3
"""Of the gammas: a sum near 0 would blow the gate up."""


class SRU(nn.Module):
    """Spatial reconstruction with the soft gate (D2). ``hard`` is the printed one, which teaches gamma nothing."""

    def __init__(self, channels: int, groups: int = GROUPS, *, hard: bool = False) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-5)
        self.hard = hard

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        total = self.norm.weight.sum()
        total = torch.where(total < 0, total.clamp(max=-_LEAST_SUM), total.clamp(min=_LEAST_SUM))
        share = (self.norm.weight / total).view(1, -1, 1, 1)
        first, second = gates(self.norm(x) * share, hard=self.hard)
        one, other = (first * x).chunk(2, 1), (second * x).chunk(2, 1)
        return torch.cat([one[0] + other[1], one[1] + other[0]], 1)


def gates(argument: Tensor, *, hard: bool = False) -> tuple[Tensor, Tensor]:
    """W1 and W2 of what goes into the sigmoid R: 1 and 0 where R > 0.5, R itself elsewhere.

    R > 0.5 is asked of the argument, so that a coarse number format cannot flip it.
    """
    open_, soft = argument > 0, torch.sigmoid(argument)
    if hard:
        return open_.to(soft.dtype), (~open_).to(soft.dtype)
    return torch.where(open_, torch.ones_like(soft), soft), torch.where(open_, torch.zeros_like(soft), soft)


class CRU(nn.Module):
    """Channel reconstruction: half of the channels through wide convolutions, half reused, mixed per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.squeeze_upper = nn.Conv2d(half, quarter, 1, bias=False)
        self.squeeze_lower = nn.Conv2d(half, quarter, 1, bias=False)
        self.gwc = nn.Conv2d(quarter, channels, 3, padding=1, groups=2)
        self.pwc_upper = nn.Conv2d(quarter, channels, 1, bias=False)
        self.pwc_lower = nn.Conv2d(quarter, channels - quarter, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        upper, lower = x.chunk(2, 1)
        upper, lower = self.squeeze_upper(upper), self.squeeze_lower(lower)
        rich: Tensor = self.gwc(upper) + self.pwc_upper(upper)
        cheap = torch.cat([self.pwc_lower(lower), lower], 1)
        beta = mixing(rich.mean((2, 3), keepdim=True), cheap.mean((2, 3), keepdim=True))
        return beta * rich + (1.0 - beta) * cheap


def mixing(first: Tensor, second: Tensor) -> Tensor:
    """exp(a) / (exp(a) + exp(b)), without overflow."""
    return torch.sigmoid(first - second)


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, the enhancer, 1x1 to four times the width, and a shortcut."""

    def __init__(self, channels_in: int, width: int, stride: int, *, dre: bool, hard: bool) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.dre = nn.Sequential(SRU(width, hard=hard), CRU(width)) if dre else nn.Identity()
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, h, w) in, (n, 4 width, h/stride, w/stride) out."""
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = self.dre(F.relu(self.bn2(self.conv2(inner))))
        return F.relu(self.bn3(self.conv3(inner)) + self.downsample(x))


class ResNet(nn.Module):
    """ResNet-50 for ``base`` 64 and ``depths`` (3, 4, 6, 3), without pooling and classifier; stride 32."""

    def __init__(
        self, base: int = 64, depths: Sequence[int] = (3, 4, 6, 3), *, dre: bool = True, hard: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, base, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        channels = base
        self.layers = nn.ModuleList()
        for stage, depth in enumerate(depths):
            width = base << stage
            blocks: list[nn.Module] = []
            for number in range(depth):
                stride = 2 if stage and not number else 1
                blocks.append(Bottleneck(channels, width, stride, dre=dre, hard=hard))
                channels = 4 * width
            self.layers.append(nn.Sequential(*blocks))
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) normalised in, (n, 32 base, h/32, w/32) out."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for layer in self.layers:
            x = layer(x)
        return x
