"""CM-CR (Han, Huang and Li, "SAR-Conditioned Consistency Model for Effective Cloud Removal in Remote Sensing Images"):
from a noisy optical image and its radar image to the clear optical image, in one evaluation.

One class is both networks of the paper: with ``eps_t`` 0 it is the teacher, a denoiser; with 0.002 it is the student, a
consistency function. What the paper leaves open is decided in ``docs/zoo/cm-cr.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

SIGMA_DATA = 0.5
OPTICAL, RADAR = 3, 2
GROUPS = 32


class ResBlock(nn.Module):
    """Residual block with scale and shift by the time embedding; ``resample`` is ``up``, ``down`` or empty."""

    def __init__(self, channels: int, out: int, embedding: int, dropout: float, resample: str = "") -> None:
        super().__init__()
        self.resample = resample
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, out, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * out)
        self.norm2, self.dropout = nn.GroupNorm(GROUPS, out), nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(n, channels, h, w) and (n, embedding) in, (n, out, h, w), twice or half that size, out."""
        h = self._resampled(F.silu(self.norm1(x)))
        h = self.conv1(h)
        scale, shift = self.embed(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1.0 + scale) + shift
        h = self.conv2(self.dropout(F.silu(h)))
        return cast(Tensor, h + self.skip(self._resampled(x)))

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resample == "up" else x


class Attention(nn.Module):
    """Self-attention over all pixels, heads of ``head`` channels."""

    def __init__(self, channels: int, head: int) -> None:
        super().__init__()
        self.heads = max(1, channels // head)
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) in and out."""
        _, c, rows, cols = x.shape
        qkv = self.qkv(self.norm(x)).reshape(-1, self.heads, 3 * (c // self.heads), rows * cols)
        q, k, v = qkv.chunk(3, dim=2)
        scale = (c // self.heads) ** -0.25
        weight = torch.softmax((q * scale).transpose(2, 3) @ (k * scale), dim=-1)
        mixed = (v @ weight.transpose(2, 3)).reshape(-1, c, rows, cols)
        return cast(Tensor, x + self.project(mixed))


class Stage(nn.Module):
    """A residual block and, where there is one, the attention after it."""

    def __init__(self, block: ResBlock, attention: Attention | None = None) -> None:
        super().__init__()
        self.block, self.attention = block, attention

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(n, c, h, w) in; see ``ResBlock``."""
        x = self.block(x, embedding)
        return x if self.attention is None else cast(Tensor, self.attention(x))


class CMCR(nn.Module):
    """The U-Net and its preconditioning (sections 2.2 and 2.3 of the card).

    ``width`` C, ``multipliers`` by level, ``blocks`` a level on the way down and one more on the way up, attention
    where the image is ``attention_at`` times smaller. ``eps_t`` is where the network is the identity; ``radar`` False
    leaves the radar out, the paper's ablation.
    """

    def __init__(
        self,
        *,
        width: int = 256,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 3,
        attention_at: Sequence[int] = (8, 16, 32),
        head: int = 64,
        dropout: float = 0.0,
        eps_t: float = 0.002,
        radar: bool = True,
    ) -> None:
        super().__init__()
        if width % GROUPS:
            raise ValueError(f"width {width} is no multiple of {GROUPS}, the groups of its normalisation")
        self.width, self.eps_t, self.radar = width, eps_t, radar
        self.multiple_px = 2 ** (len(multipliers) - 1)
        embedding = 4 * width
        self.time = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.stem = nn.Conv2d(OPTICAL + (RADAR if radar else 0), width, 3, padding=1)

        def stage(channels: int, out: int, factor: int, resample: str = "") -> Stage:
            wanted = factor in attention_at and not resample
            block = ResBlock(channels, out, embedding, dropout, resample)
            return Stage(block, Attention(out, head) if wanted else None)

        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        now, kept = width, [width]
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.encoder.append(stage(now, multiplier * width, 2**level))
                now = multiplier * width
                kept.append(now)
            if level < len(multipliers) - 1:
                self.encoder.append(stage(now, now, 2 ** (level + 1), "down"))
                kept.append(now)
        self.middle = nn.ModuleList(
            [Stage(ResBlock(now, now, embedding, dropout), Attention(now, head)), stage(now, now, 0)]
        )
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                self.decoder.append(stage(now + kept.pop(), multiplier * width, 2**level))
                now = multiplier * width
            if level > 0:
                self.decoder.append(stage(now, now, 2**level, "up"))
        self.head = nn.Sequential(nn.GroupNorm(GROUPS, now), nn.SiLU(), zeroed(nn.Conv2d(now, OPTICAL, 3, padding=1)))

    def forward(self, x_t: Tensor, t: Tensor, sar: Tensor) -> Tensor:
        """Clear optical (n, 3, h, w), about -1..1.

        ``x_t``: (n, 3, h, w), the clear one plus noise of standard deviation ``t``: (n,), 0.002..80. ``sar``: (n, 2, h,
        w), -1..1. h and w are multiples of ``multiple_px``. Scalings are float32 whatever the rest is computed in.
        """
        t = t.float()
        c_skip, c_out, c_in = (part[:, None, None, None] for part in scalings(t, self.eps_t))
        x_t = x_t.float()
        given = torch.cat([c_in * x_t, sar], dim=1) if self.radar else c_in * x_t
        return c_skip * x_t + c_out * self.raw(given, t).float()

    def raw(self, given: Tensor, t: Tensor) -> Tensor:
        """F of the card: (n, 5, h, w) scaled input to (n, 3, h, w)."""
        embedding = self.time(sinusoid(250.0 * torch.log(t), self.width))
        x = self.stem(given)
        kept = [x]
        for part in self.encoder:
            x = part(x, embedding)
            kept.append(x)
        for part in self.middle:
            x = part(x, embedding)
        for part in self.decoder:
            joins = cast(Stage, part).block.resample != "up"
            x = part(torch.cat([x, kept.pop()], dim=1) if joins else x, embedding)
        return cast(Tensor, self.head(x))

    def example_inputs(self, shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """What it is called with for the zoo's input (bands, rows, cols)."""
        device, (rows, cols) = self.stem.weight.device, shape[1:]
        optical = torch.zeros((1, OPTICAL, rows, cols), device=device)
        return optical, torch.ones(1, device=device), torch.zeros((1, RADAR, rows, cols), device=device)


def scalings(t: Tensor, eps_t: float) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out and c_in at noise levels ``t``; ``eps_t`` 0 gives the teacher's.

    >>> [round(float(part), 6) for part in scalings(torch.tensor(1.0), 0.002)]
    [0.200641, 0.446319, 0.894427]
    """
    variance = SIGMA_DATA**2
    c_skip = variance / ((t - eps_t) ** 2 + variance)
    c_out = SIGMA_DATA * (t - eps_t) / torch.sqrt(t**2 + variance)
    return c_skip, c_out, 1.0 / torch.sqrt(t**2 + variance)


def sinusoid(value: Tensor, size: int) -> Tensor:
    """(n,) to (n, size): cosines, then sines, of periods up to 10000."""
    half = size // 2
    rate = torch.exp(-math.log(10000.0) / half * torch.arange(half, device=value.device, dtype=torch.float32))
    angle = value[:, None] * rate
    return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)


def zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    """``conv`` with weights and bias 0, so that its block begins as the identity."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
