"""CAB-HL: land cover at the centre of a hyperspectral and LiDAR patch (specs/09-hsi-lidar.md, section 2).

Two branches of two stages, spectral-spatial (3-D) and elevation (2-D). After each stage the spectral features ask and
the elevation features answer, by cross-attention between the pixels of the patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253
from torch.nn.utils.fusion import fuse_conv_bn_eval  # noqa: TID253

PATHS = ((7, 8), (5, 16), (3, 32))
"""Kernel and width of the three paths of a block; each leaves twice its width."""
_Conv = nn.Conv2d | nn.Conv3d
_Norm = nn.BatchNorm2d | nn.BatchNorm3d
_WIDE = sum(2 * width for _, width in PATHS)


class DepthConv(nn.Conv3d):
    """A cubic 3-D convolution, "same" zero padding, that can also be computed by 2-D ones: ``planes``.

    Then the depth is folded into the batch. Where there are fewer inputs than outputs the planes around each depth
    become input channels; else each tap of the depth becomes an output channel, and the taps are shifted and added.
    """

    def __init__(self, channels_in: int, channels: int, kernel: int, *, planes: bool = True) -> None:
        super().__init__(channels_in, channels, kernel, padding=kernel // 2, bias=False)
        self.planes = planes

    def forward(self, input: Tensor) -> Tensor:
        """(n, channels_in, depth, rows, cols) in, (n, channels, depth, rows, cols) out."""
        if not self.planes:
            return super().forward(input)
        return self._gathered(input) if self.in_channels <= self.out_channels else self._added(input)

    def _gathered(self, x: Tensor) -> Tensor:
        taps, (rows, cols), depth = self.kernel_size[0], x.shape[3:], x.shape[2]
        padded = functional.pad(x, (0, 0, 0, 0, taps // 2, taps // 2)) if taps > 1 else x
        planes = torch.stack([padded[:, :, tap : tap + depth] for tap in range(taps)], dim=2).transpose(1, 3)
        flat = planes.transpose(2, 3).reshape(-1, self.in_channels * taps, rows, cols)
        weight = self.weight.reshape(self.out_channels, -1, *self.kernel_size[1:])
        answer = functional.conv2d(flat, weight, self.bias, padding=self.kernel_size[1] // 2)
        return answer.reshape(-1, depth, self.out_channels, rows, cols).transpose(1, 2)

    def _added(self, x: Tensor) -> Tensor:
        taps, (rows, cols), depth = self.kernel_size[0], x.shape[3:], x.shape[2]
        flat = x.transpose(1, 2).reshape(-1, self.in_channels, rows, cols)
        weight = self.weight.permute(2, 0, 1, 3, 4).reshape(-1, self.in_channels, *self.kernel_size[1:])
        every = functional.conv2d(flat, weight, padding=self.kernel_size[1] // 2)
        every = every.reshape(-1, depth, taps, self.out_channels, rows, cols).permute(0, 2, 3, 1, 4, 5)
        padded = functional.pad(every, (0, 0, 0, 0, taps // 2, taps // 2))
        answer = padded[:, 0, :, :depth]
        for tap in range(1, taps):
            answer = answer + padded[:, tap, :, tap : tap + depth]
        return answer if self.bias is None else answer + self.bias[:, None, None, None]


class HsiBlock(nn.Module):
    """Three 3-D paths over bands and pixels, and what came in."""

    def __init__(self, channels_in: int = 1, channels: int = 1, *, planes: bool = True) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Sequential(
                *(DepthConv(channels_in, width, kernel, planes=planes), nn.BatchNorm3d(width), nn.ReLU()),
                *(DepthConv(width, 2 * width, 1, planes=planes), nn.BatchNorm3d(2 * width), nn.ReLU()),
            )
            for kernel, width in PATHS
        )
        self.fuse = nn.Sequential(DepthConv(_WIDE, channels, 3, planes=planes), nn.BatchNorm3d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, components, s, s) in, (n, channels, components, s, s) out."""
        return torch.relu(self.fuse(torch.cat([path(x) for path in self.paths], dim=1)) + x)


class LidarBlock(nn.Module):
    """Three 2-D paths of a plain, a depthwise and a 1 x 1 convolution, and what came in."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Sequential(
                *_cbr(nn.Conv2d(channels_in, width, kernel, 1, kernel // 2, bias=False)),
                *_cbr(nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)),
                *_cbr(nn.Conv2d(width, 2 * width, 1, bias=False)),
            )
            for kernel, width in PATHS
        )
        self.fuse = nn.Sequential(nn.Conv2d(_WIDE, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, s, s) in, (n, channels, s, s) out; more than one but fewer channels take no short cut."""
        fused = self.fuse(torch.cat([path(x) for path in self.paths], dim=1))
        return torch.relu(fused + x if x.shape[1] in (1, fused.shape[1]) else fused)


