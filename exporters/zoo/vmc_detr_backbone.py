"""What reads the picture: VMC-DETR's C2f backbone, with or without heat, or RT-DETR's ResNet-18-vd."""

from __future__ import annotations

from torch import Tensor, nn  # noqa: TID253

from .vmc_detr_blocks import C2f, ConvNorm
from .vmc_detr_vheat import VHeatC2f
from .yolo_blocks import Conv, channels_of

BACKBONES = ("vheat", "c2f", "r18")


class Backbone(nn.Module):
    """Five steps of half the size, one block a stage (DECISION D1). ``heat``: VHeat C2f in the last two stages."""

    def __init__(self, width: float, edge_px: int, *, heat: bool) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = (channels_of(nominal, width) for nominal in (64, 128, 256, 512, 1024))
        self.channels = (c3, c4, c5)
        self.stem = Conv(3, c1, 3, 2)
        self.stage2 = nn.Sequential(Conv(c1, c2, 3, 2), C2f(c2))
        self.stage3 = nn.Sequential(Conv(c2, c3, 3, 2), C2f(c3))
        self.stage4 = nn.Sequential(Conv(c3, c4, 3, 2), VHeatC2f(c4, edge_px // 16) if heat else C2f(c4))
        self.stage5 = nn.Sequential(Conv(c4, c5, 3, 2), VHeatC2f(c5, edge_px // 32) if heat else C2f(c5))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 3, edge, edge) in, the maps at strides 8, 16 and 32 out."""
        c3 = self.stage3(self.stage2(self.stem(image)))
        c4 = self.stage4(c3)
        return c3, c4, self.stage5(c4)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a way around them, which averages where the size halves (variant d)."""

    def __init__(self, c_in: int, c_out: int, *, first: bool, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(c_in, c_out, 3, stride), nn.ReLU(), ConvNorm(c_out, c_out, 3))
        around: list[nn.Module] = [ConvNorm(c_in, c_out, 1)] if first else []
        if stride == 2:
            around.insert(0, nn.AvgPool2d(2, 2, 0, ceil_mode=True))
        self.around = nn.Sequential(*around)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) in, (n, c_out, h/stride, w/stride) out."""
        out: Tensor = self.act(self.body(x) + self.around(x))
        return out


class ResNet18vd(nn.Module):
    """He et al., "Bag of Tricks for Image Classification", 2019, as RT-DETR-R18 uses it."""

    def __init__(self, width: float) -> None:
        super().__init__()
        half, c2, c3, c4, c5 = (channels_of(nominal, width) for nominal in (32, 64, 128, 256, 512))
        self.channels = (c3, c4, c5)
        stem = [(3, half, 2), (half, half, 1), (half, c2, 1)]
        layers = [layer for a, b, stride in stem for layer in (ConvNorm(a, b, 3, stride), nn.ReLU())]
        self.stem = nn.Sequential(*layers, nn.MaxPool2d(3, 2, 1))
        self.stage2 = _residual(c2, c2, 1)
        self.stage3 = _residual(c2, c3, 2)
        self.stage4 = _residual(c3, c4, 2)
        self.stage5 = _residual(c4, c5, 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 3, edge, edge) in, the maps at strides 8, 16 and 32 out."""
        c3 = self.stage3(self.stage2(self.stem(image)))
        c4 = self.stage4(c3)
        return c3, c4, self.stage5(c4)


def _residual(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(c_in, c_out, first=True, stride=stride), BasicBlock(c_out, c_out, first=False, stride=1)
    )


def make_backbone(kind: str, width: float, edge_px: int) -> Backbone | ResNet18vd:
    """One of ``BACKBONES``; its ``channels`` are the widths of its three maps."""
    return ResNet18vd(width) if kind == "r18" else Backbone(width, edge_px, heat=kind == "vheat")
