"""Cross-view geo-localisation (Ding et al., "Cross-View Geo-Localization via 3D Gaussian Splatting-Based Novel View
Synthesis"): one view's encoder, a picture in, a unit vector out; pictures of one place have vectors that are near.

The backbone is DINOv2 (layer names are those of its released weights) or, where none are at hand, a small convolutional
one. The head is the paper's mixer (equations 7 to 11). Decisions D2 to D6 are in ``docs/zoo/geo-encoder.md``.
"""

from __future__ import annotations

import math
from typing import Any

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

PATCH = 14
VIT = {"vit_s": (384, 12, 6), "vit_b": (768, 12, 12), "vit_tiny": (48, 2, 3)}
"""Width, blocks and heads. ``vit_tiny`` is for tests."""
TABLE_CELLS = 37
"""Side of the released position table: 518 px."""
CONV = "conv"
LOG_SCALE, MAX_SCALE = math.log(1.0 / 0.07), 100.0


class Attention(nn.Module):
    """Self-attention over all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, length, width) in and out."""
        count, length, width = tokens.shape
        q, k, v = self.qkv(tokens).view(count, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, length, width))
        return out


class Mlp(nn.Module):
    """Two layers with GELU in its erf form."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, length, width) in and out."""
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out


class LayerScale(nn.Module):
    """One learnable factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, length, width) in and out."""
        return tokens * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.ls2 = LayerScale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, length, width) in and out."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        out: Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return out


class PatchEmbed(nn.Module):
    """One token a patch of 14 px."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, rows, cols) in, (n, cells, width) row by row out."""
        cells: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return cells


