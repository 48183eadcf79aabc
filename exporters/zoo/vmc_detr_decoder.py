"""RT-DETR's decoder (Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", CVPR 2024), without its operator.

The best cells of three maps become queries; three layers refine their boxes by attention among them and by deformable
attention to the maps (Zhu et al., "Deformable DETR", ICLR 2021), here as bilinear sampling that every runtime knows.
Boxes are cx, cy, w, h as fractions of the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .vmc_detr_blocks import Attention, ConvNorm

POINTS = 4
BAR = -1e4
"""Added to the scores of cells that may not become queries: equal scores would tie, and come in any order."""
FAR = 1e4
"""Logit of their anchors; an infinite one makes 0 * inf in half precision."""
EPS = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Denoising:
    """Extra queries of a training step. ``kinds`` (n, q) int64, the number of classes where there is none; ``boxes``
    (n, q, 4) logits; ``hidden`` (q + queries,) square bool: what may not be seen.
    """

    kinds: Tensor
    boxes: Tensor
    hidden: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """All answers of one pass. ``boxes`` and ``logits``: of each layer (n, q, 4) and (n, q, classes), extra queries
    first; ``start_*``: of the encoder's choice (n, queries, ...).
    """

    boxes: list[Tensor]
    logits: list[Tensor]
    start_boxes: Tensor
    start_logits: Tensor


def mlp(c_in: int, hidden: int, c_out: int, layers: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    sides = [c_in, *[hidden] * (layers - 1), c_out]
    parts: list[nn.Module] = []
    for a, b in pairwise(sides):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def logit(x: Tensor) -> Tensor:
    """The inverse of the sigmoid, kept finite."""
    x = x.clamp(0.0, 1.0)
    return torch.log(x.clamp(min=EPS) / (1.0 - x).clamp(min=EPS))


def anchor_logits(edges: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(cells, 4) logits of the anchors, and (cells, 1) whether a cell may become a query.

    A cell's anchor sits in its middle and is 0.05 * 2^level wide; those nearer to the border than 0.01 are out.
    """
    levels = []
    for level, edge in enumerate(edges):
        middle = (torch.arange(edge) + 0.5) / edge
        row, column = torch.meshgrid(middle, middle, indexing="ij")
        size = torch.full_like(row, 0.05 * 2.0**level)
        levels.append(torch.stack([column, row, size, size], -1).reshape(-1, 4))
    anchors = torch.cat(levels)
    valid = ((anchors > 0.01) & (anchors < 0.99)).all(1, keepdim=True)
    return torch.where(valid, torch.log(anchors / (1.0 - anchors)), torch.full_like(anchors, FAR)), valid


class DeformableAttention(nn.Module):
    """Each query looks at a few points of every map around its box."""

    def __init__(self, channels: int, heads: int, edges: Sequence[int]) -> None:
        super().__init__()
        self.heads, self.edges = heads, tuple(edges)
        self.samples = len(edges) * POINTS
        self.offset = nn.Linear(channels, heads * self.samples * 2)
        self.weight = nn.Linear(channels, heads * self.samples)
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self._start()

    def forward(self, x: Tensor, boxes: Tensor, memory: Tensor) -> Tensor:
        """(n, q, c), their boxes (n, q, 4) and all cells (n, cells, c) in, (n, q, c) out."""
        share = torch.softmax(self.weight(x).unflatten(2, (self.heads, self.samples)).float(), -1)
        offset = self.offset(x).unflatten(2, (self.heads, self.samples, 2)).float()
        reach = boxes[:, :, None, None, 2:] * (0.5 / POINTS)
        grid = (2.0 * (boxes[:, :, None, None, :2] + offset * reach) - 1.0).transpose(1, 2)
        value = self.value(memory).float().transpose(1, 2).unflatten(1, (self.heads, -1)).flatten(0, 1)
        seen, start = [], 0
        for level, edge in enumerate(self.edges):
            places = grid[:, :, :, level * POINTS : (level + 1) * POINTS].flatten(0, 1)
            level_map = value[:, :, start : start + edge * edge].unflatten(2, (edge, edge))
            seen.append(
                nn.functional.grid_sample(level_map, places, mode="bilinear", padding_mode="zeros", align_corners=False)
            )
            start += edge * edge
        mixed: Tensor = (torch.cat(seen, -1) * share.transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
        joined = mixed.reshape(-1, mixed.shape[1] * self.heads, mixed.shape[2])
        out: Tensor = self.out(joined.transpose(1, 2))
        return out

    def _start(self) -> None:
        """Heads look in different directions, points ever farther; all count alike."""
        angle = torch.arange(self.heads, dtype=torch.float32) * (2.0 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, POINTS + 1, dtype=torch.float32).repeat(len(self.edges))
        with torch.no_grad():
            self.offset.bias.copy_((direction[:, None] * steps[None, :, None]).flatten())
        for layer in (self.offset, self.weight):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.weight.bias)
        for layer in (self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


class DecoderLayer(nn.Module):
    """Attention among queries, deformable attention to the maps, a small network; each normalised after the sum."""

    def __init__(self, channels: int, heads: int, edges: Sequence[int]) -> None:
        super().__init__()
        self.attend = Attention(channels, heads)
        self.look = DeformableAttention(channels, heads, edges)
        self.ffn = nn.Sequential(nn.Linear(channels, 4 * channels), nn.ReLU(), nn.Linear(4 * channels, channels))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, place: Tensor, boxes: Tensor, memory: Tensor, hidden: Tensor | None) -> Tensor:
        """(n, q, c) in and out."""
        placed = x + place
        x = self.norm1(x + self.attend(placed, placed, x, hidden))
        x = self.norm2(x + self.look(x + place, boxes, memory))
        out: Tensor = self.norm3(x + self.ffn(x))
        return out