class CAM(nn.Module):
    """Cross-attention: every pixel of ``asking`` looks for what it needs among the pixels of ``answering``."""

    def __init__(self, asking: int, answering: int, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(asking, width, bias=False)
        self.key = nn.Linear(answering, width, bias=False)
        self.value = nn.Linear(answering, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, asking: Tensor, answering: Tensor) -> Tensor:
        """(n, asking, s, s) and (n, answering, s, s) in, (n, width, s, s) out."""
        rows, cols = asking.shape[2:]
        tokens, other = (x.flatten(2).transpose(1, 2) for x in (asking, answering))
        query, key, value = (
            x.reshape(-1, rows * cols, self.heads, x.shape[-1] // self.heads).transpose(1, 2)
            for x in (self.query(tokens), self.key(other), self.value(other))
        )
        mixed = attend(query, key, value).transpose(1, 2).reshape(-1, rows * cols, self.out.in_features)
        return self.out(mixed).transpose(1, 2).reshape(-1, self.out.out_features, rows, cols)  # type: ignore[no-any-return]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax of scaled products over the last but one axis; the query is scaled first, which engines fuse."""
    return torch.softmax((query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1), dim=-1) @ value


class CABHL(nn.Module):
    """Logits of the class at the centre of a patch. Defaults are the card's reading (153,683 parameters).

    ``bands``: where not 0, the network takes so many raw bands and projects them first by the frozen principal
    components of ``set_projection``. ``lidar_bands`` follow the spectral ones. Ablations: ``lidar`` False ignores them,
    ``attention`` False merges the last stage's features by the 1 x 1 convolution alone. ``feat`` channels leave each
    spectral block. ``planes`` False computes 3-D convolutions as such. ``patch`` is s, and only recorded.
    """

    def __init__(
        self,
        classes: int = 15,
        *,
        components: int = 30,
        bands: int = 0,
        lidar_bands: int = 1,
        patch: int = 8,
        stages: int = 2,
        feat: int = 1,
        width: int = 64,
        heads: int = 4,
        lidar: bool = True,
        attention: bool = True,
        planes: bool = True,
    ) -> None:
        super().__init__()
        if min(classes, components, stages, feat, patch, lidar_bands) < 1 or bands < 0 or 0 < bands < components:
            raise ValueError(
                f"{classes} classes, {components} components of {bands} bands, {stages} stages, {feat} features and "
                f"patches of {patch} px do not make a network"
            )
        self.bands, self.components, self.lidar_bands, self.patch = bands, components, lidar_bands, patch
        asking, answering = feat * components, components if feat == 1 else width
        self.hsi = nn.ModuleList(HsiBlock(1 if k == 0 else feat, feat, planes=planes) for k in range(stages))
        self.lidar = (
            nn.ModuleList(LidarBlock(lidar_bands if k == 0 else answering, answering) for k in range(stages))
            if lidar
            else None
        )
        other = answering if lidar else asking
        self.cams = nn.ModuleList(CAM(asking, other, width, heads) for _ in range(stages)) if attention else None
        self.merge = nn.Sequential(*_cbr(nn.Conv2d(asking + (answering if lidar else 0), width, 1, bias=False)))
        self.refine = nn.Sequential(*_cbr(nn.Conv2d(width, width, 1, bias=False)))
        self.head = nn.Linear(width, classes)
        self.projection: Tensor
        self.shift: Tensor
        self.lidar_range: Tensor
        self.register_buffer("projection", torch.zeros(components, bands))
        self.register_buffer("shift", torch.zeros(components if bands else 0))
        self.register_buffer("lidar_range", torch.tensor([[0.0], [1.0]]).repeat(1, lidar_bands))

    def set_projection(self, projection: Tensor, shift: Tensor, lidar_range: Tensor) -> None:
        """Freeze the scaled components (components, bands), what is added, and each LiDAR band's (2, bands) range."""
        for mine, given in ((self.projection, projection), (self.shift, shift), (self.lidar_range, lidar_range)):
            mine.copy_(given.reshape(mine.shape))

    def forward(self, patch: Tensor) -> Tensor:
        """(n, bands or components, then LiDAR bands, s, s) float32 in, (n, classes) logits out."""
        spectral = self.bands or self.components
        if patch.shape[1] != spectral + self.lidar_bands:
            raise ValueError(
                f"CAB-HL takes {spectral} spectral and {self.lidar_bands} LiDAR bands, the patch has {patch.shape[1]}. "
                "Stack the LiDAR raster under the cube it was trained with."
            )
        hsi = patch[:, :spectral]
        if self.bands:
            hsi = functional.conv2d(hsi, self.projection[:, :, None, None], self.shift)
        low, high = self.lidar_range[0], self.lidar_range[1]
        heights = (patch[:, spectral:] - low[:, None, None]) / (high - low)[:, None, None]
        refined = self.refine(self._fused(hsi.unsqueeze(1), heights))
        return self.head(refined.mean((2, 3)))  # type: ignore[no-any-return]

    def _fused(self, x: Tensor, heights: Tensor) -> Tensor:
        fused: Tensor | None = None
        asking = answering = x.flatten(1, 2)
        for stage, block in enumerate(self.hsi):
            x = block(x)
            asking = x.flatten(1, 2)
            heights = heights if self.lidar is None else self.lidar[stage](heights)
            answering = asking if self.lidar is None else heights
            if self.cams is not None:
                before = self._merged(asking, answering) if fused is None else fused
                fused = self.cams[stage](asking, answering) + before
        return self._merged(asking, answering) if fused is None else fused

    def _merged(self, asking: Tensor, answering: Tensor) -> Tensor:
        both = asking if self.lidar is None else torch.cat([asking, answering], dim=1)
        return self.merge(both)  # type: ignore[no-any-return]


def fold(network: nn.Module) -> nn.Module:
    """The trained network in evaluation mode with each normalisation inside its convolution; ``network`` is changed."""
    network.eval()
    for parent in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for place, (conv, norm) in _pairs(parent):
            parent[place], parent[place + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network.eval()


def _pairs(parent: nn.Sequential) -> Iterator[tuple[int, tuple[_Conv, _Norm]]]:
    for place, (conv, norm) in enumerate(pairwise(list(parent))):
        if isinstance(conv, (nn.Conv2d, nn.Conv3d)) and isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d)):
            yield place, (conv, norm)


def _cbr(conv: nn.Conv2d) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()]
