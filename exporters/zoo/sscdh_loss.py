"""What SSCDH minimises: YOLOv5's assignment and loss, with Wise-IoU v3 (Tong et al., "Wise-IoU: Bounding Box Regression
Loss with Dynamic Focusing Mechanism", 2023) or CIoU (Zheng et al., AAAI 2020) for the boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253
from torch.nn.functional import binary_cross_entropy_with_logits  # noqa: TID253

from ..errors import ExporterError
from .sscdh import SSCDH, STRIDES_PX

ALPHA, DELTA = 1.9, 3.0
BOX_GAIN, OBJECT_GAIN, CLASS_GAIN = 0.05, 1.0, 0.5
LEVEL_WEIGHTS = (4.0, 1.0, 0.4)
MAX_RATIO = 4.0
"""An anchor serves a box when neither side is that many times the other's."""
EPS = 1e-7
BOX_LOSSES = ("wise", "ciou")


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """Positives of one level: where they sit (image, anchor, row, column), and what they should be.

    ``box`` (m, 4): cx, cy relative to the cell, w, h, all in cells. ``anchor`` (m, 2) in cells. ``kind`` (m,).
    """

    image: Tensor
    slot: Tensor
    row: Tensor
    column: Tensor
    box: Tensor
    anchor: Tensor
    kind: Tensor


