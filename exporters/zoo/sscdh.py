"""SSCDH (Tang et al., "Enhanced Shuffle Attention with Context Decoupling Head with Wise IoU Loss for SAR Ship
Detection", Remote Sensing): YOLOv5n with shuffle attention, a fourth level and the context decoupling head.

``attention=False, head="coupled"`` is plain YOLOv5n; ``head="plain"`` the decoupled head without context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from ..errors import ExporterError
from .yolo_blocks import C3, SPPF, Conv, ShuffleAttention, channels_of, repeats_of

STRIDES_PX = (8, 16, 32)
ANCHORS_PX = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)
HEADS = ("context", "plain", "coupled")


class SSCDH(nn.Module):
    """Anchor-based detector on three levels. Input (n, 3, h, w) float32 0..1, h and w multiples of ``divisor``.

    Answers three maps (n, anchors, h/stride, w/stride, 5 + classes) of raw values tx, ty, tw, th, objectness, classes.
    """

    anchors_px: Tensor
    mean_loss: Tensor
    """Running mean of 1 - IoU, which Wise-IoU compares each box with; 1 before training."""

    def __init__(
        self,
        classes: int = 1,
        *,
        width: float = 0.25,
        depth: float = 0.33,
        attention: bool = True,
        head: str = "context",
        groups: int = 8,
        anchors_px: Sequence[Sequence[Sequence[float]]] = ANCHORS_PX,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ExporterError(f"There is no head {head!r}. Use one of {HEADS}.")
        self.classes = classes
        self.divisor = 64 if head == "context" else 32
        c2, c3, c4, c5 = (channels_of(nominal, width) for nominal in (128, 256, 512, 1024))
        self.backbone = Backbone(width, depth)
        self.neck = Neck(c3, c4, c5, repeats_of(3, depth))
        self.attention = ShuffleAttention(c5, groups) if attention else nn.Identity()
        self.level6 = None
        anchors = len(anchors_px[0])
        if head == "context":
            self.level6 = nn.Sequential(Conv(c5, c5, 3, 2), C3(c5, c5, repeats_of(3, depth), False))
            self.head: nn.Module = ContextDecouplingHead((c2, c3, c4, c5, c5), anchors, classes)
        elif head == "plain":
            self.head = PlainDecoupledHead((c3, c4, c5), channels_of(256, width), anchors, classes)
        else:
            self.head = CoupledHead((c3, c4, c5), anchors, classes)
        self.register_buffer("anchors_px", torch.tensor(anchors_px, dtype=torch.float32))
        self.register_buffer("mean_loss", torch.ones(()))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Three maps of raw values, fine to coarse."""
        check_size(image, self.divisor)
        p2, b4, b6, b9 = self.backbone(image)
        p3, p4, p5 = self.neck(b4, b6, b9)
        p5 = self.attention(p5)
        levels = [p3, p4, p5] if self.level6 is None else [p2, p3, p4, p5, self.level6(p5)]
        maps: list[Tensor] = self.head(levels)
        return maps


def check_size(image: Tensor, divisor: int) -> None:
    """Raise ExporterError unless both sides are multiples of ``divisor``."""
    rows, columns = image.shape[2], image.shape[3]
    if rows % divisor or columns % divisor:
        raise ExporterError(
            f"The detector takes sides that are multiples of {divisor} px, not {rows} x {columns}. "
            f"Letterbox to {math.ceil(rows / divisor) * divisor} x {math.ceil(columns / divisor) * divisor}."
        )


torch.fx.wrap("check_size")


class Backbone(nn.Module):
    """CSP backbone; answers the maps at strides 4, 8, 16 and 32."""

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = (channels_of(nominal, width) for nominal in (64, 128, 256, 512, 1024))
        n3, n6, n9 = (repeats_of(nominal, depth) for nominal in (3, 6, 9))
        self.stage2 = nn.Sequential(Conv(3, c1, 6, 2, 2), Conv(c1, c2, 3, 2), C3(c2, c2, n3, True))
        self.stage3 = nn.Sequential(Conv(c2, c3, 3, 2), C3(c3, c3, n6, True))
        self.stage4 = nn.Sequential(Conv(c3, c4, 3, 2), C3(c4, c4, n9, True))
        self.stage5 = nn.Sequential(Conv(c4, c5, 3, 2), C3(c5, c5, n3, True), SPPF(c5))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(n, 3, h, w) in."""
        p2 = self.stage2(image)
        b4 = self.stage3(p2)
        b6 = self.stage4(b4)
        return p2, b4, b6, self.stage5(b6)


class Neck(nn.Module):
    """Path aggregation: down from coarse to fine, and up again."""

    def __init__(self, c3: int, c4: int, c5: int, repeats: int) -> None:
        super().__init__()
        self.lateral5, self.lateral4 = Conv(c5, c4, 1), Conv(c4, c3, 1)
        self.down4, self.down3 = C3(2 * c4, c4, repeats, False), C3(2 * c3, c3, repeats, False)
        self.to4, self.up4 = Conv(c3, c3, 3, 2), C3(2 * c3, c4, repeats, False)
        self.to5, self.up5 = Conv(c4, c4, 3, 2), C3(2 * c4, c5, repeats, False)

    def forward(self, b4: Tensor, b6: Tensor, b9: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps at strides 8, 16 and 32 in and out."""
        side5 = self.lateral5(b9)
        side4 = self.lateral4(self.down4(torch.cat([twice(side5), b6], 1)))
        p3 = self.down3(torch.cat([twice(side4), b4], 1))
        p4 = self.up4(torch.cat([self.to4(p3), side4], 1))
        return p3, p4, self.up5(torch.cat([self.to5(p4), side5], 1))


