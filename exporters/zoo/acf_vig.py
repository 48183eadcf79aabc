"""Pyramid ViG (Han et al., "Vision GNN: An Image is Worth Graph of Nodes", NeurIPS 2022), the image side of ACF.

A picture is a grid of nodes; every block links each node to its nearest neighbours by feature and takes the greatest
difference to them. Four stages at strides 4, 8, 16 and 32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

REDUCTIONS = (4, 2, 1, 1)
"""By which the candidates for neighbours are pooled, per stage."""
NEIGHBOURS = (9, 18)
"""Of the first and the last block; between them they grow evenly."""
FIRST_DILATED = 4
"""Blocks from here on take every second of twice as many neighbours."""


class Grapher(nn.Module):
    """Project, link each node to its nearest ones, aggregate by greatest difference, project back; with a shortcut."""

    position: Tensor

    def __init__(self, channels: int, grid: int, reduction: int, neighbours: int, dilation: int) -> None:
        super().__init__()
        self.fc1 = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
        self.graph = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1, groups=4), nn.BatchNorm2d(2 * channels), nn.GELU()
        )
        self.fc2 = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.BatchNorm2d(channels))
        self.reduction = reduction
        candidates = (grid // reduction) ** 2
        self.neighbours = min(neighbours, candidates)
        self.dilation = max(1, min(dilation, candidates // self.neighbours))
        self.register_buffer("position", relative_position(channels, grid, reduction), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, grid, grid) in and out."""
        batch, channels, rows, cols = x.shape
        inner = self.fc1(x)
        others = F.avg_pool2d(inner, self.reduction) if self.reduction > 1 else inner
        nodes, candidates = inner.flatten(2).transpose(1, 2), others.flatten(2).transpose(1, 2)
        found = nearest(nodes, candidates, self.position, self.neighbours, self.dilation)
        greatest = gather(candidates, found).amax(dim=2) - nodes
        pairs = torch.stack((nodes, greatest), dim=3).flatten(2)  # x_1, m_1, x_2, m_2, ...
        joined = pairs.transpose(1, 2).reshape(batch, 2 * channels, rows, cols)
        return x + self.fc2(self.graph(joined))  # type: ignore[no-any-return]


class FFN(nn.Module):
    """Two 1x1 convolutions, four times as wide between them, with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), nn.BatchNorm2d(4 * channels))
        self.fc2 = nn.Sequential(nn.Conv2d(4 * channels, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        return x + self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class PyramidViG(nn.Module):
    """The four stages. S: channels (80, 160, 400, 640); Ti: (48, 96, 240, 384); both with depths (2, 2, 6, 2)."""

    def __init__(
        self, channels: Sequence[int] = (80, 160, 400, 640), depths: Sequence[int] = (2, 2, 6, 2), edge_px: int = 224
    ) -> None:
        super().__init__()
        if edge_px % 32 or len(channels) != 4 or len(depths) != 4:
            raise ValueError(f"edge {edge_px} px, channels {channels}, depths {depths}: use a multiple of 32 and fours")
        first, grid = channels[0], edge_px // 4
        self.stem = nn.Sequential(
            nn.Conv2d(3, first // 2, 3, 2, 1), nn.BatchNorm2d(first // 2), nn.GELU(),
            nn.Conv2d(first // 2, first, 3, 2, 1), nn.BatchNorm2d(first), nn.GELU(),
            nn.Conv2d(first, first, 3, 1, 1), nn.BatchNorm2d(first),
        )  # fmt: skip
        self.pos_embed = nn.Parameter(torch.zeros(1, first, grid, grid))
        blocks = sum(depths)
        low, high = NEIGHBOURS
        counts = [int(low + (high - low) * block / max(1, blocks - 1)) for block in range(blocks)]
        self.stages = nn.ModuleList()
        block = 0
        for stage, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            layers: list[nn.Module] = []
            if stage:
                layers += [nn.Conv2d(channels[stage - 1], width, 3, 2, 1), nn.BatchNorm2d(width)]
            for _ in range(depth):
                dilation = 1 if block < FIRST_DILATED else 2
                layers += [Grapher(width, grid >> stage, REDUCTIONS[stage], counts[block], dilation), FFN(width)]
                block += 1
            self.stages.append(nn.Sequential(*layers))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, 3, edge, edge) normalised in; stages 2, 3 and 4 out, at strides 8, 16 and 32."""
        x = self.stages[0](self.stem(x) + self.pos_embed)
        low = self.stages[1](x)
        mid = self.stages[2](low)
        return low, mid, self.stages[3](mid)


def nearest(nodes: Tensor, candidates: Tensor, position: Tensor, neighbours: int, dilation: int) -> Tensor:
    """(n, nodes, neighbours) int64: which candidates lie nearest, by unit vectors plus the relative position."""
    x, y = F.normalize(nodes.float(), dim=2), F.normalize(candidates.float(), dim=2)
    squares = (x * x).sum(2, keepdim=True) + (y * y).sum(2).unsqueeze(1)
    distance = squares - 2.0 * x @ y.transpose(1, 2) + position
    return torch.topk(-distance, neighbours * dilation, dim=2).indices[:, :, ::dilation]


def gather(candidates: Tensor, found: Tensor) -> Tensor:
    """(n, m, c) and (n, k, neighbours) in, (n, k, neighbours, c) out, by one flat look-up."""
    batch, many, channels = candidates.shape
    first = torch.arange(batch, device=found.device).view(-1, 1, 1) * many
    return candidates.reshape(batch * many, channels)[(found + first).flatten()].reshape(*found.shape, channels)


def relative_position(channels: int, grid: int, reduction: int) -> Tensor:
    """(grid^2, grid^2 / reduction^2): minus twice the likeness of the sine codes of two places; a constant.

    Its values are ones that float16 holds, so that it can be stored like the weights.
    """
    code = position_code(channels, grid)
    alike = -(2.0 / channels) * code @ code.T
    size = (grid**2, (grid // reduction) ** 2)
    return F.interpolate(alike[None, None], size=size, mode="bicubic", align_corners=False)[0, 0].half().float()


def position_code(channels: int, grid: int) -> Tensor:
    """(grid^2, channels): half the channels tell the column, half the row, each a sine then a cosine block."""
    place = torch.arange(grid, dtype=torch.float64)
    rate = 10000.0 ** (-torch.arange(channels // 4, dtype=torch.float64) / (channels / 4))
    axis = torch.cat([torch.sin(place[:, None] * rate), torch.cos(place[:, None] * rate)], dim=1)
    cols, rows = axis.repeat(grid, 1), axis.repeat_interleave(grid, 0)
    return torch.cat([cols, rows], dim=1).half().float()
