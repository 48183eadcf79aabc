"""SSA-Net: building change between two dates (specs/08-building-change.md, section 2).

A pseudo-Siamese U-Net: one encoder for each date, no shared weights, absolute differences as skips. Its convolutions
are CSHConv (half of the outputs derived from the other half) with the parameter-free attention SSIF inside.
"""

from __future__ import annotations

from itertools import pairwise

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

_STEADY = 1e-4
"""In SSIF's denominators: larger than the smallest normal float16, so that no 0/0 arises."""
CONVOLUTIONS = ("csh", "plain")


def ssif(x: Tensor) -> Tensor:
    """``x`` (n, channels, rows, cols) weighted by how far each element lies from its channel's and its pixel's mean.

    In float32 whatever ``x`` is: bfloat16 loses small deviations, and float16 squares overflow. Only normalised values
    are squared, so that a graph in float16 does not overflow either.
    """
    full = x.float()
    from_channel = full - full.mean((2, 3), keepdim=True)
    from_pixel = full - full.mean(1, keepdim=True)
    by_channel = from_channel * torch.rsqrt(2 * (from_channel * from_channel).mean((2, 3), keepdim=True) + _STEADY)
    by_pixel = from_pixel * torch.rsqrt(2 * (from_pixel * from_pixel).mean(1, keepdim=True) + _STEADY)
    weighted = full * torch.sigmoid(by_channel * by_channel + by_pixel * by_pixel + 0.5)
    return weighted.to(x.dtype)


class CSHConv(nn.Module):
    """Half of the outputs by a 1 x 1 convolution, the other half from those by a grouped 3 x 3 plus a dense 1 x 1."""

    def __init__(self, channels_in: int, channels: int, *, groups: int = 2, attention: bool = True) -> None:
        super().__init__()
        half = channels // 2
        self.attention = attention
        self.point, self.norm1 = nn.Conv2d(channels_in, half, 1, bias=False), nn.BatchNorm2d(half)
        self.wide = nn.Conv2d(half, half, 3, 1, 1, groups=groups, bias=False)
        self.dense, self.norm2 = nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels_in, rows, cols) in, (n, channels, rows, cols) out: the derived half first."""
        first = torch.relu(self.norm1(self.point(x)))
        derived = torch.relu(self.norm2(self.wide(first) + self.dense(first)))
        return torch.cat([ssif(derived) if self.attention else derived, first], dim=1)


class FoldedCSHConv(nn.Module):
    """A trained ``CSHConv`` with its normalisations and both its branches folded into two plain convolutions.

    The grouped 3 x 3 and the 1 x 1 become one dense 3 x 3: exact up to rounding, one launch, more arithmetic.
    """

    def __init__(self, source: CSHConv) -> None:
        super().__init__()
        half, groups = source.wide.out_channels, source.wide.groups
        kernel = source.wide.weight.new_zeros(half, half, 3, 3)
        size = half // groups
        for group in range(groups):
            span = slice(group * size, (group + 1) * size)
            kernel[span, span] = source.wide.weight.detach()[span]
        kernel[:, :, 1, 1] += source.dense.weight.detach()[:, :, 0, 0]
        self.attention = source.attention
        self.point = _folded(source.point.weight.detach(), None, source.norm1, padding=0)
        self.derived = _folded(kernel, None, source.norm2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """As ``CSHConv``."""
        first = torch.relu(self.point(x))
        derived = torch.relu(self.derived(first))
        return torch.cat([ssif(derived) if self.attention else derived, first], dim=1)


class SSANet(nn.Module):
    """Logit of change for each pixel. Defaults are the published network (3,543,617 parameters).

    Ablations of the paper: ``conv`` "plain" has 3 x 3 convolutions in place of CSHConv, ``attention`` False leaves SSIF
    out. ``groups`` are those of the grouped 3 x 3. Rows and columns are multiples of 16, and the answer depends on the
    tile's size, because the attention uses statistics of the whole map.
    """

    def __init__(
        self,
        width: int = 32,
        *,
        bands: int = 3,
        conv: str = "csh",
        groups: int = 2,
        attention: bool = True,
    ) -> None:
        super().__init__()
        if conv not in CONVOLUTIONS:
            raise ValueError(f"SSA-Net has no convolution {conv!r}. Use one of {CONVOLUTIONS}.")
        self.bands = bands
        widths = [width << level for level in range(5)]
        kind = {"conv": conv, "groups": groups, "attention": attention}
        self.encoder_a, self.encoder_b = _Encoder(bands, widths, kind), _Encoder(bands, widths, kind)
        self.up = nn.ModuleList(nn.ConvTranspose2d(widths[n + 1], widths[n], 2, 2) for n in range(4))
        self.decoder = nn.ModuleList(_stage(2 * widths[n], widths[n], kind) for n in range(4))
        self.head = nn.Conv2d(width, 1, 1)
        self.apply(_init)

    def forward(self, pair: Tensor) -> Tensor:
        """(n, 2 x bands, rows, cols) in 0..1, the earlier date's bands first; (n, 1, rows, cols) logits out."""
        earlier, later = self.encoder_a(pair[:, : self.bands]), self.encoder_b(pair[:, self.bands :])
        differences = [torch.abs(a - b) for a, b in zip(earlier, later, strict=True)]
        y = differences[4]
        for level in (3, 2, 1, 0):
            y = self.decoder[level](torch.cat([differences[level], self.up[level](y)], dim=1))
        return self.head(y)  # type: ignore[no-any-return]


class _Encoder(nn.Module):
    """Features of one date at five scales; the first block has plain convolutions."""

    def __init__(self, bands: int, widths: list[int], kind: dict[str, object]) -> None:
        super().__init__()
        first = nn.Sequential(*_plain(bands, widths[0]), *_plain(widths[0], widths[0]))
        deeper = (_stage(before, here, kind) for before, here in pairwise(widths))
        self.stages = nn.ModuleList([first, *deeper])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, bands, rows, cols) in; maps of 1, 1/2, 1/4, 1/8 and 1/16 of the size out."""
        maps: list[Tensor] = []
        for level, stage in enumerate(self.stages):
            x = stage(functional.max_pool2d(x, 2) if level else x)
            maps.append(x)
        return maps


def fold(network: SSANet) -> SSANet:
    """The trained network in evaluation mode with every CSHConv folded; ``network`` is changed."""
    network.eval()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, CSHConv):
                setattr(parent, name, FoldedCSHConv(child))
    return network.eval()


def _stage(channels_in: int, channels: int, kind: dict[str, object]) -> nn.Sequential:
    if kind["conv"] == "plain":
        return nn.Sequential(*_plain(channels_in, channels), *_plain(channels, channels))
    groups, attention = int(str(kind["groups"])), bool(kind["attention"])
    parts: list[nn.Module] = []
    for before in (channels_in, channels):
        parts += [CSHConv(before, channels, groups=groups, attention=attention), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*parts)


def _plain(channels_in: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels, 3, 1, 1), nn.BatchNorm2d(channels), nn.ReLU()]


def _folded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d, *, padding: int) -> nn.Conv2d:
    """A convolution that does what one with ``weight`` followed by ``norm`` does in evaluation."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight.detach() / torch.sqrt(variance + norm.eps)
    out, channels_in, size, _ = weight.shape
    conv = nn.Conv2d(channels_in, out, size, 1, padding)
    with torch.no_grad():
        conv.weight.copy_(weight * scale[:, None, None, None])
        assert conv.bias is not None
        conv.bias.copy_(norm.bias - mean * scale + (0 if bias is None else bias * scale))
    return conv


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
