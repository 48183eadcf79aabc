"""JSPSR: bare-earth heights from a coarse surface model and a picture (specs/11-jspsr.md, section 2).

One encoder for each input; what they see is concatenated at every level. Heights are not made up: a one-shot spatial
propagation moves each one by learned, zero-sum weighted differences to its neighbours, which may lie anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

from .jspsr_scaling import HIGH_M, LOW_M, SCALINGS

FUSIONS = ("concat", "add")
_TAPS = 9


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, 1 x 1 where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if channels_in != channels or stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, rows, cols) in, (n, channels, rows / stride, cols / stride) out."""
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ChannelAttention(nn.Module):
    """Each channel weighted by what one small network says of its mean and of its maximum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        small = max(channels // 16, 1)
        self.squeeze = nn.Conv2d(channels, small, 1, bias=False)
        self.excite = nn.Conv2d(small, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out."""
        mean, most = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return x * torch.sigmoid(self._weigh(mean) + self._weigh(most))

    def _weigh(self, pooled: Tensor) -> Tensor:
        return self.excite(torch.relu(self.squeeze(pooled)))  # type: ignore[no-any-return]


class Up(nn.Sequential):
    """Attention, a convolution to fewer channels, and a transposed one to twice the size."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(
            ChannelAttention(channels_in),
            *_conv(channels_in, channels),
            nn.ConvTranspose2d(channels, channels, 3, 2, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )


class SpatialPropagation(nn.Module):
    """What is added to each height: weighted differences to nine places (section 2.4), in float32 whatever goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, both = 2 * width, 4 * width
        self.from_dem = nn.Sequential(*_biased(1, half), *_biased(half, half))
        self.from_features = nn.Sequential(*_biased(half, half), *_biased(half, half))
        self.both = nn.Sequential(*_biased(both, both), ResidualBlock(both, both))
        self.mask, self.offsets = nn.Conv2d(both, _TAPS, 1), nn.Conv2d(both, 2 * (_TAPS - 1), 1)
        self.weight, self.bias = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.zeros(1))

    def forward(self, dem: Tensor, features: Tensor) -> Tensor:
        """(n, 1, rows, cols) heights and (n, 2 x width, rows, cols) features in, the sum for each height out."""
        seen = self.both(torch.cat([self.from_dem(dem), self.from_features(features)], dim=1))
        mask, offsets = self.mask(seen), self.offsets(seen)
        return self.propagate(dem.float(), torch.sigmoid(mask.float()), offsets.float())

    def propagate(self, dem: Tensor, mask: Tensor, offsets: Tensor) -> Tensor:
        """``mask`` (n, 9, rows, cols) is made zero-sum, ``offsets`` are 8 pairs (down, right) px; the centre stays."""
        zero_sum = mask - mask.mean(1, keepdim=True)
        weights = self.weight.float().reshape(1, _TAPS, 1, 1) * zero_sum
        total = (weights * sample(dem, offsets)).sum(1, keepdim=True)
        return total + self.bias.float()


def sample(dem: Tensor, offsets: Tensor) -> Tensor:
    """``dem`` (n, 1, rows, cols) at its 3 x 3 neighbours moved by ``offsets``: (n, 9, rows, cols), 0 beyond the border.

    All taps lie below each other in one grid, so that a single GridSample does it: no deformable convolution.
    """
    rows, cols = dem.shape[2], dem.shape[3]
    still = torch.zeros_like(offsets[:, :2])
    moved = torch.cat([offsets[:, :8], still, offsets[:, 8:]], dim=1)
    steps = torch.arange(_TAPS, dtype=torch.float32, device=dem.device)
    row = torch.arange(rows, dtype=torch.float32, device=dem.device)[None, :, None]
    col = torch.arange(cols, dtype=torch.float32, device=dem.device)[None, None, :]
    down = moved[:, 0::2] + (torch.floor(steps / 3) - 1)[:, None, None] + row
    right = moved[:, 1::2] + (torch.remainder(steps, 3) - 1)[:, None, None] + col
    grid = torch.stack([right * (2 / (cols - 1)) - 1, down * (2 / (rows - 1)) - 1], dim=-1)
    found = functional.grid_sample(dem, grid.flatten(1, 2), mode="bilinear", padding_mode="zeros", align_corners=True)
    return found.reshape(-1, _TAPS, rows, cols)


