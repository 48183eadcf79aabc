"""A course small enough to follow by hand: a line through points, on one weight matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from exporters.training.course import Described


class Line(nn.Module):
    """Three values to one; dropout makes the random state matter."""

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(3, 1), nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.drop(x))


@dataclass
class LineCourse:
    drop: float = 0.0
    poison_epoch: int = -1
    scores: list[float] = field(default_factory=list)
    batches_given: int = 4
    network: str = "line_course:Line"
    size: str = "published"
    metric: str = "score"
    steps_per_epoch: int = 4

    @property
    def switches(self) -> Mapping[str, Any]:
        return {"drop": self.drop}

    def build(self) -> nn.Module:
        return Line(self.drop)

    def batches(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(epoch)
        for _ in range(self.batches_given):
            x = torch.randn(8, 3, generator=generator)
            yield {"x": x, "y": x.sum(1, keepdim=True) + (torch.nan if epoch == self.poison_epoch else 0.0)}

    def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        error = network(batch["x"]).float() - batch["y"]
        return {"loss": error.square().mean(), "bias": error.detach().mean()}

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        error = float((network.layer.weight - 1.0).abs().max())
        return {"score": self.scores.pop(0) if self.scores else -error, "error": error}

    def test(self, network: nn.Module) -> Mapping[str, float]:
        return {"score": -float((network.layer.weight - 1.0).abs().max())}

    def describe(self) -> Described:
        return Described(
            classes=(),
            bands=("a", "b", "c"),
            edge_px=1,
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            dtype="float32",
            dataset="a line",
            licence="CC0-1.0",
            unit="m",
        )