def iou_parts(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """IoU, squared distance of the centres, (w, h) of the enclosing box; boxes (m, 4) are cx, cy, w, h."""
    low1, high1 = ours[:, :2] - ours[:, 2:] / 2, ours[:, :2] + ours[:, 2:] / 2
    low2, high2 = theirs[:, :2] - theirs[:, 2:] / 2, theirs[:, :2] + theirs[:, 2:] / 2
    shared = (torch.minimum(high1, high2) - torch.maximum(low1, low2)).clamp(min=0).prod(1)
    union = ours[:, 2:].prod(1) + theirs[:, 2:].prod(1) - shared
    enclosing = torch.maximum(high1, high2) - torch.minimum(low1, low2)
    return shared / (union + EPS), ((ours[:, :2] - theirs[:, :2]) ** 2).sum(1), enclosing


def focus(beta: Tensor) -> Tensor:
    """The non-monotonic focusing coefficient r of v3: an average box (beta near 1.6) counts most."""
    return beta / (DELTA * ALPHA ** (beta - DELTA))


def wise_iou(ours: Tensor, theirs: Tensor, mean_loss: Tensor) -> tuple[Tensor, Tensor]:
    """Wise-IoU v3 per box, and the plain IoU. ``mean_loss``: running mean of 1 - IoU."""
    iou, distance2, enclosing = iou_parts(ours, theirs)
    loss = 1.0 - iou
    attention = torch.exp(distance2 / (enclosing**2).sum(1).detach())
    return focus(loss.detach() / mean_loss) * attention * loss, iou


def ciou(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """CIoU loss per box, and the plain IoU."""
    iou, distance2, enclosing = iou_parts(ours, theirs)
    angle = torch.atan(theirs[:, 2] / (theirs[:, 3] + EPS)) - torch.atan(ours[:, 2] / (ours[:, 3] + EPS))
    shape = 4.0 / math.pi**2 * angle**2
    weight = (shape / (shape - iou + 1.0 + EPS)).detach()
    return 1.0 - iou + distance2 / ((enclosing**2).sum(1) + EPS) + weight * shape, iou


def assign(targets: Tensor, anchors_px: Tensor, stride_px: int, rows: int, columns: int) -> Assigned:
    """Who must find what on one level. ``targets`` (m, 6): image, class, left, top, right, bottom in pixels.

    A box goes to every anchor within ``MAX_RATIO`` of its sides, in its own cell and the two nearest neighbours.
    """
    size = (targets[:, 4:6] - targets[:, 2:4]) / stride_px
    middle = (targets[:, 2:4] + targets[:, 4:6]) / (2 * stride_px)
    anchors = anchors_px.to(targets.device) / stride_px
    ratio = size[:, None] / anchors[None]
    fits = torch.maximum(ratio, 1.0 / ratio).amax(2) < MAX_RATIO
    target, slot = fits.nonzero(as_tuple=True)
    centre = middle[target]
    limits = centre.new_tensor([columns, rows])
    part = centre % 1.0
    before = (part < 0.5) & (centre > 1.0)
    after = (part > 0.5) & (centre < limits - 1.0)
    step = centre.new_tensor([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]])
    wanted = torch.stack([torch.ones_like(before[:, 0]), *before.unbind(1), *after.unbind(1)])
    which, match = wanted.nonzero(as_tuple=True)
    cell = (centre[match].floor() + step[which]).clamp(min=torch.zeros_like(limits), max=limits - 1)
    chosen = target[match]
    return Assigned(
        image=targets[chosen, 0].long(),
        slot=slot[match],
        row=cell[:, 1].long(),
        column=cell[:, 0].long(),
        box=torch.cat([centre[match] - cell, size[chosen]], 1),
        anchor=anchors[slot[match]],
        kind=targets[chosen, 1].long(),
    )


def detection_loss(
    network: SSCDH,
    maps: Sequence[Tensor],
    targets: Tensor,
    *,
    edge_px: int,
    box_loss: str = "wise",
    momentum: float = 0.01,
) -> dict[str, Tensor]:
    """``loss`` and its parts ``box``, ``object``, ``class``, for one batch in pictures of ``edge_px``.

    In training mode the network's ``mean_loss`` moves by ``momentum`` towards the batch's mean of 1 - IoU, after use.
    """
    if box_loss not in BOX_LOSSES:
        raise ExporterError(f"There is no box loss {box_loss!r}. Use one of {BOX_LOSSES}.")
    zero = maps[0].new_zeros((), dtype=torch.float32)
    parts = {"box": zero, "object": zero, "class": zero}
    found: list[Tensor] = []
    for level, raw in enumerate(map(Tensor.float, maps)):
        wanted = raw.new_zeros(raw.shape[:4])
        match = assign(targets, network.anchors_px[level], STRIDES_PX[level], raw.shape[2], raw.shape[3])
        if len(match.image):
            loss, iou, kinds = _positives(network, raw, match, box_loss)
            _raise_to(wanted, match, iou.detach().clamp(min=0))
            found.append(1.0 - iou.detach())
            parts["box"] = parts["box"] + loss
            parts["class"] = parts["class"] + kinds
        weight = LEVEL_WEIGHTS[level] * (edge_px / 640) ** 2
        parts["object"] = parts["object"] + weight * binary_cross_entropy_with_logits(raw[..., 4], wanted)
    if network.training and found:
        network.mean_loss.lerp_(torch.cat(found).mean(), momentum)
    gains = {"box": BOX_GAIN, "object": OBJECT_GAIN, "class": CLASS_GAIN * network.classes / 80}
    total = torch.stack([gains[name] * value for name, value in parts.items()]).sum() * len(maps[0])
    return {"loss": total, **{name: value.detach() for name, value in parts.items()}}


def _positives(network: SSCDH, raw: Tensor, match: Assigned, box_loss: str) -> tuple[Tensor, Tensor, Tensor]:
    """Mean box loss, IoU of each positive, mean class loss (0 for one class)."""
    chosen = raw[match.image, match.slot, match.row, match.column]
    value = torch.sigmoid(chosen[:, :4])
    box = torch.cat([2.0 * value[:, :2] - 0.5, (2.0 * value[:, 2:]) ** 2 * match.anchor], 1)
    loss, iou = wise_iou(box, match.box, network.mean_loss) if box_loss == "wise" else ciou(box, match.box)
    if network.classes == 1:
        return loss.mean(), iou, loss.new_zeros(())
    kinds = torch.nn.functional.one_hot(match.kind, network.classes).to(raw.dtype)
    return loss.mean(), iou, binary_cross_entropy_with_logits(chosen[:, 5:], kinds)


def _raise_to(wanted: Tensor, match: Assigned, iou: Tensor) -> None:
    """Where several boxes claim one cell, the best overlap is what it should say."""
    _, slots, rows, columns = wanted.shape
    flat = ((match.image * slots + match.slot) * rows + match.row) * columns + match.column
    wanted.view(-1).scatter_reduce_(0, flat, iou, "amax")
