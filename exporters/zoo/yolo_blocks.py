"""The blocks of YOLOv5 6.x, written from their description (widths, kernels, order), and shuffle attention."""

from __future__ import annotations

import math

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253


def channels_of(nominal: int, width: float) -> int:
    """The width of a layer: the nominal one scaled, up to the next multiple of eight.

    >>> channels_of(128, 0.25), channels_of(64, 0.125)
    (32, 8)
    """
    return math.ceil(nominal * width / 8) * 8


def repeats_of(nominal: int, depth: float) -> int:
    """How often a block repeats: the nominal number scaled, at least once.

    >>> repeats_of(9, 0.33), repeats_of(3, 0.33)
    (3, 1)
    """
    return max(round(nominal * depth), 1)


class Conv(nn.Sequential):
    """Convolution without bias, batch normalisation, SiLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, padding: int | None = None) -> None:
        pad = kernel // 2 if padding is None else padding
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, pad, bias=False),
            nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.03),
            nn.SiLU(inplace=True),
        )


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolution, with the input added where ``shortcut``."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(Conv(channels, channels, 1), Conv(channels, channels, 3))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        out: Tensor = self.body(x)
        return x + out if self.shortcut else out


class C3(nn.Module):
    """Two halves, one through ``repeats`` bottlenecks, joined by a 1x1 convolution."""

    def __init__(self, c_in: int, c_out: int, repeats: int, shortcut: bool) -> None:
        super().__init__()
        half = c_out // 2
        self.deep = nn.Sequential(Conv(c_in, half, 1), *(Bottleneck(half, shortcut) for _ in range(repeats)))
        self.flat = Conv(c_in, half, 1)
        self.join = Conv(2 * half, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) in, (n, c_out, h, w) out."""
        joined: Tensor = self.join(torch.cat([self.deep(x), self.flat(x)], 1))
        return joined


class SPPF(nn.Module):
    """Three 5x5 maxima in a row, all four stages side by side: receptive fields of 1, 5, 9 and 13."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = Conv(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.join = Conv(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        first = self.squeeze(x)
        second = self.pool(first)
        third = self.pool(second)
        joined: Tensor = self.join(torch.cat([first, second, third, self.pool(third)], 1))
        return joined


class ShuffleAttention(nn.Module):
    """Zhang and Yang, "SA-Net: Shuffle Attention for Deep Convolutional Neural Networks", ICASSP 2021.

    Each of ``groups`` groups is halved: one half is weighted by channel, one by place, with scalars that all groups
    share; then the halves mingle. 3 C / groups parameters.
    """

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__()
        self.channels, self.part = channels, channels // groups
        half = channels // (2 * groups)
        self.channel_weight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.channel_bias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.place_weight = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.place_bias = nn.Parameter(torch.ones(1, half, 1, 1))
        self.norm = nn.GroupNorm(half, half)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        rows, columns = x.shape[2], x.shape[3]
        by_channel, by_place = x.reshape(-1, self.part, rows, columns).chunk(2, 1)
        mean = by_channel.mean((2, 3), keepdim=True)
        by_channel = by_channel * torch.sigmoid(self.channel_weight * mean + self.channel_bias)
        by_place = by_place * torch.sigmoid(self.place_weight * self.norm(by_place) + self.place_bias)
        joined = torch.cat([by_channel, by_place], 1)
        pairs = joined.reshape(-1, 2, self.channels // 2, rows, columns)
        return pairs.transpose(1, 2).reshape(-1, self.channels, rows, columns)