class DinoV2(nn.Module):
    """DINOv2's vision transformer without registers, for pictures of one size (D2)."""

    positions: Tensor | None

    def __init__(self, kind: str, rows: int, cols: int) -> None:
        super().__init__()
        width, depth, heads = VIT[kind]
        self.width, self.grid = width, (rows // PATCH, cols // PATCH)
        self.patch_embed = PatchEmbed(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TABLE_CELLS**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.register_buffer("positions", None, persistent=False)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def table(self) -> Tensor:
        """(1, 1 + cells, width): the positions for this size, with the settings of the weights' own release."""
        if self.grid == (TABLE_CELLS, TABLE_CELLS):
            return self.pos_embed
        square = self.pos_embed[:, 1:].reshape(1, TABLE_CELLS, TABLE_CELLS, self.width).permute(0, 3, 1, 2)
        factor = tuple((side + 0.1) / TABLE_CELLS for side in self.grid)  # the release's offset against rounding down
        scaled = F.interpolate(square.float(), scale_factor=factor, mode="bicubic", antialias=False)
        cells = scaled.permute(0, 2, 3, 1).reshape(1, -1, self.width)
        return torch.cat([self.pos_embed[:, :1], cells], dim=1)

    def freeze_table(self) -> None:
        """Keep the positions as a constant, so that no graph has to resize them."""
        self.positions = self.table().detach().clone()

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, rows, cols) normalised in, patch tokens (n, cells, width) after the last norm out."""
        cells = self.patch_embed(image)
        first = self.cls_token.expand(cells.shape[0], -1, -1)
        tokens = torch.cat([first, cells], dim=1) + (self.table() if self.positions is None else self.positions)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed[:, 1:]


def _conv(bands: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(bands, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


class EdgeBackbone(nn.Module):
    """Six convolutions, an eighth of the side: what trains from nothing on a laptop. Cells (n, cells, width) out."""

    def __init__(self, rows: int, cols: int, widths: tuple[int, int, int, int] = (32, 64, 96, 128)) -> None:
        super().__init__()
        self.width, self.grid = widths[3], (rows // 8, cols // 8)
        self.low = nn.Sequential(_conv(3, widths[0], 2), _conv(widths[0], widths[1], 2))
        self.mid = _conv(widths[1], widths[1], 1)
        self.top = nn.Sequential(_conv(widths[1], widths[2], 2), _conv(widths[2], widths[3], 1))

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, rows, cols) normalised in."""
        low = self.low(image)
        cells: Tensor = self.top(low + self.mid(low))
        return cells.flatten(2).transpose(1, 2)


class MixerLayer(nn.Module):
    """X <- X + W2 ReLU(W1 LN(X)) along the cells of each channel (equations 7 and 8)."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(cells)
        self.w1 = nn.Linear(cells, cells)
        self.w2 = nn.Linear(cells, cells)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, channels, cells) in and out."""
        return rows + self.w2(F.relu(self.w1(self.norm(rows))))  # type: ignore[no-any-return]


class Mixer(nn.Module):
    """The head (equations 7 to 11, D4 and D5): mixes cells, then projects channels to D and cells to r."""

    def __init__(self, cells: int, width: int, *, layers: int = 4, channels: int = 250, rows: int = 4) -> None:
        super().__init__()
        self.mix = nn.Sequential(*[MixerLayer(cells) for _ in range(layers)])
        self.channel_proj = nn.Linear(width, channels)
        self.row_proj = nn.Linear(cells, rows)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (n, cells, width) in, (n, channels * rows) out, not yet of length 1."""
        mixed = self.mix(tokens.transpose(1, 2))
        few = self.channel_proj(mixed.transpose(1, 2)).transpose(1, 2)
        flat: Tensor = self.row_proj(few).flatten(1)
        return flat


class MeanHead(nn.Module):
    """The baseline's head: the mean of the cells, projected."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (n, cells, width) in, (n, dim) out."""
        out: Tensor = self.proj(tokens.mean(1))
        return out


class GeoEncoder(nn.Module):
    """One view's encoder. ``image``: (n, 3, rows, cols), ImageNet-normalised; out (n, channels * mixed_rows), length 1.

    ``pool``: averages the map 2 x 2 before the mixer (D6). ``frozen``: no gradient for the backbone. ``log_scale``: of
    the similarities in the loss (D12); it comes along because it says how sure a similarity is.
    """

    def __init__(
        self,
        *,
        backbone: str = "vit_b",
        rows: int = 126,
        cols: int = 518,
        pool: bool = False,
        mixer: bool = True,
        layers: int = 4,
        channels: int = 250,
        mixed_rows: int = 4,
        frozen: bool = True,
    ) -> None:
        super().__init__()
        step = 8 if backbone == CONV else PATCH
        if backbone != CONV and backbone not in VIT:
            raise ValueError(f"backbone {backbone!r}: use one of {', '.join((CONV, *VIT))}")
        if rows % step or cols % step or min(rows, cols) < 2 * step:
            raise ValueError(f"{rows} x {cols} px: this backbone needs sides that are multiples of {step}")
        made: Any = EdgeBackbone(rows, cols) if backbone == CONV else DinoV2(backbone, rows, cols)
        self.backbone, self.pool = made, pool
        self.frozen = frozen and backbone != CONV
        self.grid: tuple[int, int] = made.grid
        high, wide = (side // 2 for side in self.grid) if pool else self.grid
        dim = channels * mixed_rows
        self.head: nn.Module = (
            Mixer(high * wide, made.width, layers=layers, channels=channels, rows=mixed_rows)
            if mixer
            else MeanHead(made.width, dim)
        )
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        if self.frozen:
            self.backbone.requires_grad_(False)

    def features(self, image: Tensor) -> Tensor:
        """(n, 3, rows, cols) in, tokens (n, cells, width) out, pooled where the head wants it."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens: Tensor = self.backbone(image)
        if not self.pool:
            return tokens
        count, _, width = tokens.shape
        square = tokens.transpose(1, 2).reshape(count, width, *self.grid)
        return F.avg_pool2d(square, 2).flatten(2).transpose(1, 2)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        flat = self.head(self.features(image)).float()
        length = (flat * flat).sum(1, keepdim=True).sqrt().clamp(min=1e-12)
        unit: Tensor = flat / length
        return unit
