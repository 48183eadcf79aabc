"""The plain U-Net that Hybrid-SegUFormer is measured against (Ronneberger et al., MICCAI 2015, with normalisation)."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253


class UNet(nn.Module):
    """Five levels. 32 features: 7,765,985 parameters and 13.746 G operations at 256 px, the paper's U-Net row."""

    def __init__(self, width: int = 32, *, bands: int = 3) -> None:
        super().__init__()
        widths = [width << level for level in range(5)]
        self.encoder = nn.ModuleList(double_conv(a, b) for a, b in zip([bands, *widths[:4]], widths, strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * many, many, 2, 2) for many in widths[:4])
        self.decoder = nn.ModuleList(double_conv(2 * many, many) for many in widths[:4])
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(n, bands, rows, cols) in, rows and cols multiples of 16; (n, 1, rows, cols) logits out."""
        maps, x = [], image
        for level, conv in enumerate(self.encoder):
            x = conv(functional.max_pool2d(x, 2) if level else x)
            maps.append(x)
        for level in (3, 2, 1, 0):
            x = self.decoder[level](torch.cat([self.up[level](x), maps[level]], dim=1))
        return self.head(x)  # type: ignore[no-any-return]


def double_conv(channels_in: int, channels: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each normalised and rectified."""
    return nn.Sequential(
        *(nn.Conv2d(channels_in, channels, 3, 1, 1), nn.BatchNorm2d(channels), nn.ReLU()),
        *(nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels), nn.ReLU()),
    )