class Decoder(nn.Module):
    """Maps in, queries' boxes and scores out."""

    anchors: Tensor
    valid: Tensor
    bar: Tensor

    def __init__(
        self, classes: int, channels: int, heads: int, edges: Sequence[int], *, queries: int, layers: int
    ) -> None:
        super().__init__()
        self.classes, self.queries = classes, min(queries, sum(edge * edge for edge in edges))
        self.enter = nn.ModuleList(ConvNorm(channels, channels, 1) for _ in edges)
        self.feature = nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels))
        self.start_score, self.start_box = nn.Linear(channels, classes), mlp(channels, channels, 4, 3)
        self.layers = nn.ModuleList(DecoderLayer(channels, heads, edges) for _ in range(layers))
        self.scores = nn.ModuleList(nn.Linear(channels, classes) for _ in range(layers))
        self.boxes = nn.ModuleList(mlp(channels, channels, 4, 3) for _ in range(layers))
        self.place = mlp(4, 2 * channels, channels, 2)
        self.known = nn.Embedding(classes, channels)
        anchors, valid = anchor_logits(edges)
        self.register_buffer("anchors", anchors, persistent=False)
        self.register_buffer("valid", valid.float(), persistent=False)
        self.register_buffer("bar", torch.where(valid[:, 0], 0.0, BAR), persistent=False)
        self._start()

    def forward(self, maps: Sequence[Tensor], denoising: Denoising | None = None) -> Heads:
        """Three maps (n, channels, h, w), fine to coarse."""
        memory = torch.cat([enter(x).flatten(2).transpose(1, 2) for enter, x in zip(self.enter, maps, strict=True)], 1)
        content, start, start_logits = self._chosen(memory)
        x, box = content.detach(), torch.sigmoid(start.detach())
        if denoising is not None:
            x, box = self._joined(denoising, x, box)
        hidden = None if denoising is None else denoising.hidden
        boxes: list[Tensor] = []
        logits: list[Tensor] = []
        before = box
        for layer, to_score, to_box in zip(self.layers, self.scores, self.boxes, strict=True):
            x = layer(x, self.place(box), box, memory, hidden)
            step = to_box(x).float()
            refined = torch.sigmoid(step + logit(box))
            boxes.append(torch.sigmoid(step + logit(before)) if boxes else refined)
            logits.append(to_score(x).float())
            before, box = refined, refined.detach()
        return Heads(boxes, logits, torch.sigmoid(start), start_logits)

    def _chosen(self, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Contents, box logits and class logits of the cells with the best scores."""
        feature = self.feature(memory * self.valid)
        scores = self.start_score(feature).float()
        index = torch.topk(scores.amax(-1) + self.bar, self.queries, 1).indices[..., None]
        content = feature.gather(1, index.expand(-1, -1, feature.shape[2]))
        anchors = self.anchors.index_select(0, index.flatten()).reshape(-1, self.queries, 4)  # Gather, not GatherND
        start = self.start_box(content).float() + anchors
        return content, start, scores.gather(1, index.expand(-1, -1, self.classes))

    def _joined(self, denoising: Denoising, x: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        none = (denoising.kinds == self.classes)[..., None]
        known = self.known(denoising.kinds.clamp(max=self.classes - 1)).masked_fill(none, 0.0)
        return torch.cat([known.to(x.dtype), x], 1), torch.cat([torch.sigmoid(denoising.boxes), box], 1)

    def _start(self) -> None:
        """Every class at 1 %; boxes where their anchors are."""
        for layer in (self.start_score, *self.scores):
            assert isinstance(layer, nn.Linear)
            nn.init.constant_(layer.bias, -math.log(99.0))
        for box in (self.start_box, *self.boxes):
            assert isinstance(box, nn.Sequential)
            last = box[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        nn.init.xavier_uniform_(self.feature[0].weight)  # type: ignore[arg-type]
