"""What VMC-DETR minimises: varifocal class loss, distance and overlap of the matched boxes, on every layer.

And the same on noisy copies of the true boxes (Zhang et al., DINO, ICLR 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

from .vmc_detr import VMCDETR
from .vmc_detr_decoder import Denoising, logit
from .vmc_detr_matching import giou, match

CLASS_GAIN, BOX_GAIN, GIOU_GAIN = 1.0, 5.0, 2.0
DENOISING_QUERIES, LABEL_NOISE, BOX_NOISE = 100, 0.5, 1.0
DENOISING_MOST = 500
"""True boxes of a picture that are copied: a crowd of thousands would make tens of thousands of queries."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The boxes of one picture: ``boxes`` (m, 4) cx, cy, w, h as fractions, ``kinds`` (m,)."""

    boxes: Tensor
    kinds: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Who answers for what, over a batch: picture, query, and (m, 4) box and (m,) class that it should say."""

    image: Tensor
    query: Tensor
    boxes: Tensor
    kinds: Tensor


def truths(targets: Tensor, images: int, edge_px: int) -> list[Truth]:
    """Picture by picture what (m, 6) rows of image, class, left, top, right, bottom in pixels say."""
    middle, size = (targets[:, 2:4] + targets[:, 4:6]) / 2, targets[:, 4:6] - targets[:, 2:4]
    boxes, kinds = torch.cat([middle, size], 1) / edge_px, targets[:, 1].long()
    return [Truth(boxes[own], kinds[own]) for own in (targets[:, 0] == image for image in range(images))]


def varifocal(logits: Tensor, quality: Tensor, matched: Tensor) -> Tensor:
    """Zhang et al., VarifocalNet, CVPR 2021, summed. ``matched``: where a class is right; ``quality``: IoU there."""
    probability = torch.sigmoid(logits).detach()
    weight = torch.where(matched, quality, 0.75 * probability**2)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, quality, weight=weight, reduction="none")
    return each.sum()


def layer_loss(boxes: Tensor, logits: Tensor, pairs: Pairs, count: float) -> dict[str, Tensor]:
    """``class``, ``box`` and ``giou`` of one layer: sums over the batch, by the number of true boxes, unweighted."""
    ours = boxes[pairs.image, pairs.query]
    overlap, iou = giou(ours, pairs.boxes)
    quality, matched = torch.zeros_like(logits), torch.zeros_like(logits, dtype=torch.bool)
    quality[pairs.image, pairs.query, pairs.kinds] = iou.detach().clamp(0.0, 1.0)
    matched[pairs.image, pairs.query, pairs.kinds] = True
    return {
        "class": varifocal(logits, quality, matched) / count,
        "box": (ours - pairs.boxes).abs().sum() / count,
        "giou": (1.0 - overlap).sum() / count,
    }


def matched_pairs(boxes: Tensor, logits: Tensor, wanted: list[Truth]) -> Pairs:
    """The assignment of least cost of every picture of a batch."""
    parts = [match(b, k, one.boxes, one.kinds) for b, k, one in zip(boxes, logits, wanted, strict=True)]
    return Pairs(
        torch.cat([torch.full_like(query, image) for image, (query, _) in enumerate(parts)]),
        torch.cat([query for query, _ in parts]),
        torch.cat([one.boxes[target] for one, (_, target) in zip(wanted, parts, strict=True)]),
        torch.cat([one.kinds[target] for one, (_, target) in zip(wanted, parts, strict=True)]),
    )


def noisy_queries(
    wanted: list[Truth], classes: int, queries: int, copies: int = DENOISING_QUERIES
) -> tuple[Denoising, Pairs, int] | None:
    """Noisy copies of the true boxes, what they should say, and how many times each is copied; None without boxes.

    ``copies``: about as many of each kind a picture, shared among the boxes of the fullest picture.

    Each group holds a positive copy of every box, moved by less than half of its size, then a negative one, moved
    by more. Groups do not see each other, and the rest does not see them.
    """
    shown = [_sampled(one) for one in wanted]
    most = max(len(one.kinds) for one in shown)
    if most == 0:
        return None
    groups = max(1, copies // most)
    device, size = shown[0].boxes.device, 2 * most * groups
    kinds = torch.full((len(shown), groups, 2, most), classes, device=device)
    boxes = torch.full((len(shown), groups, 2, most, 4), 0.5, device=device)
    for image, one in enumerate(shown):
        own = len(one.kinds)
        kinds[image, :, :, :own] = _noisy_kinds(one.kinds.expand(groups, 2, own), classes)
        boxes[image, :, :, :own] = _noisy_boxes(one.boxes.expand(groups, 2, own, 4))
    group = torch.arange(size, device=device) // (2 * most)
    group = torch.cat([group, torch.full((queries,), -1, device=device)])
    hidden = (group[None] != group[:, None]) & (group[None] >= 0)  # of the copies, each sees its own group alone
    pairs = _positives(shown, groups, most)
    return Denoising(kinds.flatten(1), logit(boxes.flatten(1, 3)), hidden), pairs, groups


def _sampled(one: Truth) -> Truth:
    if len(one.kinds) <= DENOISING_MOST:
        return one
    chosen = torch.randperm(len(one.kinds), device=one.kinds.device)[:DENOISING_MOST]
    return Truth(one.boxes[chosen], one.kinds[chosen])


def _noisy_kinds(kinds: Tensor, classes: int) -> Tensor:
    random = torch.randint(0, classes, kinds.shape, device=kinds.device)
    return torch.where(torch.rand(kinds.shape, device=kinds.device) < 0.5 * LABEL_NOISE, random, kinds)


def _noisy_boxes(boxes: Tensor) -> Tensor:
    """(groups, 2, m, 4): the second of each pair is moved by half to all of its size, the first by less."""
    part = torch.rand(boxes.shape, device=boxes.device)
    part[:, 1] += 1.0
    sign = torch.randint(0, 2, boxes.shape, device=boxes.device) * 2.0 - 1.0
    half, middle = boxes[..., 2:] / 2, boxes[..., :2]
    edges = torch.cat([middle - half, middle + half], -1)
    moved = (edges + sign * part * torch.cat([half, half], -1) * BOX_NOISE).clamp(0.0, 1.0)
    low, high = moved[..., :2], moved[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def _positives(shown: list[Truth], groups: int, most: int) -> Pairs:
    image = torch.cat([torch.full((groups * len(one.kinds),), i) for i, one in enumerate(shown)])
    place = [torch.arange(groups)[:, None] * 2 * most + torch.arange(len(one.kinds)) for one in shown]
    device = shown[0].kinds.device
    return Pairs(
        image.to(device),
        torch.cat([one.flatten() for one in place]).to(device),
        torch.cat([one.boxes.repeat(groups, 1) for one in shown]),
        torch.cat([one.kinds.repeat(groups) for one in shown]),
    )


def detection_loss(
    network: VMCDETR, image: Tensor, targets: Tensor, *, denoise: bool = True, copies: int = DENOISING_QUERIES
) -> dict[str, Tensor]:
    """``loss`` and its parts ``class``, ``box``, ``giou``, ``denoising`` for one batch.

    ``targets`` (m, 6): image, class, left, top, right, bottom in pixels. Draws the noise from torch's generator.
    """
    wanted = truths(targets, len(image), network.edge_px)
    count = max(1.0, float(len(targets)))
    noisy = noisy_queries(wanted, network.classes, network.decoder.queries, copies) if denoise else None
    found = network.heads(image, None if noisy is None else noisy[0])
    extra = 0 if noisy is None else noisy[0].kinds.shape[1]
    parts = [
        layer_loss(boxes, logits, matched_pairs(boxes, logits, wanted), count)
        for boxes, logits in [
            (found.start_boxes, found.start_logits),
            *((b[:, extra:], k[:, extra:]) for b, k in zip(found.boxes, found.logits, strict=True)),
        ]
    ]
    sums = {name: torch.stack([part[name] for part in parts]).sum() for name in ("class", "box", "giou")}
    loss = weighted(sums)
    denoised = loss.new_zeros(())
    if noisy is not None:
        _, pairs, groups = noisy
        layers = zip(found.boxes, found.logits, strict=True)
        each = [layer_loss(b[:, :extra], k[:, :extra], pairs, count * groups) for b, k in layers]
        denoised = torch.stack([weighted(one) for one in each]).sum()
    return {"loss": loss + denoised, **{k: v.detach() for k, v in sums.items()}, "denoising": denoised.detach()}


def weighted(parts: dict[str, Tensor]) -> Tensor:
    """The parts of a loss added with their gains."""
    return CLASS_GAIN * parts["class"] + BOX_GAIN * parts["box"] + GIOU_GAIN * parts["giou"]
