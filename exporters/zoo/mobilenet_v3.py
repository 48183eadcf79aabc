"""MobileNetV3-Large (Howard et al., "Searching for MobileNetV3", ICCV 2019, table 1)."""

from __future__ import annotations

from functools import partial

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

# table 1: kernel, expanded channels, output channels, squeeze-and-excite, h-swish, stride
_BLOCKS = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
_batch_norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channel means (section 5.3: a quarter, hard sigmoid)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _round_to_8(channels / 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        means = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * self.gate(self.fc2(self.relu(self.fc1(means))))  # type: ignore[no-any-return]


class InvertedResidualV3(nn.Module):
    """The bottleneck of MobileNetV2 with squeeze-and-excite in the widened part (figure 4)."""

    def __init__(
        self, channels_in: int, *, kernel: int, hidden: int, channels: int, squeeze: bool, hard_swish: bool, stride: int
    ) -> None:
        super().__init__()
        activation = nn.Hardswish if hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if hidden != channels_in:
            layers.append(_conv_bn(channels_in, hidden, kernel=1, activation=activation))
        layers.append(_conv_bn(hidden, hidden, kernel=kernel, stride=stride, groups=hidden, activation=activation))
        if squeeze:
            layers.append(SqueezeExcite(hidden))
        layers.append(_conv_bn(hidden, channels, kernel=1, activation=None))
        self.block = nn.Sequential(*layers)
        self.is_residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, h, w) in, (n, channels, h/stride, w/stride) out."""
        return x + self.block(x) if self.is_residual else self.block(x)  # type: ignore[no-any-return]


class MobileNetV3Large(nn.Module):
    """MobileNetV3-Large, width 1.0. ``stem_stride`` 1 keeps twice the detail for small tiles, same parameters."""

    def __init__(self, classes: int = 1000, *, stem_stride: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        channels_in = 16
        layers: list[nn.Module] = [_conv_bn(3, channels_in, kernel=3, stride=stem_stride, activation=nn.Hardswish)]
        for kernel, hidden, channels, squeeze, hard_swish, stride in _BLOCKS:
            layers.append(
                InvertedResidualV3(
                    channels_in,
                    kernel=kernel,
                    hidden=hidden,
                    channels=channels,
                    squeeze=squeeze,
                    hard_swish=hard_swish,
                    stride=stride,
                )
            )
            channels_in = channels
        layers.append(_conv_bn(channels_in, 960, kernel=1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(960, 1280), nn.Hardswish(inplace=True), nn.Dropout(dropout), nn.Linear(1280, classes)
        )
        self.apply(_init)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) normalised float in, (n, classes) logits out."""
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]


def _conv_bn(
    channels_in: int,
    channels: int,
    *,
    kernel: int,
    activation: type[nn.ReLU] | type[nn.Hardswish] | None,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, _batch_norm(channels)]
    if activation is not None:
        layers.append(activation(inplace=True))
    return nn.Sequential(*layers)


def _round_to_8(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)