class ContextDecouplingHead(nn.Module):
    """One ``ContextLevel`` for each of the three middle maps of (P2, P3, P4, P5, P6)."""

    def __init__(self, channels: Sequence[int], anchors: int, classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            ContextLevel(channels[at], channels[at + 1], channels[at + 2], anchors, classes, STRIDES_PX[at])
            for at in range(3)
        )

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Five maps in, three maps of raw values out."""
        return [level(levels[at], levels[at + 1], levels[at + 2]) for at, level in enumerate(self.levels)]


class ContextLevel(nn.Module):
    """Semantic context encoding with the coarser level for what and whether, detail-preserving encoding with the finer
    and the coarser level for where (equations 4 to 6). Objectness belongs to the semantic branch.
    """

    def __init__(self, finer: int, own: int, coarser: int, anchors: int, classes: int, stride_px: int) -> None:
        super().__init__()
        self.anchors, self.values = anchors, 1 + classes
        self.sce_down = Conv(own, own, 3, 2)
        self.sce = nn.Sequential(Conv(own + coarser, own, 1), Conv(own, own, 3))
        self.predict_what = nn.Conv2d(own, 4 * anchors * self.values, 1)
        self.dpe_finer, self.dpe_coarser = Conv(finer, own, 1), Conv(coarser, own, 1)
        self.dpe_down = Conv(own, own, 3, 2)
        self.dpe = nn.Sequential(Conv(own, own, 3), Conv(own, own, 3))
        self.predict_where = nn.Conv2d(own, 4 * anchors, 1)
        _start_biases(self.predict_what, anchors, classes, stride_px, at=0, copies=4)

    def forward(self, finer: Tensor, own: Tensor, coarser: Tensor) -> Tensor:
        """Three neighbouring maps in, (n, anchors, h, w, 5 + classes) out."""
        what = self.sce(torch.cat([self.sce_down(own), coarser], 1))
        what = nn.functional.pixel_shuffle(self.predict_what(what), 2)
        detail = self.dpe_down(self.dpe_finer(finer) + twice(own))
        where = self.predict_where(self.dpe(own + twice(self.dpe_coarser(coarser)) + detail))
        return torch.cat([apart(where, self.anchors), apart(what, self.anchors)], -1)


class PlainDecoupledHead(nn.Module):
    """Decoupled head without context (Ge et al., "YOLOX", 2021): a 1x1 stem, two 3x3 convolutions a branch."""

    def __init__(self, channels: Sequence[int], hidden: int, anchors: int, classes: int) -> None:
        super().__init__()
        self.anchors = anchors

        def branch() -> nn.Module:
            return nn.Sequential(Conv(hidden, hidden, 3), Conv(hidden, hidden, 3))

        self.stems = nn.ModuleList(Conv(own, hidden, 1) for own in channels)
        self.what = nn.ModuleList(branch() for _ in channels)
        self.where = nn.ModuleList(branch() for _ in channels)
        self.predict_what = nn.ModuleList(nn.Conv2d(hidden, anchors * (1 + classes), 1) for _ in channels)
        self.predict_where = nn.ModuleList(nn.Conv2d(hidden, anchors * 4, 1) for _ in channels)
        for predictor, stride_px in zip(self.predict_what, STRIDES_PX, strict=True):
            _start_biases(predictor, anchors, classes, stride_px, at=0)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Three maps in, three maps of raw values out."""
        maps = []
        for at, stem in enumerate(self.stems):
            x = stem(levels[at])
            where = self.predict_where[at](self.where[at](x))
            what = self.predict_what[at](self.what[at](x))
            maps.append(torch.cat([apart(where, self.anchors), apart(what, self.anchors)], -1))
        return maps


class CoupledHead(nn.Module):
    """YOLOv5's own: one 1x1 convolution a level."""

    def __init__(self, channels: Sequence[int], anchors: int, classes: int) -> None:
        super().__init__()
        self.anchors = anchors
        self.predict = nn.ModuleList(nn.Conv2d(own, anchors * (5 + classes), 1) for own in channels)
        for predictor, stride_px in zip(self.predict, STRIDES_PX, strict=True):
            _start_biases(predictor, anchors, classes, stride_px, at=4)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Three maps in, three maps of raw values out."""
        return [apart(predict(levels[at]), self.anchors) for at, predict in enumerate(self.predict)]


def twice(x: Tensor) -> Tensor:
    """Nearest-neighbour upsampling by two."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def apart(x: Tensor, anchors: int) -> Tensor:
    """(n, anchors * values, h, w) in, (n, anchors, h, w, values) out."""
    return x.reshape(-1, anchors, x.shape[1] // anchors, x.shape[2], x.shape[3]).permute(0, 1, 3, 4, 2)


def _start_biases(
    predictor: nn.Module, anchors: int, classes: int, stride_px: int, *, at: int, copies: int = 1
) -> None:
    """Start from eight objects in a picture of 640 px; with one class, from its certainty."""
    assert isinstance(predictor, nn.Conv2d)
    assert predictor.bias is not None
    bias = predictor.bias.data.view(anchors, -1, copies)
    bias[:, at] = math.log(8 / (640 / stride_px) ** 2)
    bias[:, at + 1 :] = math.log(0.6 / (classes - 0.99999))