class JSPSR(nn.Module):
    """Scaled terrain from a scaled surface model and its guides. Defaults: 2 branches of the paper, 29,162,435 weights.

    With ``aux_bands=15`` (land use) it has 43,869,763. ``image_bands`` and ``aux_bands`` of 0 leave their branch out.
    Ablations of the paper: ``fusion`` "add" sums the branches, ``refinement`` False predicts a correction by one
    convolution, ``scaling`` "linear" has relative heights without the logarithm. Heights lie ``low_m`` to ``high_m``
    from the lowest one of the tile. Rows and columns are multiples of 8, and more than one.
    """

    def __init__(
        self,
        width: int = 32,
        *,
        image_bands: int = 3,
        aux_bands: int = 0,
        fusion: str = "concat",
        refinement: bool = True,
        scaling: str = "log",
        low_m: float = LOW_M,
        high_m: float = HIGH_M,
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS or scaling not in SCALINGS:
            raise ValueError(f"JSPSR has no fusion {fusion!r} with scaling {scaling!r}. Use {FUSIONS} and {SCALINGS}.")
        if image_bands < 0 or aux_bands < 0 or high_m - low_m < 1.0:
            raise ValueError(f"JSPSR with {image_bands} + {aux_bands} bands and {low_m} to {high_m} m makes no sense.")
        self.guides = tuple(bands for bands in (image_bands, aux_bands) if bands)
        self.fusion, self.scaling, self.low_m, self.high_m = fusion, scaling, low_m, high_m
        wide = (1 + len(self.guides)) if fusion == "concat" else 1
        widths = [width * 2 << level for level in range(4)]
        self.dem = _Encoder(_stem(1, width), width, widths, wide)
        stems = [_stem(bands, width, norm=at == 0 and image_bands > 0) for at, bands in enumerate(self.guides)]
        self.guide = nn.ModuleList(_Encoder(stem, width, widths, 1) for stem in stems)
        self.up3 = Up(wide * widths[3], widths[2])
        self.up2 = Up((1 + wide) * widths[2], widths[1])
        self.up1 = Up((1 + wide) * widths[1], widths[0])
        self.last = nn.Sequential(ChannelAttention((1 + wide) * widths[0]), *_conv((1 + wide) * widths[0], widths[0]))
        self.refine = SpatialPropagation(width) if refinement else None
        self.correct = None if refinement else nn.Conv2d(widths[0], 1, 1)
        self.apply(_init)
        for head in (self.correct,) if self.refine is None else (self.refine.mask, self.refine.offsets):
            assert head is not None
            nn.init.zeros_(head.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1 + image_bands + aux_bands, rows, cols), heights first, all scaled; (n, 1, rows, cols) scaled out."""
        dem = x[:, :1]
        features = self.features(x)
        if self.refine is None:
            assert self.correct is not None
            return dem + self.correct(features)  # type: ignore[no-any-return]
        return dem.float() + self.refine(dem.detach(), features)  # type: ignore[no-any-return]

    def features(self, x: Tensor) -> Tensor:
        """What the decoder makes of all inputs: (n, 2 x width, rows, cols)."""
        parts = torch.split(x, [1, *self.guides], dim=1)
        encoders = [self.dem, *cast("Iterable[_Encoder]", self.guide)]
        each = [encoder.stem(part) for encoder, part in zip(encoders, parts, strict=True)]
        levels: list[Tensor] = []
        for level in range(4):
            each = [encoder.levels[level](before) for encoder, before in zip(encoders, each, strict=True)]
            levels.append(self._fuse(each))
            each[0] = levels[-1]
        y = self.up3(levels[3])
        for up, level in ((self.up2, 2), (self.up1, 1), (self.last, 0)):
            y = up(torch.cat([y, levels[level]], dim=1))
        return y  # type: ignore[no-any-return]

    def _fuse(self, parts: list[Tensor]) -> Tensor:
        if self.fusion == "concat":
            return torch.cat(parts, dim=1)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class _Encoder(nn.Module):
    """A stem and four levels of one branch; ``wide``: how many branches' features each deeper level takes."""

    def __init__(self, stem: nn.Module, width: int, widths: list[int], wide: int) -> None:
        super().__init__()
        self.stem = stem
        before = [width, *(wide * each for each in widths[:3])]
        self.levels = nn.ModuleList(
            nn.Sequential(ResidualBlock(came, here, 2 if level else 1), ResidualBlock(here, here))
            for level, (came, here) in enumerate(zip(before, widths, strict=True))
        )


def _stem(bands: int, width: int, *, norm: bool = False) -> nn.Sequential:
    if norm:
        return nn.Sequential(nn.Conv2d(bands, width, 5, 1, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    return nn.Sequential(nn.Conv2d(bands, width, 5, 1, 2), nn.ReLU())


def _conv(channels_in: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]


def _biased(channels_in: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels, 3, 1, 1), nn.ReLU()]


def _init(module: nn.Module) -> None:
    """Truncated normal weights of deviation sqrt(2.6 / fan_in); no biases."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
        std = math.sqrt(2.6 / fan_in)
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
