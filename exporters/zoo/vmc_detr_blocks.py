"""Blocks that several parts of VMC-DETR share: C2f, ADown, RepC3, plain attention, and the R18-vd convolutions."""

from __future__ import annotations

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from .yolo_blocks import Conv


class ConvNorm(nn.Sequential):
    """Convolution without bias and batch normalisation; nothing behind them."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.03),
        )


class PlainBlock(nn.Module):
    """Two 3x3 convolutions with the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Conv(channels, channels, 3), Conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        out: Tensor = x + self.body(x)
        return out


class C2f(nn.Module):
    """Two halves, the second once more through ``block``, all three joined by a 1x1 convolution."""

    def __init__(self, channels: int, block: nn.Module | None = None) -> None:
        super().__init__()
        half = channels // 2
        self.split = Conv(channels, 2 * half, 1)
        self.block = PlainBlock(half) if block is None else block
        self.join = Conv(3 * half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        first, second = self.split(x).chunk(2, 1)
        out: Tensor = self.join(torch.cat([first, second, self.block(second)], 1))
        return out


class ADown(nn.Module):
    """Half the size (YOLOv9): averaged, then one half of the channels convolved, the other pooled and convolved."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.average = nn.AvgPool2d(2, 1, 0)
        self.convolve = Conv(c_in // 2, c_out // 2, 3, 2)
        self.pool = nn.Sequential(nn.MaxPool2d(3, 2, 1), Conv(c_in // 2, c_out // 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) in, (n, c_out, h/2, w/2) out; 79 averaged columns make 40."""
        one, other = self.average(x).chunk(2, 1)
        return torch.cat([self.convolve(one), self.pool(other)], 1)


class RepConv(nn.Module):
    """A 3x3 and a 1x1 convolution side by side, which are one 3x3 when deployed (see ``vmc_detr_deploy``)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = ConvNorm(channels, channels, 3)
        self.point = ConvNorm(channels, channels, 1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, h, w) in and out."""
        out: Tensor = self.act(self.wide(x) + self.point(x))
        return out


class RepC3(nn.Module):
    """Two 1x1 convolutions to half of ``c_out``, three RepConv on the first, their sum widened again."""

    def __init__(self, c_in: int, c_out: int, repeats: int = 3) -> None:
        super().__init__()
        half = c_out // 2
        self.deep = nn.Sequential(Conv(c_in, half, 1), *(RepConv(half) for _ in range(repeats)))
        self.flat = Conv(c_in, half, 1)
        self.widen = Conv(half, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) in, (n, c_out, h, w) out."""
        out: Tensor = self.widen(self.deep(x) + self.flat(x))
        return out


class Attention(nn.Module):
    """Multi-head attention: plain products and softmax, which every runtime knows; fused while it is trained."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.part = heads, channels // heads
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(n, t, c) and twice (n, s, c) in, (n, t, c) out. ``hidden`` (t, s): what a query may not see."""
        q, k, v = (self._heads(x) for x in (self.query(query), self.key(key), self.value(value)))
        if self.training:
            seen = None if hidden is None else ~hidden
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        else:
            score = q @ k.transpose(-1, -2) * self.part**-0.5
            if hidden is not None:
                score = score.masked_fill(hidden, float("-inf"))
            mixed = torch.softmax(score, -1) @ v
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[1], self.heads, self.part).transpose(1, 2)


class AIFI(nn.Module):
    """Attention among the cells of the coarsest map (RT-DETR): one post-norm encoder layer."""

    place: Tensor

    def __init__(self, channels: int, heads: int, edge: int) -> None:
        super().__init__()
        self.attend = Attention(channels, heads)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.ffn = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.register_buffer("place", place_embedding(channels, edge), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, edge, edge) in and out."""
        tokens = x.flatten(2).transpose(1, 2)
        placed = tokens + self.place
        tokens = self.norm1(tokens + self.attend(placed, placed, tokens))
        tokens = self.norm2(tokens + self.ffn(tokens))
        out: Tensor = tokens.transpose(1, 2).reshape(x.shape)
        return out


def place_embedding(channels: int, edge: int, temperature: float = 1e4) -> Tensor:
    """(edge * edge, channels): sine and cosine of column and row at channels / 4 frequencies."""
    frequency = temperature ** (-torch.arange(channels // 4) / (channels // 4))
    row, column = torch.meshgrid(torch.arange(edge), torch.arange(edge), indexing="ij")
    angles = [where.flatten()[:, None] * frequency for where in (column, row)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1)
