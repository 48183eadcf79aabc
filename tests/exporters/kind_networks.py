"""Small networks of each kind of output, as somebody's own: they bring their deploy method."""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253


class Kind(nn.Module):
    """Two convolutions with a batch norm, and a head by kind."""

    def __init__(self, kind: str = "map", bands: int = 3, channels: int = 1) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Conv2d(bands, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.last = nn.Conv2d(16, channels, 3, padding=1)

    def deploy(self, checkpoint: Any) -> nn.Module:
        return Deployed(self, checkpoint.mean, checkpoint.std, 255.0 if checkpoint.dtype == "uint8" else 1.0)


class Deployed(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, network: Kind, mean: tuple[float, ...], std: tuple[float, ...], full_scale: float) -> None:
        super().__init__()
        self.first, self.norm, self.last, self.kind = network.first, network.norm, network.last, network.kind
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1) * full_scale)
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1) * full_scale)

    def forward(self, tiles: Tensor) -> Tensor:
        x = self.last(torch.relu(self.norm(self.first((tiles.float() - self.mean) / self.std))))
        if self.kind == "map":
            return 100.0 * x
        if self.kind == "image":
            return torch.sigmoid(x) * 255.0
        if self.kind == "mask":
            return torch.softmax(4.0 * x, dim=1)
        if self.kind == "boxes":
            return self._boxes(x)
        return nn.functional.normalize(x.mean((2, 3)), dim=1)

    def _boxes(self, x: Tensor) -> Tensor:
        """Each of the first channels is one box."""
        flat = x.flatten(2)
        corner = 20.0 + 10.0 * torch.tanh(flat[:, :, :2])
        score = torch.sigmoid(flat.mean(2, keepdim=True))
        return torch.cat([corner, corner + 12.0, score, torch.zeros_like(score)], dim=2)
